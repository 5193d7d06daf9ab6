"""Training runs as child processes, watched through their run folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fipo.errors import FIPOError
from fipo.runs import RunFolder

# Windows has no SIGHUP.
ENDING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass
class ChildRun:
    """One `fipo train` in a process of its own.

    Attributes:
        name: the algorithm.
        folder: its run folder.
        log: what it prints.
        process: the child.
    """

    name: str
    folder: RunFolder
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, name: str, recipe: dict[str, Any], out: Path, *, threads: int) -> ChildRun:
        """Start training `recipe` with algorithm `name` into `out/name`, on `threads` threads."""
        settings = {**recipe, "training": {**recipe["training"], "algorithm": name}}
        file = out / f"{name}.yaml"
        file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        log = out / f"{name}.log"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "COLUMNS": "120"}
        command = [sys.executable, "-m", "fipo", "train", "--recipe", str(file), "--out", str(out / name)]
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environment
            )
        return cls(name, RunFolder(out / name), log, process)

    def metrics(self) -> list[dict[str, Any]]:
        """The rollout steps made so far."""
        return self.folder.metrics()

    @property
    def running(self) -> bool:
        """Whether the child still trains."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise `FIPOError` with the child's last words if it failed."""
        if self.process.poll() in (None, 0):
            return
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1].removeprefix("error: ") if lines else "it printed nothing"
        raise FIPOError(f"the {self.name} run ended with exit code {self.process.returncode}: {last} (log: {self.log})")


def stop_all(runs: Sequence[ChildRun]) -> None:
    """End every child that still runs: all are asked first, then waited for."""
    running = [run for run in runs if run.running]
    for run in running:
        run.process.send_signal(signal.SIGINT)
    for run in running:
        try:
            run.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            run.process.kill()
            run.process.wait()


@contextmanager
def ended_with_us(runs: Sequence[ChildRun]) -> Iterator[None]:
    """Children end when this block ends, also where the process is told to end (SIGTERM, SIGHUP)."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    # Only the main thread may set handlers.
    numbers = ENDING_SIGNALS if threading.current_thread() is threading.main_thread() else ()
    previous = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        stop_all(runs)
        for number, handler in previous.items():
            signal.signal(number, handler)


def threads_per_run(runs: int) -> int:
    """The cores of this machine shared by the runs, at least one each."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // max(1, runs))
