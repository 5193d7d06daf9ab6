from __future__ import annotations

from typing import Any

import pytest

from fipo.errors import FIPOError
from fipo.tasks.completions import completion_text


def reply(content: object, role: str = "assistant") -> dict[str, object]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ([reply("one")], "one"),
        ((reply("one"),), "one"),
        ([reply("one"), reply("asked", "user"), reply("two"), reply("done", "tool")], "two"),
        ([reply([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}])], "ab"),
        ([reply(None)], ""),
        ([reply("one"), reply(None)], ""),
        ([reply("asked", "user")], ""),
        ([], ""),
    ],
)
def test_the_last_assistant_message_is_the_text(completion: Any, text: str) -> None:
    assert completion_text(completion) == text


@pytest.mark.parametrize("completion", [None, 3, b"text", {"role": "assistant"}, ["a"], [reply(5)], [reply({})]])
def test_anything_else_is_refused_in_one_line(completion: Any) -> None:
    with pytest.raises(FIPOError, match=r"^a completion is neither text nor a list of chat messages") as caught:
        completion_text(completion)
    assert "\n" not in str(caught.value)
    with pytest.raises(FIPOError, match=r"^completion 7 is neither"):
        completion_text(completion, 7)


def test_the_message_of_an_error_stays_short() -> None:
    with pytest.raises(FIPOError) as caught:
        completion_text(["x" * 10_000])
    assert len(str(caught.value)) < 200
