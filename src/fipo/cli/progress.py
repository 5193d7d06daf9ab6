"""One line per rollout step of a training run."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from transformers import TrainerCallback

COLUMNS = (
    ("step", 9),
    ("accuracy", 8),
    ("reward", 6),
    ("length", 7),
    ("entropy", 7),
    ("weight", 6),
    ("batches", 7),
    ("s/step", 6),
    ("left", 7),
)


SHOWN = (
    ("reward/accuracy", 3),
    ("reward/mean", 3),
    ("response_length/mean", 1),
    ("actor/entropy", 3),
    ("actor/influence_weights_mean", 3),
    ("dynamic_sampling/generation_batches", 0),
    ("timing_s/step", 1),
)


class TrainingProgress(TrainerCallback):
    """Prints step, accuracy, reward, length, entropy, mean influence weight, generation batches and time left."""

    def __init__(self) -> None:
        self.console = Console()
        self.started = time.perf_counter()
        self.first_update = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Print the head of the table."""
        self.started, self.first_update = time.perf_counter(), state.global_step
        if state.is_world_process_zero:
            self.console.print(" ".join(name.rjust(width) for name, width in COLUMNS), style="bold")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Print one row."""
        if logs is None or "reward/mean" not in logs or not state.is_world_process_zero:
            return
        done = state.global_step - self.first_update
        left = (time.perf_counter() - self.started) / max(1, done) * (state.max_steps - state.global_step)
        updates = args.updates_per_rollout
        cells = (
            f"{state.global_step // updates}/{state.max_steps // updates}",
            *(_cell(logs.get(key), digits) for key, digits in SHOWN),
            format_seconds(left),
        )
        self.console.print(" ".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS)))


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def format_seconds(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
