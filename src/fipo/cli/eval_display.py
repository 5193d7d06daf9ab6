"""What `fipo eval` shows: progress with rates while it samples, then the table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fipo.cli.progress import format_seconds
from fipo.runs import EvaluationFolder

# Shares of truncated responses, or of those without an answer, that are worth a word.
NOTABLE = 0.1
# Without a terminal, a line this often (seconds).
LINE_EVERY = 30.0


class EvalDisplay:
    """A bar with responses done, accuracy so far, rates and time left; plain lines where there is no terminal.

    On Ctrl-C it says what was kept and how to go on.
    """

    def __init__(self, console: Console, settings: Any, out: Path, *, base_url: str | None = None) -> None:
        self.console, self.settings, self.out = console, settings, out
        self.address = f" --base-url {base_url}" if base_url else ""
        self.done = self.total = self.before = self.correct = self.tokens = 0
        self.started = self.printed = 0.0
        self.bar: Progress | None = None

    def __enter__(self) -> EvalDisplay:
        self.console.print(f"[dim]loading {escape(self.settings.model)}[/]", soft_wrap=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt) and EvaluationFolder.holds_run(self.out)
        if kind is not None and (self.total or stopped):
            kept = f"{self.done} of {self.total} responses are kept in {self.out}; " if self.total else ""
            hint = f"{kept}continue with: fipo eval --resume {self.out}{self.address}"
            self.console.print(hint, soft_wrap=True, markup=False)

    def begin(self, engine: Any, max_tokens: int, done: int, total: int) -> None:
        """Say what is sampled, and start the clock."""
        described = ", ".join(f"{key} {value}" for key, value in engine.describe().items())
        settings = self.settings
        self.console.print(
            f"{escape(settings.model)} on {escape(', '.join(settings.data))}: {settings.n} responses per problem, "
            f"temperature {settings.temperature:g}, top-p {settings.top_p:g}, up to {max_tokens} tokens, "
            f"seed {settings.seed}; {engine.name} ({escape(described)})",
            soft_wrap=True,
        )
        if done:
            self.console.print(f"{done} of {total} responses are there already", soft_wrap=True)
        self.done = self.before = done
        self.total, self.started = total, time.monotonic()
        if self.console.is_terminal:
            columns = (
                BarColumn(bar_width=10),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task("", total=total, completed=done, note="")
            self.bar.start()

    def advance(self, rows: Sequence[dict[str, Any]]) -> None:
        """Count rows and refresh the display."""
        self.done += len(rows)
        self.correct += sum(row["correct"] for row in rows)
        self.tokens += sum(row["length"] for row in rows)
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, note=self._note())
        elif time.monotonic() - max(self.printed, self.started) > LINE_EVERY or self.done == self.total:
            self.printed = time.monotonic()
            self.console.print(f"{self.done}/{self.total} {self._note()}", soft_wrap=True)

    def estimate(self) -> None:
        """Say so: comparing many unequal formulas may take a while."""
        if self.bar is not None:
            self.bar.stop()
        self.console.print("[dim]comparing answers for votes, and estimating[/]")

    def _note(self) -> str:
        seconds = max(time.monotonic() - self.started, 1e-6)
        new = self.done - self.before
        left = format_seconds((self.total - self.done) * seconds / max(1, new))
        rate = f"{self.tokens / seconds:,.0f} tokens/s"
        return f"left {left} · {self.correct / max(1, new):.1%} right · {rate}"


def print_summary(console: Console, summary: dict[str, Any], counts: Sequence[int]) -> None:
    """The table: one column per data set, accuracies in per cent with 95 % intervals; pass@k and maj@k of `counts`."""
    benchmarks = summary["benchmarks"]
    table = Table(title=f"{escape(summary['model'])}", title_justify="left")
    table.add_column("")
    for name, figures in benchmarks.items():
        table.add_column(f"{escape(name)}\n{figures['problems']} problems", justify="right")
    for label, cells in _table_rows(list(benchmarks.values()), counts):
        table.add_row(label, *cells)
    console.print(table)
    console.print(
        "[dim]In per cent with 95 % intervals over problems: how the numbers would differ with other problems of the "
        "kind. 'if repeated': with the same problems, sampled again.[/]"
    )
    for name, figures in benchmarks.items():
        for warning in _warnings(figures, summary["sampling"]["max_tokens"]):
            console.print(f"[yellow]note:[/] {escape(name)}: {warning}", soft_wrap=True)


def _warnings(figures: dict[str, Any], max_tokens: int) -> list[str]:
    """What makes the accuracies say little about the model."""
    total = figures["problems"] * figures["samples"]
    truncated, silent = figures["truncated"]["responses"], figures["no_answer"]
    warnings = []
    if truncated > total * NOTABLE:
        warnings.append(f"{truncated / total:.0%} of the responses hit the limit of {max_tokens} tokens (--max-tokens)")
    if silent - truncated > total * NOTABLE:
        warnings.append(f"{silent / total:.0%} of the responses mark no answer: look at some, and at the prompt style")
    return warnings


def _table_rows(columns: Sequence[dict[str, Any]], counts: Sequence[int]) -> list[tuple[str, list[str]]]:
    n = columns[0]["samples"]
    rows = [(f"avg@{n}", [_interval(figures["avg"]) for figures in columns])]
    if n > 1:
        rows.append(("  if repeated", [_interval(figures["avg_if_repeated"]) for figures in columns]))
        rows.append((f"cons@{n}", [_interval(figures["majority"][str(n)]) for figures in columns]))
    shown = [str(k) for k in counts if k > 1]
    rows += [(f"pass@{k}", [_interval(figures["pass"][k]) for figures in columns]) for k in shown]
    rows += [(f"maj@{k}", [_interval(figures["majority"][k]) for figures in columns]) for k in shown if int(k) < n]
    quarters = max(len(figures["accuracy_by_length"]) for figures in columns)
    for index in range(quarters):
        rows.append(
            (
                "  right, by length" if index == 0 else "",
                [_bin(figures["accuracy_by_length"], index) for figures in columns],
            )
        )
    rows += [
        ("length, mean", [f"{figures['length']['mean']:,.0f}" for figures in columns]),
        ("min / q25 / median / q75 / max", [_quartiles(figures["length"]) for figures in columns]),
        ("truncated", [_truncated(figures) for figures in columns]),
        ("no answer", [_share(figures["no_answer"], figures) for figures in columns]),
    ]
    return rows


def _interval(estimate: dict[str, float]) -> str:
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _bin(bins: Sequence[dict[str, Any]], index: int) -> str:
    if index >= len(bins):
        return ""
    part = bins[index]
    return f"{part['low']:,.0f}–{part['high']:,.0f}: {_interval(part['accuracy'])}"


def _quartiles(length: dict[str, float]) -> str:
    return " / ".join(f"{length[key]:,.0f}" for key in ("min", "q25", "median", "q75", "max"))


def _share(count: int, figures: dict[str, Any]) -> str:
    return f"{count / (figures['problems'] * figures['samples']):.1%}"


def _truncated(figures: dict[str, Any]) -> str:
    count = figures["truncated"]["responses"]
    right = f" ({figures['truncated']['correct']} of {count} right)" if count else ""
    return _share(count, figures) + right
