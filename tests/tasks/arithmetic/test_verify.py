from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fipo.errors import FIPOError
from fipo.tasks.arithmetic import arithmetic_reward, grade_arithmetic, moment, parse_response

WORDS = ["so", "wait", ":", "yes", "no", ".", "=", "a", "+3", "1", "2", "6", "12", "so6", "\n", "x"]
ANY_TEXT = st.one_of(st.text(), st.lists(st.sampled_from(WORDS)).map(" ".join))


@pytest.mark.parametrize(
    ("text", "answers", "checks"),
    [
        ("so 6 .", (6,), 0),
        ("so 6", (6,), 0),
        ("so 6.", (6,), 0),
        ("a +3 = 5 b +6 = 1 c -5 = 6 so 6 .", (6,), 0),
        ("so 6 wait : a +3 = 5 yes so 6 .", (6, 6), 1),
        ("so 6 wait : a +3 = 4 no so 4 wait : a +3 = 5 no so 5 .", (6, 4, 5), 2),
        ("so 6 wait : a +3", (6,), 1),
        ("so 6 wait : a +3 = 4 no so", (6,), 1),
        ("so 6 so x", (6,), 0),
        ("so 66 .", (), 0),
        ("so +3 .", (), 0),
        ("also 6 .", (), 0),
        ("so ٣ .", (), 0),
        ("so so 3", (3,), 0),
        ("waiting wait: wait", (), 1),
        ("", (), 0),
    ],
)
def test_parse(text: str, answers: tuple[int, ...], checks: int) -> None:
    parsed = parse_response(text)
    assert parsed.answers == answers
    assert parsed.num_checks == checks
    assert parsed.first == (answers[0] if answers else None)
    assert parsed.final == (answers[-1] if answers else None)


@given(ANY_TEXT)
def test_parsing_never_raises_and_the_final_answer_is_the_last(text: str) -> None:
    parsed = parse_response(text)
    assert all(0 <= answer <= 9 for answer in parsed.answers)
    assert parsed.final == (parsed.answers[-1] if parsed.answers else None)
    assert parse_response(text + " so 7 .").final == 7
    assert parse_response(text + " so 7 .").answers[:-1] == parsed.answers
    assert moment(text, "3") in ("aha", "oops", "none")


@given(st.lists(st.sampled_from(WORDS)))
def test_answers_are_the_digits_after_so(words: list[str]) -> None:
    text = " ".join(words)
    tokens = text.split()
    expected = [b for a, b in itertools.pairwise(tokens) if a == "so" and re.fullmatch("[0-9]", b)]
    assert [str(answer) for answer in parse_response(text).answers] == expected
    assert grade_arithmetic(text, "6") == (expected[-1:] == ["6"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so 4 wait : no so 6 .", "aha"),
        ("so 4 wait : no so 5 wait : no so 6 .", "aha"),
        ("so 6 wait : no so 4 .", "oops"),
        ("so 6 wait : no so 4 wait : no so 6 .", "none"),
        ("so 4 wait : no so 5 .", "none"),
        ("so 6 wait : yes so 6 .", "none"),
        ("so 6 .", "none"),
        ("so 4 .", "none"),
        ("", "none"),
    ],
)
def test_moment(text: str, expected: str) -> None:
    assert moment(text, "6") == expected


def test_reward_of_strings() -> None:
    completions = ["so 6 .", "so 4 .", "nothing", "so 4 wait : no so 6"]
    rewards = arithmetic_reward(completions, ["6"] * 4, prompts=["p"] * 4, trainer_state=None)
    assert rewards == [1.0, 0.0, 0.0, 1.0]
    assert all(isinstance(reward, float) for reward in rewards)


def test_reward_of_conversations() -> None:
    completions = [
        [{"role": "assistant", "content": "so 6 ."}],
        [{"role": "assistant", "content": "so 6 wait :"}, {"role": "assistant", "content": "no so 4 ."}],
        [{"role": "assistant", "content": None}],
        [],
    ]
    assert arithmetic_reward(completions, ["6"] * 4) == [1.0, 0.0, 0.0, 0.0]


def test_reward_is_that_of_the_last_reply_and_names_what_is_none() -> None:
    asked = [{"role": "user", "content": "so 6 ."}, {"role": "assistant", "content": "so 4 ."}]
    assert arithmetic_reward([asked, asked[:1]], ["4", "6"]) == [1.0, 0.0]
    with pytest.raises(FIPOError, match="completion 1 is neither text nor a list of chat messages, but int 6"):
        arithmetic_reward(["so 6 .", 6], ["6", "6"])  # type: ignore[list-item]


def test_reward_refuses_a_missing_answer() -> None:
    with pytest.raises(ValueError, match="zip"):
        arithmetic_reward(["so 6 .", "so 6 ."], ["6"])
