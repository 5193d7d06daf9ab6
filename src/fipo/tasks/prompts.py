"""How a bare problem becomes the text (or the chat messages) that a model is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fipo.errors import FIPOError, nearest

Messages = list[dict[str, str]]


def _dapo(problem: str) -> str:
    return (
        "Work through this maths problem step by step. End your response with one line of the form "
        "Answer: X (no quotation marks), X being the final answer.\n\n"
        f"{problem}\n\n"
        "Keep the final answer on a line of its own that starts with Answer:"
    )


def _boxed(problem: str) -> str:
    return f"{problem}\n\nReason step by step, and give the final answer inside \\boxed{{}}."


def _chat(problem: str) -> Messages:
    return [{"role": "user", "content": _boxed(problem)}]


def _raw(problem: str) -> str:
    return problem


PROMPT_STYLES: dict[str, Callable[[str], str | Messages]] = {
    "dapo": _dapo,
    "boxed": _boxed,
    "chat": _chat,
    "raw": _raw,
}
"""`dapo` asks for a last line `Answer: ...`; `boxed` for `\\boxed{}`; `chat` is `boxed` as messages for a chat
template; `raw` is the problem alone."""

# What DAPO-Math-17k and data sets made after it write around each problem.
_DAPO_INSTRUCTION = re.compile(r"\ASolve the following math problem step by step\.[^\n]*\n+")
_DAPO_REMINDER = re.compile(r'\n+Remember to put your answer on its own line after "Answer:"\.?\s*\Z')


def prompt_style(name: str) -> Callable[[str], str | Messages]:
    """The style called `name`, a function of the bare problem. Raises `FIPOError` for a name that is none."""
    if name not in PROMPT_STYLES:
        hint = nearest(name, PROMPT_STYLES) if isinstance(name, str) else ""
        raise FIPOError(f"no prompt style {name!r}{hint}; there are {', '.join(PROMPT_STYLES)}")
    return PROMPT_STYLES[name]


def bare_problem(text: str) -> str:
    """`text` without the instruction that DAPO-Math-17k puts around a problem, and without spaces at the ends."""
    return _DAPO_REMINDER.sub("", _DAPO_INSTRUCTION.sub("", text.strip())).strip()


def chat_messages(value: list[Any]) -> tuple[Messages, str]:
    """The messages of a chat prompt, reduced to role and content, and the text of the last user message.

    Raises `ValueError` (what is wrong, without the place) for anything else than messages with text.
    """
    messages = []
    for message in value:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise ValueError("holds a list whose items are not chat messages with a role and text as content")
        messages.append({"role": role, "content": content})
    questions = [message["content"] for message in messages if message["role"] == "user"]
    if not questions or not questions[-1].strip():
        raise ValueError("is empty: there is no user message with text")
    return messages, questions[-1]
