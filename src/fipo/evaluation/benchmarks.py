"""The problems of an evaluation and the graders that belong to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fipo.errors import FIPOError, nearest
from fipo.evaluation.engines.base import Prompt
from fipo.evaluation.settings import EvalSettings
from fipo.tasks import Grade, grade_many, load_problems
from fipo.tasks.arithmetic import held_out_problems, parse_response
from fipo.tasks.problems import DEFAULT_STYLE
from fipo.tasks.sources import HUB_SOURCES

ARITHMETIC = "arithmetic"
ARITHMETIC_PROBLEMS = 256
MOST_ARITHMETIC_PROBLEMS = 100_000


@dataclass(frozen=True)
class Problem:
    """A problem as the model is given it.

    Attributes:
        id: unique within its benchmark.
        prompt: text or chat messages.
        answer: reference answer.
    """

    id: str
    prompt: Prompt
    answer: str


@dataclass(frozen=True)
class Benchmark:
    """One data set.

    Attributes:
        name: how it is called in tables and files.
        source: what the user gave.
        style: of the prompts, or "own" where the data set brings chats.
        problems: in the order of the data.
    """

    name: str
    source: str
    style: str
    problems: tuple[Problem, ...]

    def grade(self, problems: Sequence[Problem], responses: Sequence[str], *, allow_last_number: bool) -> list[Grade]:
        """The verdicts, one per pair."""
        if self.source == ARITHMETIC:
            return [_grade_arithmetic(response, problem.answer) for problem, response in zip(problems, responses)]
        answers = [problem.answer for problem in problems]
        return grade_many(responses, answers, allow_last_number=allow_last_number)

    def describe(self) -> dict[str, Any]:
        """For `config.json`; the digest changes with any problem, prompt or answer."""
        digest = hashlib.sha256()
        for problem in self.problems:
            digest.update(json.dumps([problem.id, problem.prompt, problem.answer]).encode())
        return {
            "source": self.source,
            "problems": len(self.problems),
            "prompt_style": self.style,
            "digest": digest.hexdigest()[:16],
        }


def load_benchmarks(settings: EvalSettings) -> list[Benchmark]:
    """The data sets of the settings.

    Raises:
        FIPOError: one that cannot be loaded or is empty, with the nearest known name; two of one name.
    """
    benchmarks: dict[str, Benchmark] = {}
    for source in settings.data:
        benchmark = _arithmetic(settings) if source == ARITHMETIC else _load(source, settings)
        other = benchmarks.get(benchmark.name)
        if other is not None:
            raise FIPOError(
                f"two data sets are called {benchmark.name!r}: {other.source} and {source}; rename one file"
            )
        benchmarks[benchmark.name] = benchmark
    return list(benchmarks.values())


def _arithmetic(settings: EvalSettings) -> Benchmark:
    if settings.prompt_style not in (None, "raw"):
        raise FIPOError(f"--prompt-style {settings.prompt_style}: the embedded task has its own prompts, leave it out")
    for option, given in (
        ("--split", settings.split),
        ("--problem-key", settings.problem_key),
        ("--answer-key", settings.answer_key),
        ("--last-number", settings.allow_last_number),
    ):
        if given and settings.data == (ARITHMETIC,):
            raise FIPOError(f"{option} has no effect on the embedded task: leave it out")
    if settings.limit is not None and settings.limit > MOST_ARITHMETIC_PROBLEMS:
        raise FIPOError(f"--limit {settings.limit} for the embedded task must be at most {MOST_ARITHMETIC_PROBLEMS}")
    made = held_out_problems(settings.limit or ARITHMETIC_PROBLEMS)
    problems = tuple(Problem(problem.prompt, problem.prompt, problem.answer) for problem in made)
    return Benchmark(ARITHMETIC, ARITHMETIC, "own", problems)


def _load(source: str, settings: EvalSettings) -> Benchmark:
    short = HUB_SOURCES.get(source.lower())
    known = [*HUB_SOURCES, ARITHMETIC]
    if short is None and "/" not in source and "." not in source and not Path(source).exists():
        raise FIPOError(
            f"no data set {source!r}{nearest(source.lower(), known)}; give a file (.jsonl, .json, .parquet), "
            f"a hub id org/name or one of {', '.join(known)}"
        )
    rows = load_problems(
        source,
        problem_key=settings.problem_key,
        answer_key=settings.answer_key,
        prompt_style=settings.prompt_style,
        split=settings.split or (short.eval_split if short else None),
        limit=settings.limit,
    )
    problems = tuple(Problem(row["id"], row["prompt"], row["answer"]) for row in rows)
    style = settings.prompt_style or (DEFAULT_STYLE if isinstance(problems[0].prompt, str) else "own")
    return Benchmark(source.lower() if short else Path(source).stem, source, style, problems)


def _grade_arithmetic(response: str, answer: str) -> Grade:
    final = parse_response(response).final
    if final is None:
        return Grade(False, None, "no answer")
    correct = str(final) == answer
    return Grade(correct, str(final), "same number" if correct else "different number")
