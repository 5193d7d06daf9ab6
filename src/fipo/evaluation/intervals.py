"""Intervals for means over problems: 95 %, inside the range of the values, also with 30 problems.

The method was chosen by simulated coverage (`python benchmarks/interval_coverage.py`, seed 0, 2,000 trials): 30, 60 and
500 problems, five distributions of difficulty, avg@1, @4, @32, pass@4, maj@4 and cons@32; 90 cases.

| interval | lowest | highest | cases within 93 to 97 % |
| --- | --- | --- | --- |
| percentile bootstrap over problems | 90.0 % | 99.3 % | 80 |
| expanded percentile bootstrap | 91.0 % | 99.3 % | 80 |
| bootstrap over problems and samples within | 0 % | 99.6 % | 61 |
| BCa bootstrap | 92.3 % | 98.6 % | 81 |
| bootstrap-t | 94.1 % | 99.7 % | 64 |
| Student's t | 86.8 % | 99.9 % | 75 |
| score (`estimate_mean`) | 93.2 % | 97.6 % | 88 |

The two others are votes with a true mean of 7 %: values of two levels, where coverage moves in steps. Drawing samples
again within the problems counts their noise twice, and shifts pass@k and votes, which 500 problems then give away.

Where the mean hangs on a few problems in a hundred, the sample may hold none of them: with 95 % impossible problems
and 5 % of any difficulty, 30 problems cover 90 to 98 % (avg@32 91 %), with Beta(0.05, 1) 86 to 98 % (avg@32 87 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fipo.errors import FIPOError

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_Z = 1.959963984540054
# Spreads below this share of the range are rounding, not variation.
_FLAT = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def estimate_mean(values: Sequence[float] | np.ndarray, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """The mean over problems of one value each, with the interval for problems (and samples) drawn anew.

    Wilson's score interval (1927), as survey statistics use it for means that are no plain shares (R's
    `survey::svyciprop(method="wilson")`, SAS SURVEYFREQ): the number of problems is replaced by the effective number,
    range-scaled m(1-m) over the variance of the mean, and the normal quantile by Student's with problems - 1 degrees
    of freedom. The variance is that of the bootstrap over problems, which for a mean has a closed form, times
    n / (n - 1). A problem's value already carries the noise of its samples: drawing them again inside the problems
    would count that noise twice.

    Where all problems have the same value there is no spread to go by. The interval then allows for the largest share
    of different problems that stays unseen with probability 2.5 %, each at the far end of the range.

    Args:
        values: one number per problem, inside `bounds`. Several data sets are pooled by joining their values; problems
            then count alike, whichever set they are from.
        bounds: the range of the values; (-1, 1) for differences of shares.

    Raises:
        FIPOError: no values, or a value outside the range.
    """
    points = np.asarray(values, dtype=np.float64)
    low, high = bounds
    if points.ndim != 1 or not len(points):
        raise FIPOError("a mean needs one value per problem, and at least one problem")
    if not np.all((points >= low - 1e-9) & (points <= high + 1e-9)):
        raise FIPOError(f"values must be numbers from {low:g} to {high:g}, found {points.min():g} to {points.max():g}")
    value = float(points.mean())
    size, width = len(points), high - low
    scaled = np.clip((points - low) / width, 0.0, 1.0)
    flat = size == 1 or float(np.ptp(scaled)) < _FLAT
    variance = 0.0 if flat else float(scaled.var(ddof=1)) / size
    interval = score_interval(float(scaled.mean()), variance, units=size, freedom=size - 1)
    return Estimate(value, min(value, low + width * interval.low), max(value, low + width * interval.high))


def score_interval(value: float, variance: float, *, units: float, freedom: float) -> Estimate:
    """Wilson's interval for a mean in [0, 1] whose variance is known from elsewhere.

    Args:
        value: the mean.
        variance: estimated variance of the mean; 0 where nothing varied.
        units: independent units behind the mean; the variance is taken as at most that of so many coin flips.
        freedom: degrees of freedom of the variance; below 1 the normal quantile is used with `units`.
    """
    if freedom < 1:
        # One unit says nothing about the spread; coin flips have the most that the range allows.
        variance, quantile = value * (1 - value) / units, _Z
    else:
        quantile = t_quantile(freedom)
    if variance <= _FLAT**2:
        part = unseen_share(units)
        return Estimate(value, value * (1 - part), value + part * (1 - value))
    effective = max(units, value * (1 - value) / variance)
    return _wilson(value, effective, quantile)


def share(successes: int, total: int) -> Estimate:
    """A share of independent observations with its Wilson interval; `total` ≥ 1."""
    if total < 1:
        raise FIPOError("a share needs at least one observation")
    return _wilson(successes / total, total, _Z)


def unseen_share(units: float) -> float:
    """The share of a kind of problem of which `units` draws show none with probability 2.5 % (Clopper-Pearson)."""
    return 1.0 - _TAIL ** (1.0 / units)


def t_quantile(freedom: float) -> float:
    """Student's 97.5 % quantile to 0.1 % (Abramowitz & Stegun 26.7.5); below 3, that of 1 or 2 degrees, exactly."""
    if freedom < 2:
        return math.tan(math.pi * (0.5 - _TAIL))
    if freedom < 3:
        tail = 2 * _TAIL
        return math.sqrt(2 / (tail * (2 - tail)) - 2)
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def _wilson(value: float, total: float, quantile: float) -> Estimate:
    """Wilson (1927): the shares that a score test at this quantile does not reject."""
    square = quantile * quantile
    scale = 1 + square / total
    center = (value + square / (2 * total)) / scale
    half = quantile * math.sqrt(value * (1 - value) / total + square / (4 * total * total)) / scale
    return Estimate(value, max(0.0, center - half), min(1.0, center + half))
