"""Responses of a transformers model to prompts, in batches, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Response:
    """One sampled response.

    Attributes:
        text: without special tokens.
        length: tokens, end token included.
        truncated: True where it hit the limit before an end token.
    """

    text: str
    length: int
    truncated: bool


@torch.no_grad()
def sample_responses(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    n: int = 1,
    temperature: float = 1.0,
    max_new_tokens: int,
    batch_size: int = 256,
    seed: int = 0,
    on_batch: Callable[[int, int], None] | None = None,
) -> list[list[Response]]:
    """`n` responses per prompt; greedy at temperature 0. torch's generators are left as they were.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, with a pad and an eos token.
        prompts: texts.
        n: responses per prompt, ≥ 1.
        temperature: 0 decodes greedily; otherwise samples from the whole vocabulary at this temperature.
        max_new_tokens: length limit.
        batch_size: responses sampled at once.
        seed: of the sampling.
        on_batch: called with (responses done, responses in all).
    """
    options: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    repeated = [prompt for prompt in prompts for _ in range(n)]
    responses: list[Response] = []
    was_training = model.training
    model.eval()
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for begin in range(0, len(repeated), batch_size):
            responses += _generate(model, tokenizer, repeated[begin : begin + batch_size], max_new_tokens, options)
            if on_batch is not None:
                on_batch(len(responses), len(repeated))
    model.train(was_training)
    return [responses[i : i + n] for i in range(0, len(responses), n)]


def _generate(
    model: Any, tokenizer: Any, prompts: Sequence[str], max_new_tokens: int, options: dict[str, Any]
) -> list[Response]:
    batch = tokenizer(
        list(prompts), padding=True, padding_side="left", return_tensors="pt", return_token_type_ids=False
    )
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    output = model.generate(**batch, max_new_tokens=max_new_tokens, pad_token_id=tokenizer.pad_token_id, **options)
    ends = model.generation_config.eos_token_id
    end_tokens = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    responses = []
    for row in output[:, batch["input_ids"].shape[1] :].tolist():
        length = next((index + 1 for index, token in enumerate(row) if token in end_tokens), None)
        tokens = row[: len(row) if length is None else length]
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        responses.append(Response(text, len(tokens), truncated=length is None))
    return responses
