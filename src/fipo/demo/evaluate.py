"""A model on held-out problems of the embedded task: greedy and avg@k, length, aha and oops."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fipo.demo.measure import Measurement, measure_responses
from fipo.evaluation import Estimate, Response, avg_at_k, sample_responses
from fipo.tasks.arithmetic import Problem, grade_arithmetic, moment


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model.

    Attributes:
        greedy: one greedy response per problem.
        sampled: all responses sampled at temperature 1.
        average: avg@k of the sampled responses, bootstrap interval.
        correct: per problem, one bool per sample.
        responses: per problem, its sampled responses.
    """

    greedy: Measurement
    sampled: Measurement
    average: Estimate
    correct: list[list[bool]]
    responses: list[list[Response]]

    def numbers(self) -> dict[str, Any]:
        """The summary as plain values."""
        total = self.sampled.n
        return {
            "problems": len(self.correct),
            "k": len(self.correct[0]),
            "greedy": asdict(self.greedy.accuracy),
            "avg_at_k": asdict(self.average),
            "mean_length": self.sampled.length_mean,
            "length_quartiles": list(self.sampled.length_quartiles),
            "truncated": self.sampled.truncated / total,
            "aha": self.sampled.aha / total,
            "oops": self.sampled.oops / total,
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
        on_finished=lambda done, _: report(done, _, before=0),
    )
    sampled = sample_responses(
        model,
        tokenizer,
        prompts,
        n=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        on_finished=lambda done, _: report(done, _, before=len(prompts)),
    )
    return summarise(problems, [group[0] for group in greedy], sampled)


def summarise(problems: Sequence[Problem], greedy: Sequence[Response], sampled: list[list[Response]]) -> Evaluation:
    """Grade responses and estimate; one greedy and k sampled responses per problem."""
    answers = [problem.answer for problem in problems]
    correct = [
        [grade_arithmetic(response.text, answer) for response in group] for answer, group in zip(answers, sampled)
    ]
    flat = [response for group in sampled for response in group]
    repeated = [answer for answer, group in zip(answers, sampled) for _ in group]
    return Evaluation(
        greedy=measure_responses(greedy, answers),
        sampled=measure_responses(flat, repeated),
        average=avg_at_k(correct),
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
