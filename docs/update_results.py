"""Puts the numbers and the picture of a finished demo into the README: python docs/update_results.py runs/demo."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results" / "demo.json"
PICTURE = ROOT / "docs" / "images" / "demo-curves.svg"
README = ROOT / "README.md"
BEGIN, END = "<!-- demo results: begin -->\n", "<!-- demo results: end -->"


def results_table(summary: dict[str, Any]) -> str:
    """The README's table and the line under it, from a `summary.json`."""
    first = next(iter(summary["results"].values()))
    lines = [
        f"| model | greedy | avg@{first['k']} | mean length | aha | oops | mean f |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, numbers in summary["results"].items():
        weight = numbers.get("influence_weight_mean")
        cells = [
            name if name == "base" else name.upper(),
            percent(numbers["greedy"]),
            percent(numbers["avg_at_k"]),
            f"{numbers['mean_length']:.1f}",
            f"{100 * numbers['aha']:.1f} %",
            f"{100 * numbers['oops']:.1f} %",
            "–" if weight is None else f"{weight:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    environment = summary["environment"]
    packages = environment["packages"]
    gap = summary["differences"]["fipo - dapo"]
    interval = f"{100 * gap['value']:+.1f} points [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]"
    lines += [
        "",
        f"{first['problems']} held-out problems, {first['k']} samples each, 95 % intervals. FIPO − DAPO, "
        f"avg@{first['k']}: {interval}. One training seed ({summary['seed']}) each, {summary['rollouts']} rollouts; "
        f"{summary['seconds']['total']:.0f} s in all on {environment['cpu_cores']} CPU cores "
        f"({environment['platform']}, no GPU), Python {environment['python']}, torch {packages['torch']}, "
        f"TRL {packages['trl']}, transformers {packages['transformers']}. Printed by `make demo`.",
    ]
    return "\n".join(lines) + "\n"


def percent(numbers: dict[str, float]) -> str:
    """`94.9 % [93.6, 96.2]`."""
    return f"{100 * numbers['value']:.1f} % [{100 * numbers['low']:.1f}, {100 * numbers['high']:.1f}]"


def main() -> None:
    """Copy `summary.json` and the picture of the folder given, and rewrite the README's table."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/update_results.py DEMO_FOLDER")
    folder = Path(sys.argv[1])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    summary["environment"]["command"] = "make demo"
    RESULTS.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(folder / "curves.svg", PICTURE)
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    README.write_text(head + BEGIN + results_table(summary) + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
