"""Reading responses: their answers, their checks, their reward, and whether a check helped or hurt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fipo.tasks.completions import completion_text

Moment = Literal["aha", "oops", "none"]

_ANSWER = re.compile(r"(?<!\S)so\s+([0-9])(?=\s|\.|$)")


@dataclass(frozen=True)
class ParsedResponse:
    """The answers of a response in order, and how many checks (`wait`) it opens."""

    answers: tuple[int, ...]
    num_checks: int

    @property
    def first(self) -> int | None:
        """The answer before any later one; None where there is no answer."""
        return self.answers[0] if self.answers else None

    @property
    def final(self) -> int | None:
        """The answer that is graded; None where there is no answer."""
        return self.answers[-1] if self.answers else None


def parse_response(text: str) -> ParsedResponse:
    """Every `so N` of a response, N one digit; never raises.

    Whatever follows the last `so N` (a check that was cut off, a `so` without a digit, other text)
    is ignored: the answer that was last given in full stands. A response that is cut short is for the
    trainer's overlong rules to judge, not for the parser.
    """
    answers = tuple(int(digit) for digit in _ANSWER.findall(text))
    return ParsedResponse(answers, sum(word == "wait" for word in text.split()))


def grade_arithmetic(response: str, answer: str) -> bool:
    """Whether the last `so N` of the response equals the answer, `"0"` to `"9"`."""
    final = parse_response(response).final
    return final is not None and str(final) == answer.strip()


def arithmetic_reward(
    completions: Sequence[str | Sequence[dict[str, Any]]], answer: Sequence[str], **kwargs: Any
) -> list[float]:
    """1.0 or 0.0 for each completion, a string or a list of messages with `content`.

    `answer` holds one answer per completion; other columns of the data set are accepted and ignored.
    Raises ValueError where the two differ in length.
    """
    return [
        float(grade_arithmetic(completion_text(completion, index), truth))
        for index, (completion, truth) in enumerate(zip(completions, answer, strict=True))
    ]


def moment(response: str, answer: str) -> Moment:
    """`"aha"`: the first answer was wrong and the final one is right; `"oops"`: the reverse.

    `"none"`: fewer than two answers, or both right, or both wrong.
    """
    parsed = parse_response(response)
    first, final = (str(value) == answer.strip() for value in (parsed.first, parsed.final))
    if first == final:
        return "none"
    return "aha" if final else "oops"
