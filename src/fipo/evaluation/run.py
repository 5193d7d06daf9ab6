"""An evaluation from start to end: load, sample what is missing, grade and write each response, summarise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fipo.errors import FIPOError
from fipo.evaluation.benchmarks import Benchmark, Problem, load_benchmarks
from fipo.evaluation.engines import choose_engine, open_engine
from fipo.evaluation.engines.base import Engine, Request, Response, Sampling
from fipo.evaluation.sampling import request_seed
from fipo.evaluation.settings import DEFAULT_MAX_TOKENS, EvalSettings, Runtime
from fipo.evaluation.summary import summarise
from fipo.models import fingerprint, resolve_model
from fipo.runs import EvaluationFolder, describe_environment
from fipo.runs.evaluation import ENGINE_FILE, SUMMARY_FILE, ResponseWriter

# Tokens left for a prompt that cannot be counted: the limit of the paper's runs.
PROMPT_ROOM = 2_048


class Progress(Protocol):
    """Is told how an evaluation goes on."""

    def begin(self, engine: Engine, max_tokens: int, done: int, total: int) -> None:
        """Sampling begins; `done` responses of `total` are there from before."""

    def advance(self, rows: Sequence[dict[str, Any]]) -> None:
        """These rows have been written."""

    def estimate(self) -> None:
        """All responses are there; answers are grouped and estimates made, which may take a while."""


@dataclass(frozen=True)
class _Task:
    """One response to sample."""

    benchmark: Benchmark
    problem: Problem
    sample: int
    seed: int


def evaluate(
    settings: EvalSettings,
    out: str | Path,
    *,
    runtime: Runtime | None = None,
    counts: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Sample, grade and estimate; the summary is returned and stands in `out/summary.json`.

    An evaluation that was cut off is continued when it is called again with the same settings: what is in `out` is
    kept, and only missing responses are sampled, each from its own seed.

    Args:
        settings: what decides the responses.
        out: its folder, new or of an evaluation with the same settings.
        runtime: where and how fast.
        counts: the k of pass@k and maj@k; default powers of two up to n.
        progress: is told of every response.

    Raises:
        FIPOError: what the user can mend, in one line. Responses already written stay.
    """
    runtime = runtime or Runtime()
    begun = EvaluationFolder(out)
    served = bool(runtime.base_url) or (begun.has_responses() and begun.engine()["name"] == "server")
    benchmarks = load_benchmarks(settings)
    config = {
        **settings.as_dict(),
        "model_fingerprint": None if served else fingerprint(resolve_model(settings.model)),
        "benchmarks": {benchmark.name: benchmark.describe() for benchmark in benchmarks},
    }
    folder = EvaluationFolder.find(out, config=config)
    if folder is None:
        begun.refuse_existing()
    if folder is None or _missing(settings, benchmarks, folder):
        folder = _sample(settings, runtime, config, folder, out, benchmarks, progress)
    if progress is not None:
        progress.estimate()
    summary = summarise(folder, counts=counts)
    folder.write_json(SUMMARY_FILE, summary)
    folder.set_status("finished")
    return summary


def settings_of(out: str | Path) -> EvalSettings:
    """The settings of an existing evaluation, to continue it."""
    return EvalSettings.from_dict(EvaluationFolder.open(out).config())


def _missing(settings: EvalSettings, benchmarks: Sequence[Benchmark], folder: EvaluationFolder) -> list[_Task]:
    """What is still to be sampled: sample by sample, so that an early stop leaves all problems covered alike."""
    done = folder.finished()
    return [
        _Task(benchmark, problem, sample, request_seed(settings.seed, problem.id, sample))
        for benchmark in benchmarks
        for sample in range(settings.n)
        for problem in benchmark.problems
        if (benchmark.name, problem.id, sample) not in done
    ]


def _sample(
    settings: EvalSettings,
    runtime: Runtime,
    config: dict[str, Any],
    folder: EvaluationFolder | None,
    out: str | Path,
    benchmarks: Sequence[Benchmark],
    progress: Progress | None,
) -> EvaluationFolder:
    """Sample what is missing into the folder, which is made when the model has been loaded and fits."""
    before = folder.engine() if folder is not None else {}
    engine = open_engine(choose_engine(settings, runtime, before.get("name")), settings, runtime)
    try:
        max_tokens = before.get("max_tokens") or _length_limit(settings, engine, benchmarks)
        sampling = Sampling(settings.temperature, settings.top_p, max_tokens)
        with EvaluationFolder(out).writer() as writer:
            # Only now: until the file was ours, another process may have begun here, or added to it.
            folder = EvaluationFolder.find(out, config=config)
            before = folder.engine() if folder is not None else {}
            if folder is None:
                folder = EvaluationFolder.create(out, config=config, environment=describe_environment())
            _note_engine(folder, before, {"name": engine.name, "max_tokens": max_tokens, **engine.describe()})
            folder.set_status("running")
            tasks = _missing(settings, benchmarks, folder)
            requests = [Request(task.problem.prompt, task.seed) for task in tasks]
            if progress is not None:
                total = settings.n * sum(len(benchmark.problems) for benchmark in benchmarks)
                progress.begin(engine, max_tokens, total - len(tasks), total)
            recorder = _Recorder(tasks, settings, writer, progress)
            try:
                engine.generate(requests, sampling, recorder)
            except BaseException as error:
                stopped = isinstance(error, KeyboardInterrupt)
                folder.set_status("interrupted" if stopped else "failed", error=f"{type(error).__name__}: {error}")
                raise
    finally:
        engine.close()
    return folder


def _note_engine(folder: EvaluationFolder, before: dict[str, Any], used: dict[str, Any]) -> None:
    """`engine.json` is what the evaluation began with; what it was continued with stands in a list beside."""
    first = {key: value for key, value in before.items() if key != "continued"}
    continued = before.get("continued", [])
    if not first:
        folder.write_json(ENGINE_FILE, used)
    elif used != (continued[-1] if continued else first):
        folder.write_json(ENGINE_FILE, {**first, "continued": [*continued, used]})


class _Recorder:
    """Grades and writes what an engine hands over."""

    def __init__(
        self, tasks: Sequence[_Task], settings: EvalSettings, writer: ResponseWriter, progress: Progress | None
    ) -> None:
        self.tasks, self.settings, self.writer, self.progress = tasks, settings, writer, progress

    def __call__(self, finished: Sequence[tuple[int, Response]]) -> None:
        by_benchmark: dict[str, list[tuple[_Task, Response]]] = {}
        for index, response in finished:
            task = self.tasks[index]
            by_benchmark.setdefault(task.benchmark.name, []).append((task, response))
        for pairs in by_benchmark.values():
            grades = pairs[0][0].benchmark.grade(
                [task.problem for task, _ in pairs],
                [response.text for _, response in pairs],
                allow_last_number=self.settings.allow_last_number,
            )
            rows = [_row(task, response, grade) for (task, response), grade in zip(pairs, grades)]
            self.writer.write(rows)
            if self.progress is not None:
                self.progress.advance(rows)


def _row(task: _Task, response: Response, grade: Any) -> dict[str, Any]:
    """One line of `responses.jsonl`."""
    return {
        "data": task.benchmark.name,
        "id": task.problem.id,
        "sample": task.sample,
        "seed": task.seed,
        "correct": grade.correct,
        "extracted": grade.extracted,
        "reason": grade.reason,
        "answer": task.problem.answer,
        "length": response.length,
        "finish_reason": response.finish_reason,
        "prompt": task.problem.prompt,
        "response": response.text,
    }


def _length_limit(settings: EvalSettings, engine: Engine, benchmarks: Sequence[Benchmark]) -> int:
    """Tokens a response may have: as asked for if the context takes them after the longest prompt."""
    problems = [problem for benchmark in benchmarks for problem in benchmark.problems]
    lengths = engine.prompt_lengths([problem.prompt for problem in problems])
    if engine.context_length is None:
        return settings.max_tokens or DEFAULT_MAX_TOKENS
    if lengths is None:
        return _limit_without_lengths(settings.max_tokens, engine.context_length)
    longest = max(lengths)
    room = engine.context_length - longest
    if room < 1:
        raise FIPOError(
            f"the prompt of problem {problems[lengths.index(longest)].id} has {longest} tokens, but the model's "
            f"context is {engine.context_length}: leave the problem out, or take a model with a longer context"
        )
    if settings.max_tokens is not None and settings.max_tokens > room:
        raise FIPOError(
            f"--max-tokens {settings.max_tokens} after a prompt of {longest} tokens is more than the model's context "
            f"of {engine.context_length}: give at most {room}"
        )
    return settings.max_tokens or min(DEFAULT_MAX_TOKENS, room)


def _limit_without_lengths(wanted: int | None, context: int) -> int:
    """Where a server tells its context, but only it can count the tokens of a prompt: leave room for usual ones."""
    if wanted is not None and wanted >= context:
        raise FIPOError(
            f"--max-tokens {wanted} and a prompt are more than the server's context of {context}: give less"
        )
    return wanted or min(DEFAULT_MAX_TOKENS, max(context // 2, context - PROMPT_ROOM))
