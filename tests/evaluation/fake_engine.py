"""An engine without a model: says what it is told to."""

from __future__ import annotations

from collections.abc import Callable

from fipo.evaluation.engines.base import Request, Response


class FakeEngine:
    """Answers requests with `answer(prompt, seed)`, one by one; counts what it was asked."""

    name = "transformers"

    def __init__(self, answer: Callable[[object, int], Response], *, context_length: int | None = 1000) -> None:
        self.answer = answer
        self.context_length = context_length
        self.asked: list[Request] = []
        self.limits: list[int] = []
        self.closed = False

    def prompt_lengths(self, prompts):
        return None if self.context_length is None else [len(str(prompt).split()) for prompt in prompts]

    def generate(self, requests, sampling, on_finished):
        self.limits.append(sampling.max_tokens)
        for index, request in enumerate(requests):
            self.asked.append(request)
            on_finished([(index, self.answer(request.prompt, request.seed))])

    def describe(self):
        return {"version": "0", "dtype": "float32"}

    def close(self):
        self.closed = True
