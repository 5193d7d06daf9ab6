"""Lengths of responses, and accuracy by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fipo.errors import FIPOError
from fipo.evaluation.intervals import Estimate, score_interval


@dataclass(frozen=True)
class LengthSummary:
    """Lengths of `count` responses, in the unit they were given in (tokens).

    Attributes:
        count: responses.
        min: shortest.
        q25: lower quartile.
        mean: mean.
        median: median.
        q75: upper quartile.
        max: longest.
        truncated: share of responses cut at the length limit.
    """

    count: int
    min: float
    q25: float
    mean: float
    median: float
    q75: float
    max: float
    truncated: float


@dataclass(frozen=True)
class LengthBin:
    """The responses of one range of lengths.

    Attributes:
        low: shortest length in it.
        high: longest length in it; both belong to the bin.
        count: responses.
        problems: problems that these belong to.
        accuracy: share of right responses; the interval is over problems.
    """

    low: float
    high: float
    count: int
    problems: int
    accuracy: Estimate


def length_summary(lengths: Sequence[float] | np.ndarray, truncated: Sequence[bool] | np.ndarray) -> LengthSummary:
    """Quartiles, mean and extremes of the lengths of responses.

    Args:
        lengths: one per response, in tokens.
        truncated: one per response, True where it hit the limit.

    Raises:
        FIPOError: no responses, or arguments of different sizes.
    """
    sizes, cut = np.ravel(np.asarray(lengths, dtype=np.float64)), np.ravel(np.asarray(truncated, dtype=bool))
    _check_sizes(lengths=sizes, truncated=cut)
    low, q25, median, q75, high = (float(q) for q in np.quantile(sizes, [0, 0.25, 0.5, 0.75, 1]))
    return LengthSummary(len(sizes), low, q25, float(sizes.mean()), median, q75, high, float(cut.mean()))


def accuracy_by_length(
    lengths: Sequence[float] | np.ndarray,
    correct: Sequence[bool] | np.ndarray,
    problem_index: Sequence[int] | np.ndarray,
    bins: int = 4,
) -> list[LengthBin]:
    """The share of right responses by length, in bins of about as many responses each.

    Responses of one length stay together, so there may be fewer bins. Responses to one problem go together as well:
    the interval is Wilson's with the variance of a ratio over problems (Cochran 1977, "Sampling techniques", chapter
    6), which is the linear form of a bootstrap that draws whole problems and covers better with few of them. Longer
    is not the cause of wrong: harder problems make responses longer and more often wrong.

    Args:
        lengths: one per response, in tokens.
        correct: one per response.
        problem_index: one per response, equal for responses to the same problem.
        bins: at most so many, ≥ 1; 4 gives quartiles.

    Raises:
        FIPOError: no responses, arguments of different sizes, or bins below 1.
    """
    sizes, right = np.ravel(np.asarray(lengths, dtype=np.float64)), np.ravel(np.asarray(correct, dtype=bool))
    problems = np.ravel(np.asarray(problem_index))
    _check_sizes(lengths=sizes, correct=right, problem_index=problems)
    if bins < 1:
        raise FIPOError(f"bins = {bins} is below 1: 4 gives quartiles")
    edges = np.unique(np.quantile(sizes, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, sizes, side="left")
    return [_bin(sizes[place == b], right[place == b], problems[place == b]) for b in np.unique(place)]


def _bin(sizes: np.ndarray, right: np.ndarray, problems: np.ndarray) -> LengthBin:
    _, index, counts = np.unique(problems, return_inverse=True, return_counts=True)
    hits = np.bincount(index.reshape(-1), weights=right)
    total, clusters = len(sizes), len(counts)
    value = float(hits.sum()) / total
    spread = float(((hits - value * counts) ** 2).sum()) / total**2
    variance = spread * clusters / max(1, clusters - 1)
    # A few problems may have most responses of a bin; this is the number of equal ones (Kish 1965).
    units = total**2 / float((counts**2).sum())
    accuracy = score_interval(value, variance, units=units, freedom=units - 1)
    return LengthBin(float(sizes.min()), float(sizes.max()), total, clusters, accuracy)


def _check_sizes(**columns: np.ndarray) -> None:
    found = {name: len(column) for name, column in columns.items()}
    if len(set(found.values())) > 1:
        raise FIPOError(f"one entry per response is needed in each: found {found}")
    if not all(found.values()):
        raise FIPOError("lengths need at least one response")
