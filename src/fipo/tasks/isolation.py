"""One helper process compares expressions by computer algebra (math-verify), under a hard time limit.

Signals cannot interrupt a thread or a long C computation, so the comparison runs in a process that is killed and
replaced when it overruns. This file is both sides: the parent runs it by path as a script, which spares the child
the import of the package (and of PyTorch). At the top it may therefore import the standard library alone.
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any

START_LIMIT = 120.0
"""Seconds the helper may take to import math-verify; they do not count against a comparison."""
MEMORY_LIMIT = 2 << 30
"""Bytes of address space of the helper, where the system can limit it."""
# An orphaned helper ends itself this long after the time limit of its last comparison.
_ORPHAN_GRACE = 2.0


class SymbolicWorker:
    """Starts its process at the first comparison, replaces it when it overruns or dies, and serves one at a time."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running helper, `None` before the first comparison and after a kill."""
        return self._process.pid if self._process else None

    def compare(self, candidate: str, reference: str, timeout: float) -> str:
        """`equal`, `different`, `unreadable` (candidate), `timeout` or `crash`.

        `timeout` (seconds) covers the comparison, not the start of the helper nor the wait while another thread
        uses it. Raises `RuntimeError` when the helper cannot start, `ModuleNotFoundError` without math-verify.
        """
        request = {"candidate": candidate, "reference": reference, "timeout": timeout}
        with self._lock:
            # A second try, because the process may have been ended from outside, by no fault of this expression.
            for _ in range(2):
                process = self._running()
                reply, expired = self._exchange(process, request, timeout)
                if reply is not None and not expired:
                    return str(reply["verdict"])
                self._stop()
                if expired:
                    return "timeout"
            return "crash"

    def close(self) -> None:
        """End the helper; the next comparison starts a new one. Safe at any time, also while one is running."""
        self._stop()

    def forget(self) -> None:
        """In a forked child: let go of the parent's helper without ending it, so that the child starts its own."""
        process, self._process, self._lock = self._process, None, threading.Lock()
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            # The parent's child: there is nothing to wait for, and no warning to give about that.
            process.returncode = 0

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
        )
        greeting, expired = self._exchange(self._process, None, START_LIMIT)
        if greeting is None or expired or "error" in greeting:
            self._stop()
            if greeting and "error" in greeting:
                raise ModuleNotFoundError(greeting["error"])
            raise RuntimeError("the helper process for symbolic comparison did not start")
        return self._process

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
            line = process.stdout.readline()
        except (OSError, ValueError):
            line = b""
        except BaseException:
            # An interrupt leaves a reply under way, which the next request would take for its own.
            process.kill()
            raise
        finally:
            timer.cancel()
            timer.join()
        return (json.loads(line) if line.endswith(b"\n") else None), expired.is_set()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


worker = SymbolicWorker()
"""The helper of this process."""

if __name__ != "__main__":
    atexit.register(lambda: worker.close())
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: worker.forget())


def _serve() -> None:
    """The helper: one JSON request a line on stdin, one JSON reply a line on stdout, until stdin closes."""
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process
    # Whatever a library prints must not mix with the replies.
    os.dup2(nowhere.fileno(), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory()
    try:
        import math_verify  # noqa: F401
    except ImportError as error:
        _send(replies, {"error": str(error)})
        return
    _send(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        faulthandler.dump_traceback_later(request["timeout"] + _ORPHAN_GRACE, exit=True, file=nowhere)
        try:
            verdict = _verdict(request["candidate"], request["reference"])
        except (Exception, RecursionError, MemoryError):
            verdict = "unreadable"
        faulthandler.cancel_dump_traceback_later()
        _send(replies, {"verdict": verdict})


def _send(replies: IO[str], message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    for kind, limit in ((resource.RLIMIT_AS, MEMORY_LIMIT), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (allowed, hard))
        except (OSError, ValueError):
            continue


def _verdict(candidate: str, reference: str) -> str:
    from math_verify import LatexExtractionConfig, parse, verify

    # LaTeX alone: its grammar builds expressions, whereas the plain-expression reader hands text to eval.
    config = [LatexExtractionConfig()]
    read = [parse(f"${text}$", extraction_config=config, parsing_timeout=None) for text in (reference, candidate)]
    if verify(*read, allow_set_relation_comp=True, timeout_seconds=None):
        return "equal"
    return "different" if any(not isinstance(part, str) for part in read[1]) else "unreadable"


if __name__ == "__main__":
    # A script's folder comes first on the path, where a module here would hide one of the same name.
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    _serve()
