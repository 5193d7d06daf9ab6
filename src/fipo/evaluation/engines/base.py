"""What every engine takes and gives: requests with a seed each in, responses out as they finish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Prompt = str | list[dict[str, str]]
"""Text, or chat messages for the model's template."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: 0 decodes greedily.
        top_p: mass of the most likely tokens that are drawn from, in (0, 1].
        max_tokens: length limit of a response, end token included.
    """

    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True)
class Request:
    """One response to sample. The seed is its own, so that neither order nor batch size changes what is drawn."""

    prompt: Prompt
    seed: int


@dataclass(frozen=True)
class Response:
    """One sampled response.

    Attributes:
        text: without special tokens.
        length: tokens, end token included.
        finish_reason: "stop" where the model ended it, "length" where the limit did; a server may name others.
    """

    text: str
    length: int
    finish_reason: str = "stop"

    @property
    def truncated(self) -> bool:
        """Whether it hit the length limit before an end token."""
        return self.finish_reason == "length"


OnFinished = Callable[[Sequence[tuple[int, Response]]], None]
"""Is given (index of the request, response) for responses that have just finished, each exactly once."""


class Engine(Protocol):
    """Samples responses from one model; to be closed after use."""

    name: str
    """As in `--engine`."""
    context_length: int | None
    """Tokens of prompt and response together that the model takes; None where that is unknown."""

    def prompt_lengths(self, prompts: Sequence[Prompt]) -> list[int] | None:
        """Tokens of each prompt, template included; None where only the server could tell."""

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_finished: OnFinished) -> None:
        """Sample every request, and hand each response over as soon as it is finished.

        What `on_finished` raises ends the sampling and is passed on, as is Ctrl-C.

        Raises:
            FIPOError: what the user can mend, in one line.
        """

    def describe(self) -> dict[str, Any]:
        """Version, precision and device or address, for the record."""

    def close(self) -> None:
        """Release the model's memory and processes."""
