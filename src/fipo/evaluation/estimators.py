"""Accuracy with intervals: how sure a number from a few problems and samples is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fipo.errors import FIPOError

CONFIDENCE = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def avg_at_k(correct: Sequence[Sequence[bool]], *, seed: int = 0) -> Estimate:
    """avg@k: the mean over problems of the share of right samples.

    The interval is a percentile bootstrap over problems. A problem's share already carries the noise of its samples;
    drawing them again would count that noise twice.

    Args:
        correct: per problem, one bool per sample; every problem has the same number k ≥ 1.
        seed: of the resampling.

    Raises:
        FIPOError: no problems, or problems with different numbers of samples.
    """
    return _estimate(_table(correct).mean(axis=1), seed)


def paired_difference(
    correct: Sequence[Sequence[bool]], reference: Sequence[Sequence[bool]], *, seed: int = 0
) -> Estimate:
    """avg@k of `correct` minus avg@k of `reference` on the same problems; bootstrap as in `avg_at_k`, paired.

    The interval speaks of problems and samples only: two training runs also differ by their seeds.
    """
    ours, theirs = _table(correct), _table(reference)
    if len(ours) != len(theirs):
        raise FIPOError(f"cannot pair {len(ours)} problems with {len(theirs)}: both must be the same problems")
    gaps = ours.mean(axis=1) - theirs.mean(axis=1)
    return _estimate(gaps, seed)


def share(successes: int, total: int) -> Estimate:
    """A share with its Wilson interval; `total` ≥ 1."""
    if total < 1:
        raise FIPOError("a share needs at least one observation")
    z = 1.959963984540054
    value = successes / total
    scale = 1 + z * z / total
    center = (value + z * z / (2 * total)) / scale
    half = z * np.sqrt(value * (1 - value) / total + z * z / (4 * total * total)) / scale
    return Estimate(value, float(max(0.0, center - half)), float(min(1.0, center + half)))


def _table(correct: Sequence[Sequence[bool]]) -> np.ndarray:
    sizes = {len(row) for row in correct}
    if not sizes or 0 in sizes:
        raise FIPOError("an accuracy needs at least one problem with at least one sample")
    if len(sizes) > 1:
        raise FIPOError(f"every problem needs the same number of samples, found {sorted(sizes)}")
    return np.asarray(correct, dtype=np.float64)


def _estimate(values: np.ndarray, seed: int) -> Estimate:
    """The mean of one value per problem, with its bootstrap interval over problems."""
    rows = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[rows].mean(axis=1), [tail, 1 - tail])
    return Estimate(float(values.mean()), float(low), float(high))
