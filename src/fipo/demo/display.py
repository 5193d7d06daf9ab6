"""What the demo shows while it runs: bars with a small live plot on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fipo.demo.runner import ChildRun

BLOCKS = " ▁▂▃▄▅▆▇█"
PLOT_WIDTH = 32
REFRESH_SECONDS = 0.5
PLAIN_EVERY = 5


class TrainingDisplay:
    """Follows child runs until all have ended.

    Args:
        console: where to show; plain lines are printed when it is not a terminal.
        total: rollout steps of each run.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.started = time.perf_counter()
        self._printed: dict[str, int] = {}

    def follow(self, runs: Sequence[ChildRun]) -> None:
        """Show progress until every run has ended; raises `FIPOError` if one failed."""
        if not self.console.is_terminal:
            while self._step(runs):
                self._print_new(runs)
            self._print_new(runs)
            return
        with Live(self.render(runs), console=self.console, refresh_per_second=4, transient=False) as live:
            while self._step(runs):
                live.update(self.render(runs))
            live.update(self.render(runs))

    def _step(self, runs: Sequence[ChildRun]) -> bool:
        for run in runs:
            run.check()
        if not any(run.running for run in runs):
            return False
        time.sleep(REFRESH_SECONDS)
        return True

    def _print_new(self, runs: Sequence[ChildRun]) -> None:
        for run in runs:
            for row in run.metrics()[self._printed.get(run.name, 0) :]:
                self._printed[run.name] = row["step"]
                if row["step"] % PLAIN_EVERY == 0 or row["step"] in (1, self.total):
                    self.console.print(
                        f"{run.name:5s} step {row['step']:3d}/{self.total}  accuracy {row['reward/accuracy']:.2f}  "
                        f"length {row['response_length/mean']:5.1f}  "
                        f"weight {_weight(row)}  {self._elapsed()}"
                    )

    def render(self, runs: Sequence[ChildRun]) -> Group:
        """The live view: a row per run, with its accuracy and length so far."""
        table = Table(box=None, padding=(0, 1))
        for heading in ("", "step", "", "accuracy", "", "length", "", "weight", "left"):
            table.add_column(
                heading, justify="right" if heading in ("step", "left", "weight") else "left", no_wrap=True
            )
        for run in runs:
            table.add_row(*self._cells(run))
        note = Text(f"accuracy and length of the responses sampled in training; {self._elapsed()}", style="dim")
        return Group(table, note)

    def _cells(self, run: ChildRun) -> list[Any]:
        rows = run.metrics()
        if not rows:
            waiting = "starting" if run.running else "ended"
            return [run.name.upper(), f"0/{self.total}", ProgressBar(self.total, 0, width=12), waiting]
        accuracy = [row["reward/accuracy"] for row in rows]
        length = [row["response_length/mean"] for row in rows]
        seconds = [row["timing_s/step"] for row in rows[-5:]]
        left = (self.total - len(rows)) * sum(seconds) / len(seconds)
        return [
            run.name.upper(),
            f"{len(rows)}/{self.total}",
            ProgressBar(self.total, len(rows), width=12),
            Text(sparkline(accuracy, 0.0, 1.0), style="green"),
            f"{accuracy[-1]:.2f}",
            Text(sparkline(length, 0.0, max(length)), style="cyan"),
            f"{length[-1]:.0f}",
            _weight(rows[-1]),
            clock(left),
        ]

    def _elapsed(self) -> str:
        return f"{clock(time.perf_counter() - self.started)} gone"


def clock(seconds: float) -> str:
    """`2:03`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _weight(row: Mapping[str, Any]) -> str:
    """Missing where no response of the rollout was in the loss."""
    value = row.get("actor/influence_weights_mean")
    return "-" if value is None else f"{value:.3f}"


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Values as a line of block characters, at most `PLOT_WIDTH` wide."""
    step = max(1, -(-len(values) // PLOT_WIDTH))
    chosen = [values[min(i + step - 1, len(values) - 1)] for i in range(0, len(values), step)]
    scale = (len(BLOCKS) - 1) / ((high - low) or 1.0)
    return "".join(BLOCKS[min(len(BLOCKS) - 1, max(0, round((value - low) * scale)))] for value in chosen)
