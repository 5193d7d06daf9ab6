from __future__ import annotations

import pytest

from fipo.errors import FIPOError
from fipo.tasks import math_reward


def reply(content: object) -> dict[str, object]:
    return {"role": "assistant", "content": content}


def test_texts() -> None:
    completions = [r"\boxed{3}", "Answer: 4", "no answer", r"\boxed{\frac{1}{2}}"]
    assert math_reward(completions, ["3", "5", "1", "0.5"]) == [1.0, 0.0, 0.0, 1.0]


def test_chat_completions_are_graded_by_their_last_reply() -> None:
    completions = [
        [reply(r"\boxed{3}")],
        [reply(r"\boxed{4}"), {"role": "tool", "content": r"\boxed{3}"}, reply("Answer: 3")],
        [reply([{"type": "text", "text": "Answer: "}, {"type": "text", "text": "3"}])],
        [reply(None)],
        [],
    ]
    assert math_reward(completions, [3] * 5) == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_other_columns_are_ignored_and_the_name_is_kept_for_the_log() -> None:
    assert math_reward(prompts=["p"], completions=["A: 2"], answer=["2"], completion_ids=[[1]], trainer_state=None) == [
        1.0
    ]
    assert math_reward.__name__ == "math_reward"
    assert math_reward([], []) == []


@pytest.mark.parametrize(
    ("completions", "answer", "message"),
    [
        (["a", "b"], ["1"], "2 completions and 1 answers"),
        (["a"], "1", "one text as answer"),
        ([3], ["1"], "completion 0 is neither text nor a list of chat messages, but int 3"),
        (["a", ["b"]], ["1", "1"], "completion 1 is neither"),
        ([[reply(5)]], ["1"], "completion 0 is neither"),
        (["A: 1"], [None], "must be text or a number, not NoneType"),
        (["A: 1"], [["1"]], "must be text or a number, not list"),
    ],
)
def test_mistakes_are_named(completions: list[object], answer: list[object], message: str) -> None:
    with pytest.raises(FIPOError, match=message):
        math_reward(completions, answer)
