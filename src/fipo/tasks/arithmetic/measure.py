"""What a model does on held-out problems: accuracy, length, checks, and what the checks changed."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fipo.tasks.arithmetic.problem import Problem
from fipo.tasks.arithmetic.verify import grade_arithmetic, moment, parse_response

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

MAX_NEW_TOKENS = 144
BATCH_SIZE = 256
Z_95 = 1.959964


@dataclass(frozen=True)
class Measurement:
    """Figures over `n` responses, one per problem; lengths are in tokens, the closing `.` included."""

    n: int
    correct: int
    length_mean: float
    length_quartiles: tuple[float, float, float]
    unfinished: int
    by_checks: dict[int, tuple[int, int]]
    aha: int
    oops: int

    @property
    def accuracy(self) -> float:
        """Share of right final answers."""
        return self.correct / self.n

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson)."""
        return wilson_interval(self.correct, self.n)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share, for `n` of 1 or more."""
    share, z2 = successes / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


@torch.no_grad()
def generate_responses(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: list[Problem],
    *,
    sample: bool,
    seed: int = 0,
) -> list[str]:
    """One response per problem, `.` included where the model ended it within 144 tokens.

    `sample` draws at temperature 1 from the whole vocabulary and leaves torch's generator as it was;
    otherwise the decoding is greedy.
    """
    model.eval()
    options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if sample else {"do_sample": False}
    responses: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for begin in range(0, len(problems), BATCH_SIZE):
            prompts = [problem.prompt for problem in problems[begin : begin + BATCH_SIZE]]
            batch = tokenizer(
                prompts, padding=True, padding_side="left", return_tensors="pt", return_token_type_ids=False
            )
            output = model.generate(**batch, max_new_tokens=MAX_NEW_TOKENS, **options)
            for row in output[:, batch["input_ids"].shape[1] :].tolist():
                kept = [token for token in row if token != tokenizer.pad_token_id]
                responses.append(tokenizer.decode(kept))
    return responses


def measure_responses(responses: list[str], answers: list[str]) -> Measurement:
    """The figures of responses to problems with these answers; both lists have the same length, 1 or more."""
    lengths = [len(response.split()) for response in responses]
    right = [grade_arithmetic(response, answer) for response, answer in zip(responses, answers, strict=True)]
    checks: dict[int, list[bool]] = {}
    for response, ok in zip(responses, right):
        checks.setdefault(parse_response(response).num_checks, []).append(ok)
    moments = Counter(moment(response, answer) for response, answer in zip(responses, answers))
    low, middle, high = statistics.quantiles(lengths, n=4, method="inclusive") if len(lengths) > 1 else lengths * 3
    return Measurement(
        n=len(responses),
        correct=sum(right),
        length_mean=statistics.fmean(lengths),
        length_quartiles=(low, middle, high),
        unfinished=sum(not response.endswith(".") for response in responses),
        by_checks={count: (sum(oks), len(oks)) for count, oks in sorted(checks.items())},
        aha=moments["aha"],
        oops=moments["oops"],
    )
