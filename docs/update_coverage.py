"""Puts the simulated coverage of intervals into docs/evaluation.md: python docs/update_coverage.py coverage.json."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results" / "interval_coverage.json"
PAGE = ROOT / "docs" / "evaluation.md"
BEGIN, END = "<!-- coverage: begin -->\n", "<!-- coverage: end -->"
METHODS = {
    "score": "**score** (used)",
    "percentile": "percentile bootstrap",
    "expanded": "expanded percentile",
    "BCa": "BCa",
    "bootstrap-t": "bootstrap-t",
    "two-level": "two-level",
}
# One value in two, one sample in one: there a coverage jumps with the truth, whatever the method.
COARSE = ("avg@1", "cons@32")
# Where the mean hangs on a few problems in a hundred.
SPARSE = ("95 % at 0, 5 % uniform", "Beta(0.05, 1)")


def coverage_table(results: dict[str, Any]) -> str:
    """Lowest and highest coverage of each method by number of problems, and the line under it."""
    sizes = sorted({row["problems"] for row in results["grid"]})
    lines = [
        f"| coverage in %, lowest – highest | {' | '.join(METHODS.values())} |",
        f"| --- {'| --- ' * len(METHODS)}|",
    ]
    for sparse in (False, True):
        for size in sizes:
            rows = [
                row
                for row in results["grid"]
                if row["problems"] == size and row["metric"] not in COARSE and (row["difficulty"] in SPARSE) == sparse
            ]
            label = f"{size} problems" + (", nearly all impossible" if sparse else "")
            lines.append(f"| {label} | {' | '.join(_range(rows, method) for method in METHODS)} |")
    about = results["about"]
    usual = list(dict.fromkeys(row["difficulty"] for row in results["grid"] if row["difficulty"] not in SPARSE))
    metrics = list(dict.fromkeys(row["metric"] for row in results["grid"] if row["metric"] not in COARSE))
    lines += [
        "",
        f"Over {', '.join(metrics)} and difficulties {'; '.join(usual)}; nearly all impossible: {'; '.join(SPARSE)}. "
        f"{about['trials']} trials each, seed {about['seed']}, {about['versions']}; every cell in "
        "`docs/results/interval_coverage.json`, printed by `python benchmarks/interval_coverage.py`. avg@1 and votes, "
        "whose values have two levels, are left out here: their coverage jumps with the truth, for every method.",
    ]
    return "\n".join(lines) + "\n"


def _range(rows: list[dict[str, Any]], method: str) -> str:
    values = [100 * row[method] for row in rows]
    return f"{min(values):.1f} – {max(values):.1f}"


def main() -> None:
    """Copy the JSON of the benchmark and rewrite the page's table."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/update_coverage.py COVERAGE_JSON")
    if Path(sys.argv[1]).resolve() != RESULTS:
        shutil.copyfile(sys.argv[1], RESULTS)
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    table = coverage_table(json.loads(RESULTS.read_text(encoding="utf-8")))
    PAGE.write_text(head + BEGIN + table + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
