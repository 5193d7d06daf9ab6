"""Sampling with transformers, in batches. Every response draws from a stream of its own, so batches do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fipo.errors import FIPOError
from fipo.evaluation.engines.base import OnFinished, Prompt, Request, Response, Sampling
from fipo.evaluation.engines.tokens import decode_response, encode_prompt, end_token_ids

# Nucleus sampling looks at so many tokens first, and sorts the whole vocabulary only where they hold too little.
CANDIDATES = 1024


class TransformersEngine:
    """A loaded model and its tokenizer as an engine.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        batch_size: responses sampled at once.
    """

    name = "transformers"

    def __init__(self, model: Any, tokenizer: Any, *, batch_size: int = 16) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.end_tokens = end_token_ids(tokenizer, model.generation_config)
        self.context_length: int | None = getattr(model.config, "max_position_embeddings", None)

    def prompt_lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        """Tokens of each prompt, template included."""
        return [len(encode_prompt(self.tokenizer, prompt)) for prompt in prompts]

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_finished: OnFinished) -> None:
        """See `Engine.generate`.

        A batch is left when half of it has finished; the other half waits for a batch of its kind, with what it
        has so far as its prompt. So a long response does not hold a whole batch of short ones.
        """
        pool = _Pool(
            _Sequence(index, encode_prompt(self.tokenizer, request.prompt), np.random.default_rng(request.seed))
            for index, request in enumerate(requests)
        )
        mode, config = self.model.training, self.model.generation_config
        self.model.eval()
        try:
            while batch := pool.take(self.batch_size):
                self._run(batch, sampling, on_finished)
                pool.park(sequence for sequence in batch if not sequence.finished)
        except torch.OutOfMemoryError:
            raise FIPOError(
                f"out of GPU memory with {self.batch_size} responses at once: give a smaller --batch-size, or fewer "
                "--max-tokens"
            ) from None
        finally:
            self.model.generation_config = config
            self.model.train(mode)

    @torch.no_grad()
    def _run(self, batch: Sequence[_Sequence], sampling: Sampling, on_finished: OnFinished) -> None:
        """Extend `batch` until half of it has finished."""
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        inputs = [sequence.prompt + sequence.tokens for sequence in batch]
        width = max(map(len, inputs))
        pad = self._pad_token()
        ids = torch.tensor([[pad] * (width - len(tokens)) + tokens for tokens in inputs])
        mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in inputs])
        # In place of the model's own, whose defaults (top_k, repetition penalty, ...) are not what was asked for.
        self.model.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=sampling.max_tokens - min(len(sequence.tokens) for sequence in batch),
            eos_token_id=sorted(self.end_tokens) or None,
            pad_token_id=pad,
        )
        watch = _Watch(batch, self.end_tokens, sampling.max_tokens, self._handing(on_finished))
        self.model.generate(
            input_ids=ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            logits_processor=LogitsProcessorList([SeededSampler([s.stream for s in batch], sampling)]),
            stopping_criteria=StoppingCriteriaList([watch]),
        )

    def _handing(self, on_finished: OnFinished) -> Any:
        def hand_over(finished: Sequence[_Sequence]) -> None:
            on_finished(
                [
                    (s.index, Response(decode_response(self.tokenizer, s.tokens), len(s.tokens), str(s.finished)))
                    for s in finished
                ]
            )

        return hand_over

    def _pad_token(self) -> int:
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None else min(self.end_tokens, default=0)

    def describe(self) -> dict[str, Any]:
        """Version, precision, device and batch size."""
        import transformers

        return {
            "version": transformers.__version__,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "batch_size": self.batch_size,
        }

    def close(self) -> None:
        """Let go of the model."""
        self.model = None


@dataclass(eq=False)
class _Sequence:
    """A response under way; `finished` names the reason once it has."""

    index: int
    prompt: list[int]
    stream: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    finished: str | None = None


class _Pool:
    """Sequences by how often they were parked, which keeps those of like length together.

    A level is run as soon as it fills a batch, deepest first, so that few responses are ever half done.
    """

    def __init__(self, sequences: Any) -> None:
        # In the order given, from the back.
        self.levels: list[list[_Sequence]] = [list(sequences)[::-1]]
        self.level = 0

    def take(self, size: int) -> list[_Sequence]:
        """The next batch, empty when nothing is left."""
        full = [level for level, waiting in enumerate(self.levels) if level and len(waiting) >= size]
        if full or self.levels[0]:
            self.level = max(full, default=0)
            waiting = self.levels[self.level]
            return [waiting.pop() for _ in range(min(size, len(waiting)))]
        rest = sorted((s for level in self.levels for s in level), key=lambda s: len(s.tokens), reverse=True)
        self.levels, self.level = [[], rest[size:]], 0
        return rest[:size]

    def park(self, sequences: Any) -> None:
        """Put back the unfinished ones of the batch taken last."""
        if len(self.levels) == self.level + 1:
            self.levels.append([])
        self.levels[self.level + 1].extend(sequences)


class SeededSampler:
    """A logits processor that draws the next token itself and leaves it as the only one possible.

    Temperature and nucleus are the usual ones; the draw inverts the cumulative distribution at a uniform number of
    the row's own stream, so that a response depends on its seed alone and not on the rows beside it.

    Args:
        streams: one generator per row.
        sampling: temperature and top_p.
    """

    def __init__(self, streams: Sequence[np.random.Generator], sampling: Sampling) -> None:
        self.streams = streams
        self.sampling = sampling

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores (B, V) float32 → (B, V), 0 at the drawn token and −inf elsewhere; unchanged at temperature 0."""
        if not bool(scores.amax(dim=-1).isfinite().all()):
            raise FIPOError(
                "the model gives logits that are not numbers: its weights are broken, or --dtype too narrow"
            )
        if self.sampling.temperature == 0:
            return scores
        uniform = torch.tensor([stream.random() for stream in self.streams], dtype=torch.float64)
        token = self._draw((scores / self.sampling.temperature).softmax(dim=-1), uniform.to(scores.device))
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)

    def _draw(self, probs: Tensor, uniform: Tensor) -> Tensor:
        """The token of each row, (B, 1)."""
        top_p = self.sampling.top_p
        if top_p >= 1:
            cumulative = probs.double().cumsum(dim=-1)
            last = torch.full_like(uniform, probs.shape[1] - 1, dtype=torch.long)
            return _invert(cumulative, last, uniform)
        likely, order = probs.topk(min(CANDIDATES, probs.shape[1]), dim=-1)
        cumulative = likely.double().cumsum(dim=-1)
        if bool((cumulative[:, -1] < top_p).any()):
            likely, order = probs.sort(dim=-1, descending=True, stable=True)
            cumulative = likely.double().cumsum(dim=-1)
        # The nucleus ends with the first token that brings its mass to top_p.
        last = (cumulative < top_p).sum(dim=-1).clamp(max=cumulative.shape[1] - 1)
        return order.gather(1, _invert(cumulative, last, uniform))


def _invert(cumulative: Tensor, last: Tensor, uniform: Tensor) -> Tensor:
    """First position whose cumulative mass passes `uniform` of the mass up to `last`; (B, 1)."""
    mass = cumulative.gather(1, last[:, None])
    position = torch.searchsorted(cumulative, uniform[:, None] * mass, right=True)
    return position.minimum(last[:, None])


class _Watch:
    """A stopping criterion: notes each row's tokens, hands over what ends, and leaves the batch when half has ended."""

    def __init__(self, batch: Sequence[_Sequence], ends: set[int], limit: int, hand_over: Any) -> None:
        self.batch, self.ends, self.limit, self.hand_over = batch, ends, limit, hand_over
        self.open = len(batch)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        finished = []
        for sequence, token in zip(self.batch, input_ids[:, -1].tolist()):
            if sequence.finished:
                continue
            sequence.tokens.append(token)
            if token in self.ends:
                sequence.finished = "stop"
            elif len(sequence.tokens) >= self.limit:
                sequence.finished = "length"
            if sequence.finished:
                finished.append(sequence)
        if finished:
            self.open -= len(finished)
            self.hand_over(finished)
        leave = self.open <= len(self.batch) // 2
        return torch.full((len(self.batch),), leave, dtype=torch.bool, device=input_ids.device)
