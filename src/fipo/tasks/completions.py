"""The text of a completion, as a trainer hands it to a reward function: plain, or a list of chat messages."""

from __future__ import annotations

from typing import Any

from fipo.errors import FIPOError


def completion_text(completion: Any, index: int | None = None) -> str:
    """The text that is graded: `completion` itself, or what the last assistant message in it says.

    Arguments:
        completion: text, or chat messages with `role` and `content` (text, a list of parts with `text`, or `None`).
        index: place of the completion in its batch, for the message of an error.

    A conversation without an assistant's words, for instance one that ends in a tool call, gives an empty text.
    Raises `FIPOError` for anything else.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, (list, tuple)) and all(isinstance(message, dict) for message in completion):
        replies = [message.get("content") for message in completion if message.get("role") == "assistant"]
        content = replies[-1] if replies else None
        if isinstance(content, list):
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if content is None or isinstance(content, str):
            return content or ""
    name = "a completion" if index is None else f"completion {index}"
    kind = type(completion).__name__
    raise FIPOError(f"{name} is neither text nor a list of chat messages, but {kind} {completion!r:.80}")
