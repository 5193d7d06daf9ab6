"""How often 95 % intervals for an accuracy contain the truth: candidates compared by simulation.

    python benchmarks/interval_coverage.py --out coverage.json                        # about half an hour on one core
    python benchmarks/interval_coverage.py --methods score --trials 4000              # about 6 minutes

A trial draws problems with difficulties of a known distribution, samples for each, and an interval from them. The truth
is the expected value of the metric, computed exactly. Only the number of right samples of a problem matters, so a trial
is one draw of how many problems have 0, 1, ... n right samples.

With one sample per problem, and with votes, the values have two levels. Then no interval reaches 95 % for every truth:
its coverage jumps with the truth as the number of right problems is whole (Brown, Cai & DasGupta 2001, "Interval
estimation for a binomial proportion").
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

from fipo.evaluation.estimators import estimate_mean, majority_values, pass_values, repeat_interval
from fipo.evaluation.intervals import t_quantile
from fipo.evaluation.paired import compare_values

SIZES = (30, 60, 500)
DRAWS = 1_000
NORMAL = NormalDist()
Interval = tuple[float, float]


# Difficulty: per distribution, the chances of 0..n right samples.


def binomial(n: int, p: float) -> np.ndarray:
    """The chances of 0..n right samples where each is right with chance p."""
    return np.array([math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)])


def beta_binomial(n: int, a: float, b: float) -> np.ndarray:
    """The same where p is drawn from Beta(a, b) for each problem."""

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    return np.array([math.comb(n, c) * math.exp(log_beta(c + a, n - c + b) - log_beta(a, b)) for c in range(n + 1)])


DIFFICULTIES: dict[str, Callable[[int], np.ndarray]] = {
    "Beta(0.5, 0.5)": lambda n: beta_binomial(n, 0.5, 0.5),
    "Beta(2, 3)": lambda n: beta_binomial(n, 2, 3),
    "Beta(0.3, 3)": lambda n: beta_binomial(n, 0.3, 3),
    "all 0.5": lambda n: binomial(n, 0.5),
    "80 % at 0, 20 % at 0.9": lambda n: 0.8 * binomial(n, 0.0) + 0.2 * binomial(n, 0.9),
}
# Where the mean hangs on rare problems, nothing seen in the others gives them away.
RARE: dict[str, Callable[[int], np.ndarray]] = {
    "95 % at 0, 5 % uniform": lambda n: 0.95 * binomial(n, 0.0) + 0.05 * beta_binomial(n, 1, 1),
    "Beta(0.05, 1)": lambda n: beta_binomial(n, 0.05, 1),
}


# Metrics: samples per problem, and the value of a problem with 0..n right samples.


def staircase(n: int) -> np.ndarray:
    """A table with c right samples in row c; (n + 1, n)."""
    return np.arange(n) < np.arange(n + 1)[:, None]


def votes(n: int, k: int) -> np.ndarray:
    """Value of a vote of k of n where half of the wrong samples agree and the others are all different."""
    table = staircase(n)
    classes = [[0 if s < c else 1 if s < c + (n - c) // 2 else 2 + s for s in range(n)] for c in range(n + 1)]
    return majority_values(table, classes, k)


METRICS: dict[str, tuple[int, np.ndarray]] = {
    "avg@1": (1, staircase(1).mean(axis=1)),
    "avg@4": (4, staircase(4).mean(axis=1)),
    "avg@32": (32, staircase(32).mean(axis=1)),
    "pass@4 of 32": (32, pass_values(staircase(32), 4)),
    "maj@4 of 32": (32, votes(32, 4)),
    "cons@32": (32, votes(32, 32)),
}


# Candidates: an interval from the right samples of the problems.


class Sample:
    """One trial: how many problems have each number of right samples."""

    def __init__(self, counts: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> None:
        self.counts, self.values, self.rng = counts, values, rng
        self.size = int(counts.sum())
        self.mean = float(counts @ values) / self.size
        self.variance = float(counts @ (values - self.mean) ** 2) / self.size

    def points(self) -> np.ndarray:
        """One value per problem."""
        return np.repeat(self.values, self.counts)

    def resample(self, chances: np.ndarray) -> np.ndarray:
        """Counts of DRAWS resampled tables."""
        return self.rng.multinomial(self.size, chances / chances.sum(), DRAWS)

    def means(self) -> np.ndarray:
        """Means of DRAWS tables of problems resampled."""
        return self.resample(self.counts) @ self.values / self.size


def score(sample: Sample) -> Interval:
    """What the package uses."""
    estimate = estimate_mean(sample.points())
    return estimate.low, estimate.high


def percentile(sample: Sample) -> Interval:
    """Percentile bootstrap over problems."""
    low, high = np.quantile(sample.means(), [0.025, 0.975])
    return float(low), float(high)


def expanded(sample: Sample) -> Interval:
    """Percentiles further out, for few problems (Hesterberg 2015, "What teachers should know about the bootstrap")."""
    tail = NORMAL.cdf(-math.sqrt(sample.size / (sample.size - 1)) * t_quantile(sample.size - 1))
    low, high = np.quantile(sample.means(), [tail, 1 - tail])
    return float(low), float(high)


def two_level(sample: Sample) -> Interval:
    """Percentile bootstrap over problems, and over the samples of each problem drawn."""
    n = len(sample.counts) - 1
    chances = sum(sample.counts[c] * binomial(n, c / n) for c in np.flatnonzero(sample.counts))
    means = sample.resample(np.asarray(chances)) @ sample.values / sample.size
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def bca(sample: Sample) -> Interval:
    """Bias-corrected and accelerated bootstrap (Efron 1987)."""
    means = sample.means()
    below = float(np.mean(means < sample.mean - 1e-12) + np.mean(np.abs(means - sample.mean) <= 1e-12) / 2)
    bias = NORMAL.inv_cdf(min(max(below, 1 / DRAWS), 1 - 1 / DRAWS))
    third = float(sample.counts @ (sample.values - sample.mean) ** 3) / sample.size
    acceleration = third / (6 * math.sqrt(sample.size) * sample.variance**1.5)

    def level(tail: float) -> float:
        z = bias + NORMAL.inv_cdf(tail)
        return NORMAL.cdf(bias + z / (1 - acceleration * z))

    low, high = np.quantile(means, [level(0.025), level(0.975)])
    return float(low), float(high)


def bootstrap_t(sample: Sample) -> Interval:
    """Studentised bootstrap over problems, cut to [0, 1]."""
    draws = sample.resample(sample.counts)
    means = draws @ sample.values / sample.size
    spread = np.sqrt(np.maximum(draws @ sample.values**2 / sample.size - means**2, 1e-18))
    high, low = np.quantile((means - sample.mean) / spread, [0.025, 0.975])
    error = math.sqrt(sample.variance)
    return max(0.0, sample.mean - low * error), min(1.0, sample.mean - high * error)


def student(sample: Sample) -> Interval:
    """Student's t interval, cut to [0, 1]."""
    half = t_quantile(sample.size - 1) * math.sqrt(sample.variance / (sample.size - 1))
    return max(0.0, sample.mean - half), min(1.0, sample.mean + half)


METHODS: dict[str, Callable[[Sample], Interval]] = {
    "percentile": percentile,
    "expanded": expanded,
    "two-level": two_level,
    "BCa": bca,
    "bootstrap-t": bootstrap_t,
    "Student": student,
    "score": score,
}


def coverage(
    difficulty: Callable[[int], np.ndarray], metric: str, size: int, methods: Sequence[str], trials: int, seed: int
) -> dict[str, float]:
    """Share of trials whose interval contains the truth, per method; all methods see the same trials.

    Where all problems have the same value no bootstrap has a width: all methods then fall back on the one of `score`.
    """
    rng = np.random.default_rng(seed)
    n, values = METRICS[metric]
    chances = difficulty(n) / difficulty(n).sum()
    truth = float(chances @ values)
    tables, times = np.unique(rng.multinomial(size, chances, trials), axis=0, return_counts=True)
    covered = dict.fromkeys(methods, 0)
    for counts, weight in zip(tables, times):
        sample = Sample(counts, values, rng)
        for name in methods:
            low, high = METHODS[name if sample.variance > 1e-15 else "score"](sample)
            covered[name] += int(weight) * (low - 1e-9 <= truth <= high + 1e-9)
    return {name: hits / trials for name, hits in covered.items()}


def repeat_coverage(difficulty: Callable[[int], np.ndarray], size: int, n: int, trials: int, seed: int) -> float:
    """Coverage of `repeat_interval`, for the mean of the same problems; each trial has problems of its own."""
    rng = np.random.default_rng(seed)
    fine = 1_000
    chances = difficulty(fine) / difficulty(fine).sum()
    covered = 0
    for _ in range(trials):
        skill = rng.choice(fine + 1, size, p=chances) / fine
        estimate = repeat_interval(rng.random((size, n)) < skill[:, None])
        covered += bool(estimate.low <= skill.mean() <= estimate.high)
    return covered / trials


def shifted(skill: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Chances of the other model: the same, everywhere half a logit better, or a tenth of the problems solved."""
    if kind == "equal":
        return skill
    if kind == "jump":
        return np.where(rng.random(len(skill)) < 0.1, 1.0, skill)
    odds = skill * math.exp(0.5)
    return odds / (odds + 1 - skill)


def paired_coverage(size: int, n: int, kind: str, trials: int, seed: int) -> dict[str, float]:
    """Two models on problems of Beta(0.5, 0.5): coverage of the difference, and rejections at 5 %."""
    rng = np.random.default_rng(seed)
    fine = np.sin(np.pi * (np.arange(100_000) + 0.5) / 200_000) ** 2
    truth = 0.05 if kind == "jump" else float(shifted(fine, kind, rng).mean() - 0.5)
    covered = rejected = 0
    for trial in range(trials):
        skill = rng.beta(0.5, 0.5, size)
        chances = (shifted(skill, kind, rng), skill)
        ours, theirs = ((rng.random((size, n)) < p[:, None]).mean(axis=1) for p in chances)
        found = compare_values(ours, theirs, seed=trial)
        covered += found.difference.low <= truth <= found.difference.high
        rejected += found.p_value <= 0.05
    return {"truth": round(truth, 4) + 0.0, "coverage": covered / trials, "p <= 0.05": rejected / trials}


def main() -> None:
    """Run, print the tables as Markdown, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    about = {
        "machine": f"{platform.machine()}, {platform.system()}, CPU",
        "versions": f"Python {platform.python_version()}, numpy {np.__version__}",
        "seed": options.seed,
        "trials": options.trials,
        "resamples": DRAWS,
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    begin = time.perf_counter()
    grid = grid_table({**DIFFICULTIES, **RARE}, options.methods, options.trials, options.seed)
    others = other_tables(options.trials, options.seed)
    print(f"\n{time.perf_counter() - begin:.0f} s")
    if options.out:
        options.out.write_text(json.dumps({"about": about, "grid": grid, **others}, indent=1) + "\n", encoding="utf-8")


def grid_table(
    difficulties: dict[str, Callable[[int], np.ndarray]], methods: Sequence[str], trials: int, seed: int
) -> list[dict[str, object]]:
    """Coverage of the mean over problems, per number of problems, difficulty and metric."""
    print("\n| problems | difficulty | metric | " + " | ".join(methods) + " |")
    print("| --- | --- | --- |" + " --- |" * len(methods))
    rows: list[dict[str, object]] = []
    for size in SIZES:
        for name, difficulty in difficulties.items():
            for metric in METRICS:
                found = coverage(difficulty, metric, size, methods, trials, seed)
                rows.append({"problems": size, "difficulty": name, "metric": metric, **found})
                print(f"| {size} | {name} | {metric} | " + " | ".join(f"{x:.3f}" for x in found.values()) + " |")
                sys.stdout.flush()
    return rows


def other_tables(trials: int, seed: int) -> dict[str, list[dict[str, object]]]:
    """Coverage with the problems fixed, and of paired differences."""
    repeats: list[dict[str, object]] = []
    print("\nproblems fixed (`repeat_interval`), coverage\n\n| problems | difficulty | samples | coverage |")
    print("| --- | --- | --- | --- |")
    for size in (30, 500):
        for name, difficulty in DIFFICULTIES.items():
            for n in (1, 2, 4, 32):
                found = repeat_coverage(difficulty, size, n, trials, seed)
                repeats.append({"problems": size, "difficulty": name, "samples": n, "coverage": found})
                print(f"| {size} | {name} | {n} | {found:.3f} |", flush=True)
    pairs: list[dict[str, object]] = []
    print("\npaired difference, Beta(0.5, 0.5)\n\n| problems | samples | models | truth | coverage | p <= 0.05 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in SIZES:
        for n in (1, 4, 32):
            for kind in ("equal", "shift", "jump"):
                row = paired_coverage(size, n, kind, trials, seed)
                pairs.append({"problems": size, "samples": n, "models": kind, **row})
                print(f"| {size} | {n} | {kind} | " + " | ".join(f"{x:.3f}" for x in row.values()) + " |", flush=True)
    return {"problems fixed": repeats, "paired": pairs}


if __name__ == "__main__":
    main()
