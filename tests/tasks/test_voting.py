from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fipo.errors import FIPOError
from fipo.tasks import group_answers, same_answer
from fipo.tasks.isolation import pool

TOWERS = [f"9^{{9^{{9^{{9^{n}}}}}}}" for n in range(2, 5)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    compare = pool.compare

    def recording(candidate: str, reference: str, timeout: float) -> str:
        pairs.append((candidate, reference))
        return compare(candidate, reference, timeout)

    monkeypatch.setattr(pool, "compare", recording)
    return pairs


@pytest.mark.parametrize(
    ("answers", "classes"),
    [
        ([], []),
        ([None, None], [None, None]),
        (["", " ", "$$"], [None, None, None]),
        (["42", None, "42", "41", None, "42"], [0, None, 0, 1, None, 0]),
        (["42", "042", "42.0", "$42$", r"\text{42}", "42 apples", "4,2"], [0, 0, 0, 0, 0, 0, 1]),
        ([r"\frac12", "0.5", "1/2", "0.25", r"\frac{2}{4}", "50%"], [0, 0, 0, 1, 0, 0]),
        (["50", "0.5", "50%"], [0, 1, 0]),
        (["50%", "0.5", "50"], [0, 0, 0]),
        (["5 cm", "5", "5 m"], [0, 0, 1]),
        (["East", "west", "EAST", r"\text{east}"], [0, 1, 0, 0]),
        ([r"\sqrt{12}", "3", r"2\sqrt{3}", r"\sqrt{9}", r"2\sqrt{3}"], [0, 1, 0, 1, 0]),
        ([r"\sqrt{16}", "4", "x = 4", "5"], [0, 0, 0, 1]),
        (["(1,2)", "(2,1)", "( 1 , 2 )"], [0, 1, 0]),
        ([r"\frac{1", r"\frac{1", "{"], [0, 0, 1]),
        (["x" * 1000, "x" * 1000, "x" * 999], [0, 0, 1]),
        (["\ud800", "\x00", "\ud800"], [0, 1, 0]),
    ],
)
def test_classes_in_order_of_first_appearance(answers: list[str | None], classes: list[int | None]) -> None:
    assert group_answers(answers) == classes


def test_numbers_and_words_need_no_helper(asked: list[tuple[str, str]]) -> None:
    answers = [str(n % 50) for n in range(2000)] + ["north", "South"] * 10 + [f"{n}/7" for n in range(100)]
    classes = group_answers(answers)
    # Multiples of seven are whole numbers.
    assert max(filter(None, classes)) + 1 == 50 + 2 + 100 - 15
    assert asked == []


def test_beyond_the_limit_forms_are_compared_as_text(asked: list[tuple[str, str]]) -> None:
    answers = ["x + x", "2x", "y", "y + y", "2y", "2y", "3", "3.0", r"\sqrt{9}"]
    assert group_answers(answers) == [0, 0, 1, 2, 2, 2, 3, 3, 3]
    asked.clear()
    assert group_answers(answers, limit=3) == [0, 0, 1, 2, 3, 3, 4, 4, 5]
    assert len(asked) == 2
    asked.clear()
    assert group_answers(answers, limit=0) == [0, 1, 2, 3, 4, 4, 5, 5, 6]
    assert asked == []


def test_the_number_of_comparisons_is_bounded(asked: list[tuple[str, str]]) -> None:
    group_answers([f"x+{n}" for n in range(12)] * 3 + [str(n) for n in range(200)], limit=12)
    assert len(asked) == 12 * 11 // 2


def test_answers_that_overrun_do_not_hold_up_the_vote(asked: list[tuple[str, str]]) -> None:
    plain = [f"x+{n}" for n in range(6)]
    classes = group_answers([*TOWERS, *plain, *plain], timeout=0.3)
    assert classes == [*range(9), *range(3, 9)]
    hostile = [pair for pair in asked if set(pair) & set(TOWERS)]
    assert len(hostile) <= 2 * len(TOWERS) + 3


def test_the_same_input_gives_the_same_classes() -> None:
    answers = ["2x", "x+x", r"\frac{4x}{2}", "x^2", "x*x", "7", "14/2", "seven"]
    assert group_answers(answers) == group_answers(answers) == [0, 0, 0, 1, 1, 2, 2, 3]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["1/2", "0.5", r"\frac12", "x", "x+0", "2x", "x+x", "3", "three", "Three", "", None])))
def test_classes_are_those_of_same_answer(answers: list[str | None]) -> None:
    classes = group_answers(answers)
    assert [place is None for place in classes] == [not answer for answer in answers]
    for (left, one), (right, other) in itertools.combinations(zip(answers, classes), 2):
        if one is not None and other is not None:
            assert (one == other) == same_answer(left, right)
    seen = list(dict.fromkeys(place for place in classes if place is not None))
    assert seen == list(range(len(seen)))


def test_a_majority() -> None:
    classes = group_answers(["0.75", r"\frac{3}{4}", "3/4 cup", "0.7", None, "7/10"])
    assert Counter(place for place in classes if place is not None).most_common(1) == [(0, 3)]


@pytest.mark.parametrize(
    ("answers", "options", "message"),
    [
        (["1", 2], {}, "answer 1 must be text or None, not int: 2"),
        (["1"], {"limit": -1}, "limit must be a whole number of distinct answers from 0 up, not -1"),
        (["1"], {"limit": 2.5}, "limit must be"),
        (["1"], {"timeout": 0}, "positive number of seconds"),
    ],
)
def test_mistakes_are_named(answers: Any, options: Any, message: str) -> None:
    with pytest.raises(FIPOError, match=message):
        group_answers(answers, **options)
