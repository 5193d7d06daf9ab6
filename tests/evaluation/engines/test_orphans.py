"""Children of a killed process are ended; those of a process that said so are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# The child keeps the output open for as long as it lives.
PROGRAM = """
import subprocess, sys
from fipo.evaluation.engines.orphans import OrphanGuard

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL)
guard = OrphanGuard([child.pid])
if sys.argv[1] == "release":
    guard.release()
print(child.pid, flush=True)
input()
"""


def start(word):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, word], text=True, env=environment, **pipes)
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_children_of_a_killed_process_are_ended(sign):
    process, _ = start("watch")
    process.send_signal(sign)
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == -sign


def test_children_are_left_alone_after_a_release():
    process, child = start("release")
    process.kill()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=2)
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate(timeout=60)
