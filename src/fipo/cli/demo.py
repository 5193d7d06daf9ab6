"""`fipo demo`: a small model learns to reason in minutes, with DAPO and FIPO side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fipo.errors import FIPOError, nearest

KNOWN = ("fipo", "dapo", "grpo")
DEFAULT_OUT = Path("runs/demo")


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="A short run (about a minute) instead of the full one.")
    ] = False,
    algorithm: Annotated[
        list[str] | None, typer.Option("--algorithm", "-a", help="fipo, dapo or grpo; may be given more than once.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Rollout batches per algorithm.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of prompts and sampling.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for runs, numbers and picture.")] = None,
) -> None:
    """Train the shipped base model with DAPO and FIPO on two CPU cores, measure both, and show what happened."""
    import dataclasses

    from fipo.demo.settings import ALGORITHMS, FULL, QUICK

    names = list(dict.fromkeys(algorithm or ALGORITHMS))
    for name in names:
        if name not in KNOWN:
            raise FIPOError(f"--algorithm {name!r} must be one of {', '.join(KNOWN)}{nearest(name, KNOWN)}")
    from fipo.demo.run import run_demo

    size = QUICK if quick else FULL
    if steps is not None:
        size = dataclasses.replace(size, rollouts=steps)
    run_demo(_free_folder() if out is None else out, size, algorithms=names, seed=seed)


def _free_folder() -> Path:
    """The default folder, or the first numbered one that is free: a demo is often run again."""
    candidate, number = DEFAULT_OUT, 2
    while candidate.exists():
        candidate, number = DEFAULT_OUT.with_name(f"{DEFAULT_OUT.name}-{number}"), number + 1
    return candidate
