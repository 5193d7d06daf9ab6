"""How many responses the grader grades in a second.

    python benchmarks/grading.py --out grading.json        # about half a minute

Short integers and worked solutions take the fast path; symbolic answers go to the helper processes, all distinct, so
that no cache helps. A verdict that is not the expected one ends the benchmark without a number.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fipo.tasks import Grade, grade, grade_many
from fipo.tasks.isolation import pool

Case = tuple[str, str, bool]
SOLUTION = "Each of the {i} crates holds 12 jars, which makes {i} * 12 = {n} jars.\nSo there are {n} of them.\n" * 6


def integers(count: int) -> list[Case]:
    """A line with the answer, right and wrong in turn."""
    return [(f"Answer: {i + i % 2:03d}", str(i), i % 2 == 0) for i in range(count)]


def solutions(count: int) -> list[Case]:
    """About 500 characters of reasoning before a boxed answer."""
    return [(SOLUTION.format(i=i, n=12 * i) + f"\\boxed{{{12 * i}}}", f"{12 * i}.0", True) for i in range(count)]


def expressions(first: int, count: int) -> list[Case]:
    """Factored against expanded polynomials, right and wrong in turn."""
    return [
        (rf"\boxed{{(x + {i})(x - {i + 1})}}", f"x^2 - x - {i * (i + 1) + i % 2}", i % 2 == 0)
        for i in range(first, first + count)
    ]


def one_by_one(cases: Sequence[Case]) -> list[Grade]:
    """With `grade`."""
    return [grade(response, answer) for response, answer, _ in cases]


def together(cases: Sequence[Case]) -> list[Grade]:
    """With `grade_many`, on all helpers."""
    return grade_many([response for response, _, _ in cases], [answer for _, answer, _ in cases])


def rate(run: Callable[[Sequence[Case]], list[Grade]], cases: Sequence[Case]) -> float:
    """Gradings per second. Ends the program where a verdict is wrong."""
    started = time.perf_counter()
    grades = run(cases)
    seconds = time.perf_counter() - started
    for (response, answer, expected), found in zip(cases, grades):
        if found.correct != expected:
            sys.exit(f"no numbers: {response[-80:]!r} against {answer!r} is {found}, expected {expected}")
    return len(cases) / seconds


def main() -> None:
    """Print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    # The helpers' start of some seconds is paid once in a process.
    together(expressions(10_000, 4 * pool.size))
    rows = {
        "short integers, grade": rate(one_by_one, integers(20_000)),
        "worked solutions of 500 characters, grade": rate(one_by_one, solutions(20_000)),
        "distinct expressions, grade": rate(one_by_one, expressions(1, 300)),
        f"distinct expressions, grade_many, {pool.size} helpers": rate(together, expressions(1_000, 300)),
    }
    about = {
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    print(f"{about['machine']}, Python {about['python']}")
    for name, value in rows.items():
        print(f"{value:10,.0f} per second   {name}")
    if options.out is not None:
        options.out.write_text(json.dumps({"about": about, "per second": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
