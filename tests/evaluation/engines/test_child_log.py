"""The output of an engine's processes: off the screen, and searched for the cause of a crash."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fipo.evaluation.engines.child_log import ChildLog

PROGRAM = """
import subprocess, sys
from fipo.evaluation.engines.child_log import ChildLog

log = ChildLog()
print("before")
early = sys.stdout
with log.capture():
    print("of this process")
    print("an error of this process", file=sys.stderr)
    kept = sys.stdout
    subprocess.run([sys.executable, "-c", "print('of the child'); raise KeyError('why')"])
print("after")
assert sys.stdout is early
kept.write("later, by a log handler\\n")
kept.flush()
print("cause:", log.cause())
log.close()
"""


def test_children_print_into_the_log_and_this_process_to_the_screen():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    lines = ["before", "of this process", "after", "later, by a log handler", "cause: KeyError: 'why'"]
    assert sorted(done.stdout.splitlines()) == sorted(lines)
    assert done.stderr.splitlines() == ["an error of this process"]


def test_a_child_that_outlives_the_capture_keeps_writing_into_the_log(capfd):
    log = ChildLog()
    command = [sys.executable, "-c", "input(); raise MemoryError('later')"]
    with log.capture():
        child = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
    assert log.cause() is None
    child.communicate("go on\n", timeout=60)
    assert log.cause() == "MemoryError: later"
    assert "later" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_the_screen_is_back_after_an_exception(error, capfd):
    def fail():
        with ChildLog().capture():
            os.write(1, b"hidden")
            raise error

    with pytest.raises(type(error)):
        fail()
    os.write(1, b"seen")
    assert capfd.readouterr().out == "seen"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", None),
        ("all is well\nno Error here", None),
        (
            "Traceback (most recent call last):\nImportError: harmless, caught\n"
            "(EngineCore pid=7) ERROR 11-21 17:23:07 [core.py:9]   File x\n"
            "(EngineCore pid=7) ERROR 11-21 17:23:07 [core.py:9] torch.OutOfMemoryError: tried 2 GiB\n"
            "(EngineCore pid=7) ERROR 11-21 17:23:07 [core.py:9] RuntimeError: Worker failed\n",
            "OutOfMemoryError: tried 2 GiB",
        ),
        ("ERROR 11-21 17:23:07 [core.py:9] ValueError: first\n", "ValueError: first"),
        ("x\nsafetensors_rust.SafetensorError: header too large\n", "SafetensorError: header too large"),
    ],
)
def test_the_cause_is_the_first_error_that_was_logged(text, cause):
    log = ChildLog()
    with log.capture():
        os.write(2, text.encode())
    assert log.cause() == cause
    log.close()
