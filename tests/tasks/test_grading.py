from __future__ import annotations

import decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fipo.errors import FIPOError
from fipo.tasks import Grade, grade, grade_many, same_answer
from fipo.tasks.isolation import pool
from fipo.tasks.notation import MAX_EXPRESSION


def boxed(text: str) -> str:
    return f"so it is \\boxed{{{text}}}"


@pytest.fixture
def no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "compare", lambda *args: pytest.fail("a helper process was asked"))


@pytest.mark.parametrize(
    "reference", ["18", 18, 18.0, r"\boxed{18}", "$18$", "steps\n#### 18", "steps\nA: 18", " 018 ", r"\text{18}"]
)
def test_references_take_the_same_path(reference: str | int | float) -> None:
    assert grade("Answer: 18 dollars", reference).correct
    assert not grade("Answer: 19 dollars", reference).correct


@pytest.mark.parametrize(
    ("reference", "written"), [(1e-7, "0.0000001"), (1e21, "1" + "0" * 21), (-0.5, "-0.5"), (Fraction(1, 3), "1/3")]
)
def test_a_number_as_reference_is_no_exponent_to_be_misread(reference: Any, written: str) -> None:
    assert grade(boxed(written), reference).reason in ("same text", "same number")


def test_reasons_without_a_comparison() -> None:
    assert grade("I do not know", "5") == Grade(False, None, "no answer")
    assert grade(boxed("5"), "  ") == Grade(False, "5", "no reference")
    assert grade("it is 5", "5") == Grade(False, None, "no answer")
    assert grade("it is 5", "5", allow_last_number=True).correct


@pytest.mark.parametrize("answer", [None, True, ["5"], {"answer": "5"}, b"5", decimal.Decimal(5)])
def test_answer_of_another_type_is_refused_by_name(answer: Any) -> None:
    with pytest.raises(FIPOError, match=f"text or a number, not {type(answer).__name__}"):
        grade("Answer: 5", answer)


def test_response_reference_and_time_limit_out_of_range_are_refused() -> None:
    with pytest.raises(FIPOError, match="response to grade must be text, not NoneType"):
        grade(None, "5")  # type: ignore[arg-type]
    for limit in (0, -1.0, float("nan"), float("inf"), "5", True):
        with pytest.raises(FIPOError, match="positive number of seconds"):
            grade("Answer: 5", "5", timeout=limit)  # type: ignore[arg-type]
    with pytest.raises(FIPOError, match="finite number, not nan"):
        grade("Answer: 5", float("nan"))


@pytest.mark.usefixtures("no_helper")
def test_long_expressions_are_text() -> None:
    long = "x+" * MAX_EXPRESSION + "x"
    assert grade(boxed(long), long).correct
    assert grade(boxed(long), "x") == Grade(False, long, "too long")
    assert grade(boxed("1" * 5000), "1").reason == "too long"


@pytest.mark.usefixtures("no_helper")
@pytest.mark.parametrize("text", ["\x00", "x\x00", "\ud800", "4\u200b2", "\u202e24", "\x1b[31m42", "\ufeff42"])
def test_what_cannot_be_seen_is_not_read(text: str) -> None:
    assert grade(boxed(text), "x^2").reason == "unreadable"
    assert not grade(boxed(text), "42").correct


@pytest.mark.parametrize(
    "text",
    [
        "9^9^9^9",
        "(" * 300,
        "{" * 200 + "}" * 200,
        r"\sqrt{" * 60 + "x" + "}" * 60,
        "|" * 300,
        "a=b=c=d=e",
        r"\begin{pmatrix}" + "1&" * 200,
        "__import__('os').system('touch pwned')",
        r"\text{__import__('os').abort()}",
        "lambda: 0",
    ],
)
def test_hostile_expressions_come_back_wrong(text: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not grade(f"Answer: {text}", "x^2+1", timeout=3).correct
    assert not list(tmp_path.iterdir())


SAMPLES = [
    (boxed("42"), "42"),
    ("no answer", "42"),
    (boxed(r"\frac{x}{2}"), "0.5x"),
    (boxed(r"\frac{x}{2}"), "0.25x"),
    (boxed("9^{9^{9^9}}"), "x"),
    (boxed(r"\frac{x}{2}"), "0.5x"),
    ("Answer: 1, 2", r"\{2, 1\}"),
    ("Answer: east", r"\text{East}"),
    (boxed("x"), " "),
    ("it is 5", 5),
]


@pytest.mark.parametrize("workers", [None, 1, 3])
@pytest.mark.parametrize("last", [True, False])
def test_many_are_graded_as_one_by_one(workers: int | None, last: bool) -> None:
    responses, answers = zip(*SAMPLES)
    expected = [grade(*sample, allow_last_number=last, timeout=1) for sample in SAMPLES]
    assert grade_many(responses, answers, allow_last_number=last, timeout=1, workers=workers) == expected
    assert [result.correct for result in expected] == [True, False, True, False, False, True, True, True, False, last]
    assert grade_many([], []) == []


def test_equal_pairs_of_a_batch_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    compare = pool.compare

    def counting(candidate: str, reference: str, timeout: float) -> str:
        asked.append((candidate, reference))
        return compare(candidate, reference, timeout)

    monkeypatch.setattr(pool, "compare", counting)
    responses = [boxed("x + x"), "Answer: $x + x$", r"\boxed{x+y}", boxed("x + x")] * 5
    results = grade_many(responses, ["2x"] * 20)
    assert [result.correct for result in results] == [True, True, False, True] * 5
    assert sorted(asked) == [("x + x", "2x"), ("x+y", "2x")]


@pytest.mark.parametrize(
    ("responses", "answers", "options", "message"),
    [
        (["a"], ["1", "2"], {}, "got 1 responses and 2 answers"),
        ("a", ["1"], {}, "one text as responses"),
        (["a"], "1", {}, "one text as answers"),
        (["a", None], ["1", "2"], {}, "sample 1: a response to grade must be text, not NoneType"),
        (["a", "b"], ["1", None], {}, "sample 1: a reference answer must be text or a number, not NoneType"),
        (["a"], ["1"], {"timeout": 0}, "positive number of seconds"),
        (["a"], ["1"], {"workers": 0}, "workers must be a whole number from 1 up"),
        (["a"], ["1"], {"workers": 1.5}, "workers must be a whole number from 1 up"),
    ],
)
def test_mistakes_in_a_batch_are_named(responses: Any, answers: Any, options: Any, message: str) -> None:
    with pytest.raises(FIPOError, match=message) as caught:
        grade_many(responses, answers, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\frac12", "0.5"),
        ("0.5", "1/2"),
        ("12 apples", "12"),
        ("East", r"\text{east}"),
        ("x=3", "3"),
        (r"2\sqrt{3}", r"\sqrt{12}"),
        ("x+x", "2x"),
        ("$5$", "5"),
    ],
)
def test_the_same_answer_in_two_forms(left: str, right: str) -> None:
    assert same_answer(left, right)
    assert same_answer(right, left)


@pytest.mark.parametrize(
    ("left", "right"), [("1", "2"), ("x", "y"), ("west", "east"), ("", ""), (" ", "$$"), ("5", ""), ("x^2", "2x")]
)
def test_answers_that_are_not_the_same(left: str, right: str) -> None:
    assert not same_answer(left, right)
    assert not same_answer(right, left)


def test_same_answer_refuses_what_is_no_text() -> None:
    with pytest.raises(FIPOError, match="must be text, not NoneType"):
        same_answer("5", None)  # type: ignore[arg-type]
    with pytest.raises(FIPOError, match="positive number of seconds"):
        same_answer("5", "5", timeout=-1)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.text(max_size=20))
@example("\\boxed{", "}")
@example("Answer: \\", "\\")
def test_any_text_is_graded(response: str, answer: str) -> None:
    result = grade(response, answer, timeout=2)
    assert isinstance(result.correct, bool)
    assert result.reason
    assert grade(f"Answer: {response}", answer, timeout=2).reason


ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=60)
PIECES = st.lists(
    ANY_TEXT | st.sampled_from(["\\boxed{", "}", "{", "Answer:", "####", "</think>", "42", "$", "\\frac"])
)


@settings(max_examples=300, deadline=None)
@given(PIECES.map("".join))
@example("\\boxed{\ud800}")
@example("Answer: \udfff42")
def test_no_text_at_all_breaks_the_grader(text: str) -> None:
    assert grade(text, "42", timeout=2, allow_last_number=True).reason


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_compared_as_integers(left: int, right: int) -> None:
    assert grade(boxed(f"{left:,}"), str(right)).correct == (left == right)
    assert grade(boxed(f"{left:05d}.0"), left).correct


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_decimals_are_equal_to_themselves_with_more_zeros(value: Any) -> None:
    assert grade(boxed(f"{value:f}00"), f"{value:f}").correct
    assert not grade(boxed(f"{value:f}01"), f"{value:f}").correct


@settings(deadline=None)
@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_are_compared_exactly(left: Fraction, right: Fraction) -> None:
    written = f"\\frac{{{left.numerator}}}{{{left.denominator}}}"
    assert grade(boxed(written), f"{right.numerator}/{right.denominator}").correct == (left == right)
    assert grade(boxed(written), f"{3 * left.numerator}/{3 * left.denominator}").correct
