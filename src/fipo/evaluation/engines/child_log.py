"""What the processes of an engine print, kept off the screen, so that the cause of a crash can be said in one line."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_TAIL = 1 << 20
_TYPE_AND_MESSAGE = r"((?:\w+\.)*\w*(?:Error|Exception)): (\S.*)$"
# As a logger writes it, "(EngineCore pid=7) ERROR 11-21 [core.py:9] ValueError: why", and as the interpreter does.
_LOGGED = re.compile(r"(?:\(.*?\) )?ERROR .*?\] " + _TYPE_AND_MESSAGE)
_BARE = re.compile(_TYPE_AND_MESSAGE)


class ChildLog:
    """A nameless file that takes the output of the processes started inside `capture()`, as long as they live."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the processes)

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Children started in here inherit the file as their output; this process keeps printing to the screen."""
        with contextlib.ExitStack() as stack:
            # A process without standard streams (a daemon) has nothing to keep off the screen.
            with contextlib.suppress(OSError):
                for name, descriptor in (("stdout", 1), ("stderr", 2)):
                    _keep_on_screen(stack, name, descriptor)
                    saved = os.dup(descriptor)
                    stack.callback(os.close, saved)
                    os.dup2(self._file.fileno(), descriptor)
                    stack.callback(os.dup2, saved, descriptor)
            yield

    def cause(self) -> str | None:
        """The first error in the log, with its type; None where there is none."""
        descriptor = self._file.fileno()
        begin = max(0, os.fstat(descriptor).st_size - _TAIL)
        lines = os.pread(descriptor, _TAIL, begin).decode("utf-8", errors="replace").splitlines()
        for pattern in (_LOGGED, _BARE):
            for line in lines:
                found = pattern.match(line.strip())
                if found:
                    return f"{found[1].split('.')[-1]}: {found[2]}"
        return None

    def close(self) -> None:
        """Drop the file, once its processes have ended."""
        self._file.close()


def _keep_on_screen(stack: contextlib.ExitStack, name: str, descriptor: int) -> None:
    """Give `sys.stdout` or `sys.stderr` a descriptor of its own: a progress display must outlive minutes of loading."""
    stream = getattr(sys, name)
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
        if stream.fileno() == descriptor:
            # Never closed, as a log handler made inside may keep it.
            screen = os.fdopen(os.dup(descriptor), "w", 1, stream.encoding, stream.errors, closefd=False)
            setattr(sys, name, screen)
            stack.callback(setattr, sys, name, stream)
            stack.callback(screen.flush)
