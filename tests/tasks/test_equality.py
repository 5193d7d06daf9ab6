"""Tables of answers that are, or are not, the same: `pairs/*.txt`, one pair a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fipo.tasks import grade, grade_many, same_answer
from fipo.tasks.isolation import pool

PAIRS = Path(__file__).parent / "pairs"


def pairs(name: str) -> list[tuple[str, str]]:
    lines = (PAIRS / name).read_text(encoding="utf-8").splitlines()
    rows = [line.split(" @ ") for line in lines if line and not line.startswith("#")]
    return [(left.strip(), right.strip()) for left, right in rows]


def test_what_is_the_same_is_right() -> None:
    rows = pairs("equal.txt")
    results = grade_many([f"\\boxed{{{answer}}}" for answer, _ in rows], [reference for _, reference in rows])
    assert len(rows) > 250
    assert [(row, result.reason) for row, result in zip(rows, results) if not result.correct] == []


def test_what_is_not_the_same_is_wrong_either_way_round() -> None:
    rows = [row for pair in pairs("unequal.txt") for row in (pair, pair[::-1])]
    results = grade_many([f"\\boxed{{{answer}}}" for answer, _ in rows], [reference for _, reference in rows])
    assert len(rows) > 500
    assert [(row, result.reason) for row, result in zip(rows, results) if result.correct] == []
    # Refused for what they are, not because they could not be compared in time.
    assert {result.reason for result in results} & {"time limit", "comparison crashed"} == set()


def test_every_answer_is_the_same_as_itself() -> None:
    answers = sorted({answer for name in ("equal.txt", "unequal.txt") for pair in pairs(name) for answer in pair})
    assert [answer for answer in answers if not same_answer(answer, answer)] == []


def test_whether_two_answers_are_the_same_does_not_depend_on_their_order() -> None:
    rows = pairs("equal.txt")[::3] + pairs("unequal.txt")[::3]
    assert [row for row in rows if same_answer(*row) != same_answer(*row[::-1])] == []


QUICK = [
    ("073", "73", True),
    ("1,234", "1234", True),
    (r"\frac{1}{2}", "0.5", True),
    ("1 1/2", "3/2", True),
    ("50%", "0.5", True),
    ("n = 73", "73", True),
    (r"\text{Area} = 12 \text{ cm}^2", "12", True),
    ("52", "52_8", True),
    (r"\text{(C)}", "C", True),
    ("(C) 5", "C", True),
    (r"\text{Even}", "even", True),
    ("No  Solution", r"\text{no solution}", True),
    ("74", "73", False),
    ("0.0000670", ".0000672", False),
    ("1234567890123456789012345678901234567891", "1234567890123456789012345678901234567890", False),
    (r"\text{seat}", r"\text{east}", False),
    ("n = 74", "73", False),
    (r"\text{four}", "4", False),
    (r"5\text{ or less}", "5", False),
    ("f'(x)", "f(x)", False),
]


@pytest.mark.parametrize(("answer", "reference", "same"), QUICK)
def test_common_forms_need_no_helper(answer: str, reference: str, same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "compare", lambda *args: pytest.fail("a helper process was asked"))
    assert grade(f"\\boxed{{{answer}}}", reference).correct is same


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("2**10", "1024"),
        (r"\sqrt{8}", r"2\sqrt2"),
        ("2 pi", r"2\pi"),
        ("-2, 1", "1,-2"),
        ("2(k+1)", "2k+2"),
        ("-2 ≤ x ≤ 7", r"x \in [-2,7]"),
        (r"\begin{bmatrix} 0.2 \\ -3.6 \end{bmatrix}", r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}"),
        (r"\frac{1}{\tan x}", r"\cot x"),
    ],
)
def test_other_forms_are_compared_by_computer_algebra(answer: str, reference: str) -> None:
    assert grade(f"\\boxed{{{answer}}}", reference).reason == "symbolically equal"
