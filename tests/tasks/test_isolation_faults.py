"""Helpers that are killed, cannot start, speak in tongues, or lose their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fipo.errors import FIPOError
from fipo.tasks import grade, grade_many, isolation
from fipo.tasks.isolation import SymbolicWorker, pool
from tests.tasks.test_isolation import HALF, TOWER, gone, needs_sigkill, of_one  # noqa: F401


@needs_sigkill
def test_a_helper_killed_from_outside_costs_no_answer() -> None:
    assert grade(*HALF).correct
    for pid in pool.pids:
        os.kill(pid, signal.SIGKILL)
    assert grade(*HALF).correct


@needs_sigkill
@pytest.mark.usefixtures("of_one")
def test_a_helper_killed_at_work_is_asked_again() -> None:
    assert grade(*HALF).correct
    killer = threading.Timer(0.3, os.kill, (pool.pids[0], signal.SIGKILL))
    killer.start()
    assert grade(TOWER, "5", timeout=1.5).reason == "time limit"
    killer.join()


def test_a_helper_that_dies_of_an_expression_makes_it_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = SymbolicWorker._exchange

    def deadly(self: SymbolicWorker, process: Any, request: Any, limit: float) -> Any:
        if request is not None:
            process.kill()
            process.wait()
        return exchange(self, process, request, limit)

    with monkeypatch.context() as patch:
        patch.setattr(SymbolicWorker, "_exchange", deadly)
        assert grade(*HALF).reason == "comparison crashed"
    assert grade(*HALF).correct


def test_a_helper_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pool.close()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(FIPOError, match=r"math-verify .*install fipo\[eval\]"):
        grade(*HALF)


@pytest.mark.parametrize("many", [True, False])
def test_a_missing_math_verify_is_an_error(many: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text("print('noise')\nraise ImportError('no math_verify here')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool.close()
    work = (
        (lambda: grade_many([r"\boxed{x}", r"\boxed{y}", r"\boxed{z}"], ["a"] * 3)) if many else (lambda: grade(*HALF))
    )
    with pytest.raises(FIPOError, match=r"no math_verify here.*install fipo\[eval\]"):
        work()
    pool.close()


def test_a_math_verify_that_the_sandbox_does_not_suit_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "math_verify.py").write_text(
        "class LatexExtractionConfig:\n    def __init__(self, **options): pass\n"
        "def parse(text, **options): return [eval('1')]\n"
        "def verify(*sides, **options): return True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pool.close()
    with pytest.raises(FIPOError, match=r"fails the self-test: the sandbox refused compile"):
        grade(*HALF)
    pool.close()


def test_the_helper_sees_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    start = subprocess.Popen

    def recording(*args: Any, **options: Any) -> Any:
        seen.append(options["env"])
        return start(*args, **options)

    monkeypatch.setenv("SERVICE_TOKEN", "hunter2")
    monkeypatch.setattr(subprocess, "Popen", recording)
    own = SymbolicWorker()
    assert own.compare("1/x", r"\frac{1}{x}", 20) == "equal"
    own.close()
    assert "PYTHONPATH" in seen[0]
    assert "hunter2" not in json.dumps(seen[0])


def run_script(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_nothing_heavy_is_imported_or_started_before_it_is_needed() -> None:
    # The objective imports torch, which brings sympy along; what counts is what the tasks add to it.
    code = (
        "import sys, fipo; before = set(sys.modules)\n"
        "from fipo.tasks import grade, math_reward, compute_score; from fipo.tasks.isolation import pool\n"
        "assert grade('Answer: 073', 73).correct and pool.pids == []\n"
        "heavy = {'datasets', 'transformers', 'sympy', 'math_verify', 'pyarrow'} & set(sys.modules) - before\n"
        "assert not heavy, heavy\n"
        "assert grade('Answer: x+x', '2x').correct and 'sympy' not in set(sys.modules) - before\n"
        "print(*pool.pids)"
    )
    assert gone(int(run_script(code)))


@pytest.mark.parametrize("daemon", [True, False])
def test_helpers_end_with_their_parent_even_in_the_middle(daemon: bool) -> None:
    code = (
        "import threading, time; from fipo.tasks import grade; from fipo.tasks.isolation import pool\n"
        f"work = lambda: grade(r'{TOWER}', 'x', timeout=3)\n"
        f"threads = [threading.Thread(target=work, daemon={daemon}) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "while len(pool.pids) < pool.size and len(pool.pids) < 2: time.sleep(0.05)\n"
        "time.sleep(1); print(*pool.pids)"
    )
    assert all(gone(int(pid)) for pid in run_script(code).split())


@needs_sigkill
def test_helpers_do_not_outlive_a_parent_that_is_killed() -> None:
    code = (
        "import os, signal; from fipo.tasks import grade; from fipo.tasks.isolation import pool\n"
        "assert grade('Answer: x+x', '2x').correct\n"
        "print(*pool.pids, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert gone(int(done.stdout))


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ('{"verdict": "equal"}', "equal"),
        ('{"verdict": "equal", "retire": "yes"}', "equal"),
        ("{}", "None"),
        ("5", "crash"),
        ("no JSON", "crash"),
        ("x" * 100_000, "crash"),
        ("[" * 9_000, "crash"),
    ],
)
def test_whatever_a_helper_says_is_read(
    line: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "__main__.py").write_text(
        f"import sys\nprint('{{}}', flush=True)\nfor line in sys.stdin: print({line!r}, flush=True)\n"
    )
    monkeypatch.setattr(isolation, "_HELPER", tmp_path)
    own = SymbolicWorker()
    assert own.compare("x", "y", 20) == verdict
    # One that asked for it is replaced, and so is one that cannot be understood.
    assert (own.pid is None) == ("retire" in line or verdict == "crash")
    own.close()
    pool.close()
    assert grade(*HALF).correct == (verdict == "equal")
    pool.close()
