"""Twenty thousand hostile responses, in a process of their own that is watched (`hostile.py`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fipo.tasks import grade
from tests.tasks.hostile import FAST, responses, symbolic_templates

SCRIPT = Path(__file__).with_name("hostile.py")
FAST_COUNT, HUGE_COUNT, SYMBOLIC_COUNT = 18_460, 40, 1_500
MANY = FAST_COUNT + HUGE_COUNT + SYMBOLIC_COUNT


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hostile")
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)
    # It takes half a minute; what hangs would take for ever.
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(FAST_COUNT), str(HUGE_COUNT), str(SYMBOLIC_COUNT)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(folder.iterdir()) == []
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_hostile_response_gets_a_grade(report: dict[str, Any]) -> None:
    assert report["graded"] == MANY
    assert sum(report["reasons"].values()) == MANY
    # Of all kinds, so that no rule lets the others off.
    assert {"no answer", "unreadable", "too long", "different", "different number", "time limit"} <= set(
        report["reasons"]
    )


@pytest.mark.slow
def test_no_hostile_response_is_right(report: dict[str, Any]) -> None:
    assert report["right"] == []


@pytest.mark.slow
def test_nothing_reaches_outside(report: dict[str, Any]) -> None:
    assert report["events"] == {}
    assert report["files"] == []


@pytest.mark.slow
def test_few_of_them_cost_a_comparison(report: dict[str, Any]) -> None:
    assert report["asked"] <= report["asked_by_quick"] + len(symbolic_templates())
    assert report["asked_by_quick"] < FAST_COUNT / 20
    # Beyond the time limit of half a second, a response waits for a new helper at most.
    assert report["slowest"] < 30


def test_the_watch_would_see_what_reaches_outside(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import hostile, os, socket, subprocess\n"
        "watch = hostile.Watch('no helper'); watch.on = True\n"
        "for act in (lambda: open('new', 'w').close(), socket.socket, lambda: subprocess.run(['true']),\n"
        "            lambda: eval('1'), lambda: os.mkdir('folder'), lambda: os.remove('new')): act()\n"
        "watch.on = False; print(*sorted({event.split()[0] for event in watch.seen}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    events = {"open", "socket.__new__", "subprocess.Popen", "compile", "exec", "os.mkdir", "os.remove"}
    assert events <= set(done.stdout.split())


def test_the_responses_follow_from_the_seed() -> None:
    first, again, other = (list(responses(seed, 200, 2, 20)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(first) == 222


def test_a_few_of_each_kind_are_wrong() -> None:
    for response, reference in responses(5, 3 * len(FAST), 3, 0):
        assert not grade(response, reference, timeout=1).correct, response[:100]
