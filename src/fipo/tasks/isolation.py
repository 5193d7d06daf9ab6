"""Helper processes that compare expressions by computer algebra, each comparison under a hard time limit.

Signals cannot interrupt a thread or a long C computation, so comparisons run in processes that are killed and replaced
when they overrun. The folder `symbolic` is what runs in them.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from fipo.errors import FIPOError

START_LIMIT = 120.0
"""Seconds a helper may take to import math-verify; they do not count against a comparison."""
MOST_HELPERS = 8
"""Helpers that a process starts at most unless it is told otherwise; each takes some 150 MB."""

_HELPER = Path(__file__).with_name("symbolic")
# A helper has no use for the rest of the environment, which may hold keys.
_ENVIRONMENT = ("HOME", "LANG", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "VIRTUAL_ENV")
_ENVIRONMENT_PREFIXES = ("LC_", "LD_", "DYLD_", "PYTHON")
_LONGEST_REPLY = 10_000
# Seconds after which a waiting thread looks again whether a helper went missing without a word.
_SECOND_LOOK = 1.0


class SymbolicWorker:
    """One helper: starts its process at the first comparison, replaces it when it overruns or dies. Not for threads."""

    def __init__(self, *, ended: bool = False) -> None:
        """Nothing is started yet, nor will be if it has `ended`."""
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = ended

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the running helper, `None` before the first comparison and after a kill."""
        return self._process.pid if self._process else None

    def compare(self, candidate: str, reference: str, timeout: float) -> str:
        """`equal`, `different`, `unreadable` (candidate), `timeout` or `crash`.

        `timeout` (seconds) covers the comparison, not the start of the helper. Raises `RuntimeError` when the helper
        cannot start, `ModuleNotFoundError` without a math-verify that works.
        """
        request = {"candidate": candidate, "reference": reference, "timeout": timeout}
        # A second try, because the process may have been ended from outside, by no fault of this expression.
        for _ in range(2):
            try:
                process = self._running()
            except RuntimeError:
                if self._ended:
                    break
                raise
            reply, expired = self._exchange(process, request, timeout)
            if reply is not None and not expired:
                if "retire" in reply:
                    self.close()
                return str(reply.get("verdict"))
            self.close()
            if expired:
                return "timeout"
        return "crash"

    def end(self) -> None:
        """Close for good: what a thread still asks for is a `crash`, since a process that ends can start no helper."""
        self._ended = True
        self.close()

    def close(self) -> None:
        """End the helper; the next comparison starts a new one. Safe at any time, also while one is running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def forget(self) -> None:
        """In a forked child: let go of the parent's helper without ending it."""
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            # The parent's child: there is nothing to wait for, and no warning to give about that.
            process.returncode = 0

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        if self._ended:
            raise RuntimeError("the helper process for symbolic comparison has ended for good")
        environment = {
            name: value
            for name, value in os.environ.items()
            if name.upper() in _ENVIRONMENT or name.upper().startswith(_ENVIRONMENT_PREFIXES)
        }
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        process = self._process = subprocess.Popen(
            [sys.executable, str(_HELPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
        )
        greeting, expired = self._exchange(process, None, START_LIMIT)
        if greeting is None or expired or "error" in greeting:
            self.close()
            if greeting and "error" in greeting:
                raise ModuleNotFoundError(greeting["error"])
            raise RuntimeError("the helper process for symbolic comparison did not start")
        return process

    def _exchange(
        self, process: subprocess.Popen[bytes], request: dict[str, Any] | None, limit: float
    ) -> tuple[dict[str, Any] | None, bool]:
        """Send `request` (if any), wait for one reply; the reply (or `None`) and whether the limit was passed."""
        assert process.stdin is not None
        assert process.stdout is not None
        expired = threading.Event()

        def stop() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(limit, stop)
        timer.daemon = True
        timer.start()
        try:
            if request is not None:
                process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            line = process.stdout.readline(_LONGEST_REPLY)
            reply = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError, RecursionError):
            reply = None
        except BaseException:
            # An interrupt leaves a reply under way, which the next request would take for its own.
            self.close()
            raise
        finally:
            timer.cancel()
            timer.join()
        return (reply if isinstance(reply, dict) else None), expired.is_set()


class WorkerPool:
    """Helpers that threads share: each is started when all before it are busy, a free one serves the next thread."""

    def __init__(self, size: int | None = None) -> None:
        """`size`: helpers at most; by default one for each CPU core this process may use, up to `MOST_HELPERS`."""
        self._size = size
        self._ended = False
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: queue.SimpleQueue[SymbolicWorker] = queue.SimpleQueue()
        # Weak, so that a worker which an interrupt makes its thread drop leaves no gap, but a place for a new one.
        self._workers: weakref.WeakSet[SymbolicWorker] = weakref.WeakSet()

    @property
    def size(self) -> int:
        """Helpers that may run at a time."""
        if self._size is None:
            usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            self._size = min(usable, MOST_HELPERS)
        return self._size

    @property
    def pids(self) -> list[int]:
        """Process ids of the running helpers, in ascending order."""
        return sorted(worker.pid for worker in list(self._workers) if worker.pid is not None)

    def resize(self, size: int | None) -> None:
        """Set the number of helpers, `None` for the default; those that are too many end when they are next free.

        Raises `FIPOError` for anything but a whole number from 1 up.
        """
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise FIPOError(f"the number of helper processes must be a whole number from 1 up, or None, not {size!r}")
        self._size = size
        with contextlib.suppress(queue.Empty):
            while len(self._workers) > self.size:
                self._retire(self._idle.get_nowait())

    def compare(self, candidate: str, reference: str, timeout: float) -> str:
        """`SymbolicWorker.compare` of a free helper; the wait for one does not count against `timeout`."""
        worker = self._take()
        try:
            return worker.compare(candidate, reference, timeout)
        finally:
            if len(self._workers) > self.size:
                self._retire(worker)
            else:
                self._idle.put(worker)

    def close(self) -> None:
        """End all helpers; the next comparison starts a new one. Safe at any time, also while some are running."""
        for worker in list(self._workers):
            worker.close()

    def end(self) -> None:
        """`SymbolicWorker.end` for all, also for those still to come."""
        self._ended = True
        for worker in list(self._workers):
            worker.end()

    def forget(self) -> None:
        """In a forked child: let go of the parent's helpers without ending them; the child starts its own."""
        for worker in list(self._workers):
            worker.forget()
        self._reset()

    def _take(self) -> SymbolicWorker:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._idle.get_nowait()
            with self._lock:
                if len(self._workers) < self.size:
                    worker = SymbolicWorker(ended=self._ended)
                    self._workers.add(worker)
                    return worker
            with contextlib.suppress(queue.Empty):
                return self._idle.get(timeout=_SECOND_LOOK)

    def _retire(self, worker: SymbolicWorker) -> None:
        self._workers.discard(worker)
        worker.close()


pool = WorkerPool()
"""The helpers of this process."""


def set_pool_size(size: int | None) -> None:
    """Let this process run `size` helpers at a time, `None` for the default. Raises `FIPOError` for less than 1."""
    pool.resize(size)


atexit.register(pool.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.forget)
