"""The demo from start to end: base answers, training side by side, evaluation, table, picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fipo.demo.display import TrainingDisplay
from fipo.demo.evaluate import Evaluation, evaluate_model, write_responses
from fipo.demo.runner import ChildRun, ended_with_us, threads_per_run
from fipo.demo.settings import MAX_RESPONSE, DemoSize, demo_recipe
from fipo.demo.summary import comparison, print_table, show_answers
from fipo.errors import FIPOError
from fipo.report.curves import draw_curves
from fipo.runs import describe_environment
from fipo.runs.files import write_json_atomically
from fipo.runs.folder import MODEL_FOLDER
from fipo.tasks.arithmetic import Problem, base_model_path, held_out_problems


def run_demo(
    out: Path, size: DemoSize, *, algorithms: Sequence[str], seed: int, console: Console | None = None
) -> dict[str, Any]:
    """Run the demo into `out` and return its summary, which is also written to `out/summary.json`.

    Args:
        out: a folder that does not exist yet, or is empty.
        size: how much to train and measure.
        algorithms: trained side by side, each in a process of its own.
        seed: of prompts and sampling, the same for every algorithm.
        console: where to show it.

    Raises:
        FIPOError: `out` is in use, or a run failed.
    """
    console = console or Console()
    started = time.perf_counter()
    _make_folder(out)
    problems = held_out_problems(size.problems)
    console.print(
        "[bold]FIPO demo[/]: a 0.13M-parameter language model follows a value modulo 10 through a chain of "
        "operations. Its pretraining text holds few worked solutions, so that it mostly blurts answers out. "
        "Reinforcement learning gives it one bit per response: right or wrong."
    )
    console.print(f"{len(algorithms)} x {size.rollouts} rollout batches, seed {seed}, into {out}\n", style="dim")
    evaluations = {"base": _evaluate("base", base_model_path(), problems, size, seed, console)}
    console.print("[bold]The base model answers[/] (sampled at temperature 1)")
    show_answers(console, problems, evaluations["base"], prefer_aha=False)

    runs = _train(demo_recipe(size.rollouts, seed), algorithms, out, size, console)
    trained_seconds = time.perf_counter() - started

    console.print()
    for run in runs:
        evaluations[run.name] = _evaluate(run.name, run.folder.path / MODEL_FOLDER, problems, size, seed, console)
    metrics = {run.name: run.metrics() for run in runs}
    for name, evaluation in evaluations.items():
        write_responses(out / "evaluation" / f"{name}.jsonl", problems, evaluation)
    note = f"one training seed ({seed}) per algorithm; {size.rollouts} rollouts x 16 prompts x 16 responses, 8 updates"
    pictures = draw_curves(metrics, out / "curves", title="Embedded arithmetic task", note=note)
    summary = _summary(size, seed, evaluations, metrics, started, trained_seconds)
    write_json_atomically(out / "summary.json", summary)

    name = algorithms[-1]
    console.print(f"[bold]The {name.upper()} model answers[/] (sampled; if it ever corrects itself, that comes first)")
    show_answers(console, problems, evaluations[name], prefer_aha=True)
    console.print()
    print_table(console, summary)
    for line in summary["statements"]:
        console.print(line)
    console.print(
        f"\n{time.perf_counter() - started:.0f} s in all. Picture: {pictures[0]}  Numbers: {out / 'summary.json'}  "
        f"Runs: {', '.join(str(run.folder.path) for run in runs)}",
        soft_wrap=True,
    )
    return summary


def _train(
    recipe: dict[str, Any], algorithms: Sequence[str], out: Path, size: DemoSize, console: Console
) -> list[ChildRun]:
    """One process per algorithm, shown until all have ended."""
    together = " at the same time" if len(algorithms) > 1 else ""
    console.print(f"\n[bold]Training[/] {' and '.join(name.upper() for name in algorithms)}{together}")
    threads = threads_per_run(len(algorithms))
    runs: list[ChildRun] = []
    with ended_with_us(runs):
        runs += [ChildRun.start(name, recipe, out, threads=threads) for name in algorithms]
        TrainingDisplay(console, size.rollouts).follow(runs)
    return runs


def _make_folder(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise FIPOError(f"{out} is in use: give another folder with --out, or remove it")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FIPOError(f"cannot make {out}: {error.strerror}") from None


def _evaluate(
    name: str, folder: Path, problems: Sequence[Problem], size: DemoSize, seed: int, console: Console
) -> Evaluation:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task(f"measuring {name.upper()} on {len(problems)} held-out problems", total=1.0)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done / total)

        return evaluate_model(
            folder, problems, samples=size.samples, max_new_tokens=MAX_RESPONSE, seed=seed, on_progress=advance
        )


def _summary(
    size: DemoSize,
    seed: int,
    evaluations: dict[str, Evaluation],
    metrics: dict[str, list[dict[str, Any]]],
    started: float,
    trained_seconds: float,
) -> dict[str, Any]:
    results = {name: evaluation.numbers() for name, evaluation in evaluations.items()}
    for name, rows in metrics.items():
        weights = [row[key] for row in rows if (key := "actor/influence_weights_mean") in row]
        results[name]["influence_weight_mean"] = sum(weights) / len(weights) if weights else None
        results[name]["sampled_tokens"] = sum(row["perf/sampled_tokens"] for row in rows)
    return {
        "schema_version": 1,
        "seed": seed,
        "rollouts": size.rollouts,
        "results": results,
        **comparison(evaluations),
        "seconds": {"training_ended": trained_seconds, "total": time.perf_counter() - started},
        "environment": describe_environment(),
    }
