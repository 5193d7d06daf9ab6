"""The loop of the helper process, run by the path of its folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fipo.tasks.symbolic import sandbox

FOLDER = str(Path(sandbox.__file__).parent)
LOAD = (
    f"import runpy, sys; sys.path.insert(0, {FOLDER!r})\n"
    f"helper = runpy.run_path({FOLDER + '/__main__.py'!r}, run_name='helper')\n"
)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", LOAD + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_reply_a_line_until_the_input_ends() -> None:
    pytest.importorskip("math_verify", reason="needs the extra [eval]")
    pairs = [("x+x", "2x"), ("x", "y"), ("{", "x"), ("\ud800\n", "x"), ("x+x", "2x")]
    lines = [json.dumps({"candidate": left, "reference": right, "timeout": 20}) for left, right in pairs]
    done = subprocess.run(
        [sys.executable, FOLDER], input="\n".join(lines), capture_output=True, text=True, timeout=120, check=True
    )
    ready, *replies = map(json.loads, done.stdout.splitlines())
    assert ready == {"ready": True}
    assert [reply["verdict"] for reply in replies] == ["equal", "different", "unreadable", "unreadable", "equal"]


def test_a_refused_action_makes_a_comparison_unreadable() -> None:
    code = (
        "box, equal = helper['Sandbox'](), lambda candidate, reference: 'equal'\n"
        "box.install()\n"
        "def caught(candidate, reference):\n"
        "    try: open('new', 'w')\n"
        "    except BaseException: return 'equal'\n"
        "def raised(candidate, reference): open('new', 'w')\n"
        "def failing(candidate, reference): raise RecursionError\n"
        "print(*[helper['guarded'](box, act, 'x', 'x') for act in (equal, caught, raised, failing, equal)])"
    )
    assert run(code).split() == ["equal", "unreadable", "unreadable", "unreadable", "equal"]


def test_the_resident_size_grows_with_the_memory_in_use() -> None:
    code = (
        "size, statistics = helper['resident_size'], helper['memory_statistics']()\n"
        "before = size(statistics); block = bytearray(b'x') * (100 << 20)\n"
        "print(before, size(statistics), size(None))"
    )
    before, after, unknown = map(int, run(code).split())
    assert unknown == 0
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell the memory in use")
    assert after - before > 90 << 20


def test_a_process_without_a_parent_does_not_go_on_for_ever() -> None:
    pytest.importorskip("math_verify", reason="needs the extra [eval]")
    request = {"candidate": "9^{9^{9^9}}", "reference": "5", "timeout": 0.5}
    # Nobody kills it here, as its parent would.
    done = subprocess.run(
        [sys.executable, FOLDER], input=json.dumps(request), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert done.stdout.splitlines() == ['{"ready": true}']
