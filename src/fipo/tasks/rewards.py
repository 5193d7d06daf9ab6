"""The grader as a reward function for TRL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fipo.errors import FIPOError
from fipo.tasks.grading import grade


def math_reward(completions: Sequence[Any], answer: Sequence[Any], **kwargs: Any) -> list[float]:
    """1.0 for each completion whose final answer is its reference answer (`fipo.tasks.grade`), else 0.0.

    Arguments:
        completions: texts, or lists of chat messages, of which the last assistant message is graded.
        answer: one reference answer a completion (the column `answer` of the data).
        kwargs: the other columns and what the trainer adds; not used.

    Raises `FIPOError` when the lengths differ or a completion is neither text nor messages.
    """
    if isinstance(answer, str) or len(completions) != len(answer):
        raise FIPOError(
            f"math_reward needs one answer a completion: got {len(completions)} completions and "
            + ("one text as answer" if isinstance(answer, str) else f"{len(answer)} answers")
        )
    return [
        float(grade(_text(completion, index), reference).correct)
        for index, (completion, reference) in enumerate(zip(completions, answer))
    ]


def _text(completion: Any, index: int) -> str:
    if isinstance(completion, str):
        return completion
    if isinstance(completion, (list, tuple)) and all(isinstance(message, dict) for message in completion):
        replies = [message.get("content") for message in completion if message.get("role") == "assistant"]
        content = replies[-1] if replies else None
        if isinstance(content, list):
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        # A reply that only calls a tool has no content, hence no answer.
        if content is None or isinstance(content, str):
            return content or ""
    kind = type(completion).__name__
    raise FIPOError(f"completion {index} is neither text nor a list of chat messages, but {kind} {completion!r:.80}")
