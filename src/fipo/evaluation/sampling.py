"""Responses of a loaded transformers model, the same for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from fipo.evaluation.engines.base import Prompt, Request, Response, Sampling


def request_seed(seed: int, problem: str, sample: int) -> int:
    """The seed of one response, 31 bits: it depends on the evaluation's seed, the problem's id and the sample's number.

    So a response stays the same whatever else is sampled beside it, before it, or before a restart.
    """
    digest = hashlib.sha256(f"{seed}\0{problem}\0{sample}".encode("utf-8", errors="replace")).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def sample_responses(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    n: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int,
    batch_size: int = 256,
    seed: int = 0,
    on_finished: Callable[[int, int], None] | None = None,
) -> list[list[Response]]:
    """`n` responses per prompt; greedy at temperature 0. torch's generators are left alone.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        prompts: texts, or chats.
        n: responses per prompt, ≥ 1.
        temperature: 0 decodes greedily.
        top_p: mass of the most likely tokens to draw from.
        max_new_tokens: length limit.
        batch_size: responses sampled at once; changes nothing in them but rounding.
        seed: of the sampling.
        on_finished: called with (responses done, responses in all).
    """
    from fipo.evaluation.engines.transformers_engine import TransformersEngine

    requests = [
        Request(prompt, request_seed(seed, str(index), sample))
        for index, prompt in enumerate(prompts)
        for sample in range(n)
    ]
    responses: dict[int, Response] = {}

    def collect(finished: Sequence[tuple[int, Response]]) -> None:
        responses.update(finished)
        if on_finished is not None:
            on_finished(len(responses), len(requests))

    engine = TransformersEngine(model, tokenizer, batch_size=batch_size)
    engine.generate(requests, Sampling(temperature, top_p, max_new_tokens), collect)
    ordered = [responses[index] for index in range(len(requests))]
    return [ordered[begin : begin + n] for begin in range(0, len(ordered), n)]
