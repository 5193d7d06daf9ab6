"""A model on held-out problems of the embedded task: greedy and avg@k, length, aha and oops."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fipo.evaluation import Estimate, Response, avg_at_k, sample_responses, share
from fipo.tasks.arithmetic import Problem, grade_arithmetic, moment

# Held-out problems are drawn with this seed whatever the training seed, so that runs can be compared.
PROBLEM_SEED = 1


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model.

    Attributes:
        greedy: accuracy of greedy decoding, Wilson interval.
        sampled: avg@k at temperature 1, bootstrap interval.
        length: mean tokens of the sampled responses.
        truncated: share of them that hit the limit.
        aha: share with a wrong first and a right last answer.
        oops: share with a right first and a wrong last answer.
        correct: per problem, one bool per sample.
        responses: per problem, its sampled responses.
    """

    greedy: Estimate
    sampled: Estimate
    length: float
    truncated: float
    aha: Estimate
    oops: Estimate
    correct: list[list[bool]]
    responses: list[list[Response]]

    def numbers(self) -> dict[str, Any]:
        """The summary as plain values."""
        return {
            "greedy": asdict(self.greedy),
            "avg_at_k": asdict(self.sampled),
            "k": len(self.correct[0]),
            "problems": len(self.correct),
            "mean_length": self.length,
            "truncated": self.truncated,
            "aha": asdict(self.aha),
            "oops": asdict(self.oops),
        }


def evaluate_model(
    folder: str | Path,
    problems: Sequence[Problem],
    *,
    samples: int,
    max_new_tokens: int,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Sample `samples` responses per problem at temperature 1, and one greedily, and grade them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompts = [problem.prompt for problem in problems]
    total = len(prompts) * (samples + 1)

    def report(done: int, _: int, *, before: int) -> None:
        if on_progress is not None:
            on_progress(before + done, total)

    greedy = sample_responses(
        model,
        tokenizer,
        prompts,
        temperature=0.0,
        max_new_tokens=max_new_tokens,
        on_batch=lambda done, _: report(done, _, before=0),
    )
    sampled = sample_responses(
        model,
        tokenizer,
        prompts,
        n=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        on_batch=lambda done, _: report(done, _, before=len(prompts)),
    )
    return summarise(problems, [group[0] for group in greedy], sampled)


def summarise(problems: Sequence[Problem], greedy: Sequence[Response], sampled: list[list[Response]]) -> Evaluation:
    """Grade responses and estimate; one greedy and k sampled responses per problem."""
    right = sum(grade_arithmetic(response.text, problem.answer) for problem, response in zip(problems, greedy))
    correct = [
        [grade_arithmetic(response.text, problem.answer) for response in group]
        for problem, group in zip(problems, sampled)
    ]
    flat = [(problem, response) for problem, group in zip(problems, sampled) for response in group]
    moments = Counter(moment(response.text, problem.answer) for problem, response in flat)
    return Evaluation(
        greedy=share(right, len(problems)),
        sampled=avg_at_k(correct),
        length=sum(response.length for _, response in flat) / len(flat),
        truncated=sum(response.truncated for _, response in flat) / len(flat),
        aha=share(moments["aha"], len(flat)),
        oops=share(moments["oops"], len(flat)),
        correct=correct,
        responses=sampled,
    )


def write_responses(file: Path, problems: Sequence[Problem], evaluation: Evaluation) -> None:
    """One JSON line per sampled response."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", encoding="utf-8") as stream:
        for problem, group, verdicts in zip(problems, evaluation.responses, evaluation.correct):
            for response, verdict in zip(group, verdicts):
                row = {
                    "prompt": problem.prompt,
                    "answer": problem.answer,
                    "response": response.text,
                    "correct": verdict,
                    "moment": moment(response.text, problem.answer),
                    "length": response.length,
                    "truncated": response.truncated,
                }
                stream.write(json.dumps(row) + "\n")
