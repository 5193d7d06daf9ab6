"""Child processes that would go on without this one, if it is killed, are ended: they hold the GPU's memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterable

# Waits for a word on its input; the end of the input without one means that whoever held it is dead.
_PROGRAM = """
import os, signal, sys, time
if not sys.stdin.buffer.read(1):
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for pid in map(int, sys.argv[1:]):
            try:
                os.kill(pid, sign)
            except OSError:
                pass
        time.sleep(10)
"""


class OrphanGuard:
    """A small process that outlives this one by seconds, to end the given ones."""

    def __init__(self, pids: Iterable[int]) -> None:
        """Start to watch.

        Args:
            pids: of children of this process; a polite signal is followed by a forceful one after ten seconds.
        """
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM, *map(str, pids)]
        silent = subprocess.DEVNULL
        # A session of its own, since Ctrl-C and a closed terminal reach all of a session.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True
        )

    def release(self) -> None:
        """Stop watching, before the children are ended in the regular way."""
        with contextlib.suppress(OSError):
            self._process.communicate(b"x")
