from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fipo.errors import FIPOError
from fipo.tasks import Grade, grade
from fipo.tasks.grading import MAX_EXPRESSION, canonical
from fipo.tasks.isolation import SymbolicWorker, worker

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TOWER = r"\boxed{9^{9^{9^9}}}"


def records(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real data not found: ../shared/data/{name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def boxed(text: str) -> str:
    return f"so it is \\boxed{{{text}}}"


@pytest.mark.parametrize(
    ("given_answer", "reference"),
    [
        ("073", "73"),
        ("73", "073"),
        ("1,234", "1234"),
        ("1{,}234", "1234"),
        (r"11,\! 111,\! 111,\! 100", "11111111100"),
        (r"10\,080", "10,080"),
        ("$18", "18"),
        (r"\$18.00", "18"),
        ("-$5", "-5"),
        ("€7", "7"),
        ("18.0", "18"),
        ("18.", "18"),
        (".5", "0.50"),
        ("+5", "5"),
        ("−5", "-5"),
        ("-0", "0"),
        ("18 dollars", "18"),
        ("18 apples per day", "18"),
        (r"15\mbox{ cm}^2", "15"),
        (r"5.4 \text{ cents}", "5.4"),
        ("12 cm", "12"),
        ("50%", "50"),
        (r"50\%", "0.5"),
        ("0.5", "50%"),
        ("90°", r"90^\circ"),
        (r"\text{73}", "73"),
        (r"\mathbf{73}", "73"),
        ("(73)", "73"),
        ("{73}", "73"),
        (r"52_{8}", "52_8"),
        ("52", "52_8"),
        (r"\text{(C)}", "C"),
        (r"\text{Even}", "even"),
        ("No  Solution", r"\text{no solution}"),
        ("= 10", "10"),
    ],
)
def test_right_without_the_helper(given_answer: str, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "compare", lambda *args: pytest.fail("the helper process was asked"))
    result = grade(boxed(given_answer), reference)
    assert result == Grade(True, given_answer.strip(), result.reason)
    assert result.reason in ("same number", "same text")


@pytest.mark.parametrize(
    ("given_answer", "reference"),
    [
        ("74", "73"),
        ("18.5", "18"),
        ("0.0000670", ".0000672"),
        ("5%", "0.5"),
        ("52_9", "52_8"),
        ("1234567890123456789012345678901234567891", "1234567890123456789012345678901234567890"),
        (r"\text{seat}", r"\text{east}"),
        ("", "5"),
    ],
)
def test_wrong_without_the_helper(given_answer: str, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "compare", lambda *args: pytest.fail("the helper process was asked"))
    assert not grade(boxed(given_answer), reference).correct


@pytest.mark.parametrize(
    ("given_answer", "reference"),
    [
        ("1/2", r"\dfrac12"),
        ("0.5", r"\frac{1}{2}"),
        ("0.333333", r"\frac{1}{3}"),
        (r"\sqrt{8}", r"2\sqrt2"),
        ("3√13", r"\sqrt{117}"),
        ("2**10", "1024"),
        ("2π", r"\pi + \pi"),
        ("2 pi", r"2\pi"),
        ("n = 73", "73"),
        ("-2, 1", "1,-2"),
        ("1 and -2", "1,-2"),
        ("x²+1", "1+x^{2}"),
        ("2(k+1)", "2k+2"),
        ("-2 ≤ x ≤ 7", r"x \in [-2,7]"),
        (r"\begin{bmatrix} 0.2 \\ -3.6 \end{bmatrix}", r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}"),
        (r"\frac{1}{\tan x}", r"\cot x"),
    ],
)
def test_right_by_computer_algebra(given_answer: str, reference: str) -> None:
    assert grade(boxed(given_answer), reference) == Grade(True, given_answer, "symbolically equal")


@pytest.mark.parametrize(
    ("given_answer", "reference"),
    [
        ("2^3", "2"),
        ("2 xy", "2"),
        ("5 million", "5"),
        ("5 or 6", "5"),
        ("2k", "2"),
        ("(3,4)", "(3,4]"),
        ("(2,1)", "(1,2)"),
        ("1, 234", "1234"),
        (r"\text{four}", "4"),
        ("x+1", "x"),
        ("0.3333", r"\frac{1}{3}"),
    ],
)
def test_wrong_by_computer_algebra(given_answer: str, reference: str) -> None:
    assert not grade(boxed(given_answer), reference).correct


@pytest.mark.parametrize(
    "reference", ["18", 18, 18.0, r"\boxed{18}", "$18$", "steps\n#### 18", "steps\nA: 18", " 018 ", r"\text{18}"]
)
def test_references_take_the_same_path(reference: str | int | float) -> None:
    assert grade("Answer: 18 dollars", reference).correct
    assert not grade("Answer: 19 dollars", reference).correct


def test_reasons_without_a_comparison() -> None:
    assert grade("I do not know", "5") == Grade(False, None, "no answer")
    assert grade(boxed("5"), "  ") == Grade(False, "5", "no reference")
    assert grade("it is 5", "5") == Grade(False, None, "no answer")
    assert grade("it is 5", "5", allow_last_number=True).correct


@pytest.mark.parametrize("answer", [None, True, ["5"], {"answer": "5"}, b"5"])
def test_answer_of_another_type_is_refused_by_name(answer: Any) -> None:
    with pytest.raises(FIPOError, match=f"text or a number, not {type(answer).__name__}"):
        grade("Answer: 5", answer)


def test_response_and_time_limit_of_another_type_are_refused() -> None:
    with pytest.raises(FIPOError, match="response to grade must be text, not NoneType"):
        grade(None, "5")  # type: ignore[arg-type]
    for limit in (0, -1.0, float("nan"), float("inf"), "5"):
        with pytest.raises(FIPOError, match="positive number of seconds"):
            grade("Answer: 5", "5", timeout=limit)  # type: ignore[arg-type]


def test_long_expressions_are_text() -> None:
    long = "x+" * MAX_EXPRESSION + "x"
    assert grade(boxed(long), long).correct
    assert grade(boxed(long), "x") == Grade(False, long, "too long")
    assert grade(boxed("1" * 5000), "1").reason == "too long"


@pytest.mark.parametrize(
    "text",
    [
        "9^9^9^9",
        "(" * 300,
        "{" * 200 + "}" * 200,
        r"\sqrt{" * 60 + "x" + "}" * 60,
        "\x00",
        "\ud800",
        "|" * 300,
        "a=b=c=d=e",
        r"\begin{pmatrix}" + "1&" * 200,
        "__import__('os').system('touch pwned')",
        r"\text{__import__('os').abort()}",
        "lambda: 0",
    ],
)
def test_hostile_expressions_come_back_wrong(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not grade(f"Answer: {text}", "x^2+1", timeout=3).correct
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", [TOWER, r"\boxed{10^{9999999999}}", r"\boxed{99999999!}", r"\boxed{(x+1)^{100000}}"])
def test_an_overrun_is_wrong_and_replaces_the_helper(text: str) -> None:
    assert grade(boxed(r"\frac{1}{2}"), "0.5").correct
    before = worker.pid
    assert grade(text, "x^2", timeout=0.5).reason == "time limit"
    assert worker.pid is None
    assert grade(boxed(r"\frac{1}{2}"), "0.5").correct
    assert worker.pid not in (None, before)


def in_thread(work: Callable[[], Grade]) -> Grade:
    results: list[Grade] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(60)
    assert results, "the thread did not come back"
    return results[0]


def test_threads_have_the_same_time_limit() -> None:
    assert in_thread(lambda: grade(TOWER, "5", timeout=0.5)).reason == "time limit"
    assert in_thread(lambda: grade(boxed(r"\frac{1}{2}"), "0.5")).correct


def test_threads_share_one_helper() -> None:
    results: list[bool] = []

    def work() -> None:
        results.extend(grade(boxed(f"\\frac{{{n}}}{{7}}"), f"{n}/7").correct for n in range(20))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 60


def _grade_in_child(queue: Any) -> None:
    queue.put((grade(boxed(r"\frac{1}{2}"), "0.5").correct, grade(TOWER, "5", timeout=0.5).reason, os.getpid()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_processes_start_their_own_helper(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {method} here")
    assert grade(boxed(r"\frac{1}{2}"), "0.5").correct
    before = worker.pid
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_grade_in_child, args=(queue,))
    # As if another thread were grading at the moment of the fork: the child must not wait for that thread.
    with worker._lock:
        child.start()
    assert queue.get(timeout=120)[:2] == (True, "time limit")
    child.join(60)
    assert child.exitcode == 0
    assert grade(boxed(r"\frac{1}{2}"), "0.5").correct
    assert worker.pid == before


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_helper_killed_from_outside_costs_no_answer() -> None:
    assert grade(boxed(r"\frac{1}{2}"), "0.5").correct
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert grade(boxed(r"\frac{1}{2}"), "0.5").correct


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_helper_killed_at_work_is_asked_again() -> None:
    assert grade(boxed(r"\frac{1}{2}"), "0.5").correct
    assert worker.pid is not None
    killer = threading.Timer(0.3, os.kill, (worker.pid, signal.SIGKILL))
    killer.start()
    assert grade(TOWER, "5", timeout=1.5).reason == "time limit"
    killer.join()


def test_a_helper_that_dies_of_an_expression_makes_it_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = worker._exchange

    def deadly(process: Any, request: Any, limit: float) -> Any:
        if request is not None:
            process.kill()
            process.wait()
        return exchange(process, request, limit)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_exchange", deadly)
        assert grade(boxed(r"\frac{1}{2}"), "0.5").reason == "comparison crashed"
    assert grade(boxed(r"\frac{1}{2}"), "0.5").correct


def test_a_helper_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker.close()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(FIPOError, match=r"math-verify .*install fipo\[train\]"):
        grade(boxed(r"\frac{1}{2}"), "0.5")


def test_a_missing_math_verify_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text("print('noise')\nraise ImportError('no math_verify here')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    worker.close()
    with pytest.raises(FIPOError, match=r"no math_verify here.*install fipo\[train\]"):
        grade(boxed(r"\frac{1}{2}"), "0.5")
    worker.close()


def test_nothing_heavy_is_imported_or_started_before_it_is_needed() -> None:
    code = (
        "import sys; from fipo.tasks import grade; from fipo.tasks.isolation import worker\n"
        "assert grade('Answer: 073', 73).correct and worker.pid is None\n"
        "heavy = {'datasets', 'transformers', 'sympy', 'math_verify', 'pyarrow'} & set(sys.modules) - before\n"
        "assert not heavy, heavy\n"
        "assert grade('Answer: 1/2', '0.5').correct and 'sympy' not in set(sys.modules) - before\n"
        "print(worker.pid)"
    )
    # The objective imports torch, which brings sympy along; what counts is what the tasks add to it.
    code = "import sys, fipo; before = set(sys.modules)\n" + code
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for _ in range(100):
        if not Path(f"/proc/{int(done.stdout)}").exists():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the helper outlived its parent")


def test_a_worker_of_ones_own_closes_twice() -> None:
    own = SymbolicWorker()
    assert own.pid is None
    own.close()
    assert own.compare("1/2", "0.5", 20) == "equal"
    assert own.compare("1/3", "0.5", 20) == "different"
    own.close()
    own.close()
    assert own.pid is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.text(max_size=20))
@example("\\boxed{", "}")
@example("Answer: \\", "\\")
def test_any_text_is_graded(response: str, answer: str) -> None:
    result = grade(response, answer, timeout=2)
    assert isinstance(result.correct, bool)
    assert result.reason
    assert grade(f"Answer: {response}", answer, timeout=2).reason


@settings(deadline=None)
@given(st.text(alphabet=st.characters(blacklist_characters="\\*$", blacklist_categories=["Cs"]), max_size=60))
def test_canonical_form_is_stable(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_compared_as_integers(left: int, right: int) -> None:
    assert grade(boxed(f"{left:,}"), str(right)).correct == (left == right)
    assert grade(boxed(f"{left:05d}.0"), left).correct


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_decimals_are_equal_to_themselves_with_more_zeros(value: Any) -> None:
    assert grade(boxed(f"{value:f}00"), f"{value:f}").correct
    assert not grade(boxed(f"{value:f}01"), f"{value:f}").correct


def test_agreement_with_real_model_solutions() -> None:
    total = disagreements = 0
    for number, record in enumerate(records("gsm8k_model_solutions.jsonl"), 1):
        for model, entry in record.items():
            if not isinstance(entry, dict):
                continue
            total += 1
            result = grade(entry["solution"], record["ground_truth"])
            if result.correct != entry["is_correct"]:
                disagreements += 1
                print(f"line {number}, {model}: {result}, labelled {entry['is_correct']}")
    assert total == 2640
    assert disagreements <= total * 0.001


def test_math500_solutions_are_right() -> None:
    wrong = []
    for number, record in enumerate(records("math500.jsonl"), 1):
        result = grade(record["solution"], record["answer"])
        if not result.correct:
            wrong.append(number)
            print(f"line {number}: {result}, answer {record['answer']}")
    assert len(wrong) <= 2


def test_math500_answers_are_equal_to_themselves_by_computer_algebra() -> None:
    forms = {canonical(record["answer"]) for record in records("math500.jsonl")}
    failed = [form for form in sorted(forms) if worker.compare(form, form, 20) != "equal"]
    print(failed)
    assert len(failed) <= 1


def test_math500_answers_with_a_changed_digit_are_wrong() -> None:
    accepted = []
    for record in records("math500.jsonl")[::4]:
        answer = record["answer"]
        # The exponent of a unit is dropped with the unit.
        places = [i for i, symbol in enumerate(answer) if symbol.isdigit() and "box{" not in answer[:i]]
        if places:
            changed = answer[: places[-1]] + str((int(answer[places[-1]]) + 1) % 10) + answer[places[-1] + 1 :]
            if grade(boxed(changed), answer).correct:
                accepted.append((changed, answer))
    assert accepted == []


@pytest.mark.parametrize("name", ["aime24.jsonl", "aime25.jsonl"])
def test_aime_answers_in_every_wrapper(name: str) -> None:
    wrappers = [
        r"\boxed{%s}",
        r"$$\boxed{ %s }$$",
        r"\boxed{\text{%s}}",
        r"\boxed{\mathbf{%s}}",
        r"\boxed{\,%s\,}",
        r"\boxed{(%s)}",
        r"\boxed{%s^\circ}",
        "Answer: %s",
        "Answer: $%s$.",
        r"Answer: \(%s\)",
        "**Answer:** %s",
        "**Answer: %s**",
        "Answer:\n\\[\n%s\n\\]",
        "#### %s",
        "A: %s",
    ]
    for record in records(name):
        value = int(record["answer"])
        for wrapper in wrappers:
            for written in (f"{value}", f"{value:03d}", f" {value} ", f"00{value}"):
                assert grade(f"With 12 we get\n{wrapper % written}", record["answer"]).correct, wrapper % written
            assert not grade(f"With 12 we get\n{wrapper % (value + 1)}", record["answer"]).correct
