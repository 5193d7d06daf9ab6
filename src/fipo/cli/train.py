"""`fipo train`: a recipe, a model and data in; a run folder with a trained model out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fipo.errors import FIPOError


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings, such as learning_rate=1e-6 loss.half_life=128 data.limit=100 lora.r=16.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", "-r", help="YAML recipe: model, task, data, lora, training.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model folder or hub name.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="JSONL or Parquet file, short name, or hub data set.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder to make.")] = None,
    algorithm: Annotated[str | None, typer.Option("--algorithm", help="fipo, dapo or grpo.")] = None,
    rollouts: Annotated[int | None, typer.Option("--rollouts", help="Length of the run in rollout batches.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of prompts, sampling and adapters.")] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Run folder to continue from its last checkpoint.")
    ] = None,
) -> None:
    """Train a model with FIPO, DAPO or GRPO on verifiable rewards.

    Several GPUs: accelerate launch --num_processes 8 -m fipo train ... (CPUs: torchrun --nproc_per_node 2 -m fipo ...)
    """
    from fipo.training.recipe import load_recipe

    named = {"model": model, "data.source": data, "algorithm": algorithm, "rollouts": rollouts, "seed": seed}
    changes = list(overrides or [])
    if resume is not None:
        if recipe is not None or out is not None:
            raise FIPOError("--resume continues a run with its own recipe: leave --recipe and --out out")
        from fipo.training.run import recipe_of_run

        out, plan = resume, recipe_of_run(resume, changes, named)
    elif out is None:
        raise FIPOError("no run folder: give --out FOLDER (or --resume FOLDER)")
    else:
        plan = load_recipe(recipe, changes, named)

    from fipo.cli.progress import TrainingProgress
    from fipo.training.run import train_from_recipe

    try:
        folder = train_from_recipe(plan, out, resume=resume is not None, callbacks=[TrainingProgress()])
    except KeyboardInterrupt:
        typer.echo(f"a run with a checkpoint continues with: fipo train --resume {out}", err=True)
        raise
    if os.environ.get("RANK", "0") == "0":
        typer.echo(f"run folder: {folder.path}")
