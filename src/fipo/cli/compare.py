"""`fipo compare`: is the second model better than the first, and how sure is that?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

MEASURES = {"avg": "avg", "majority": "cons@{k}", "pass": "pass@{k}"}


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of an evaluation: the baseline.")],
    second: Annotated[Path, typer.Argument(help="Folder of the other evaluation, on the same problems.")],
    problems: Annotated[
        int, typer.Option("--problems", min=0, help="Problems to list, largest differences first.")
    ] = 5,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write everything as JSON to this file.")] = None,
) -> None:
    """Paired differences between two evaluations (second minus first), with 95 % intervals and p-values."""
    from rich.console import Console

    from fipo.evaluation.compare import compare_evaluations
    from fipo.runs.files import clear_disk_errors, write_json_atomically

    comparison = compare_evaluations(first, second)
    if out is not None:
        with clear_disk_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_json_atomically(out, comparison)
    _print(Console(), comparison, problems)


def _print(console: Any, comparison: dict[str, Any], problems: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    for letter, folder, model in zip("AB", comparison["folders"], comparison["models"]):
        console.print(f"[bold]{letter}[/]  {escape(model)}  [dim]{escape(folder)}[/]", soft_wrap=True)
    for note in comparison["notes"]:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    for name, figures in comparison["benchmarks"].items():
        table = Table(title=f"{escape(name)}, {figures['problems']} problems", title_justify="left")
        for heading in ("", "A", "B", "B − A, points", "p", "detectable", "needed"):
            table.add_column(heading, justify="left" if not heading else "right")
        for key, label in MEASURES.items():
            if key in figures:
                table.add_row(label.format(k=figures.get("k", "k")), *_cells(figures[key]))
        console.print(table)
        for row in figures.get("by_problem", [])[:problems]:
            console.print(
                f"  {escape(str(row['id']))}: {row['first']:.0%} → {row['second']:.0%}", soft_wrap=True, highlight=False
            )
    console.print(
        "[dim]95 % intervals over problems; p: sign-flip permutation test, two-sided, for each measure alone; "
        "detectable: the smallest true difference that so many problems would show 4 times in 5; needed: problems that "
        "would show the difference seen so often. All speak of these two models, not of two ways to train, which also "
        "differ by their seeds.[/]"
    )


def _cells(entry: dict[str, Any]) -> list[str]:
    gap = entry["difference"]
    return [
        f"{entry['first']['value']:.1%}",
        f"{entry['second']['value']:.1%}",
        f"{100 * gap['value']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]",
        f"{entry['p_value']:.3f}" if entry["p_value"] >= 0.001 else "< 0.001",
        f"{100 * entry['detectable']:.1f}",
        f"{entry['needed']:,}" if entry["needed"] else "–",
    ]
