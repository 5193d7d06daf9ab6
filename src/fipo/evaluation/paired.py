"""Two evaluations on the same problems: the difference, whether it can be chance, and what could be seen at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fipo.errors import FIPOError
from fipo.evaluation.estimators import avg_values
from fipo.evaluation.intervals import Estimate, estimate_mean, unseen_share
from fipo.evaluation.tables import Correct

FLIPS = 10_000
# Sign patterns held in memory at once; divides FLIPS.
_CHUNK = 1_000
# Up to this many problems that differ, all sign patterns are counted.
EXACT_FLIPS = 14
# Standard normal quantiles of a two-sided test at 5 % and of 80 % power.
_DETECTION = 1.959963984540054 + 0.8416212335729143
# Differences that the arithmetic of shares makes unequal count as equal.
_ROUNDING = 1e-9

Values = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Ours minus theirs on the same problems.

    Attributes:
        difference: mean difference with its interval, in [-1, 1].
        p_value: two-sided, of the sign-flip test.
        detectable: smallest true difference that so many problems would show (5 % level, 80 % power).
        needed: problems, as spread as these, that would show a true difference as large as the one seen; None where
            none was seen, or nothing varied.
        problems: compared.
    """

    difference: Estimate
    p_value: float
    detectable: float
    needed: int | None
    problems: int


def compare_values(ours: Values, theirs: Values, *, seed: int = 0) -> Comparison:
    """Compare two evaluations by one value in [0, 1] per problem (avg@k, pass@k, a vote), problems in the same order.

    The interval is that of `estimate_mean` on the differences, good to 93 to 97 % but for models that differ much on
    a few problems alone (30 problems, a tenth of them newly solved: 87 %). The p-value errs on the safe side: with one
    to four samples equal models fall below 0.05 in 2 to 4 % of comparisons, as many sign patterns tie. Where the two
    disagree at the border, go by the p-value. Both speak of problems and samples only: two training runs also differ
    by their seeds. Several data sets are pooled by joining their values.

    Args:
        ours: one value per problem.
        theirs: the same problems.
        seed: of the sign flips.

    Raises:
        FIPOError: different numbers of problems, none, or values outside [0, 1].
    """
    gaps = _gaps(ours, theirs)
    difference = estimate_mean(gaps, bounds=(-1.0, 1.0))
    seen = abs(difference.value)
    varied = len(gaps) > 1 and float(np.ptp(gaps)) >= _ROUNDING
    return Comparison(
        difference=difference,
        p_value=sign_flip_p_value(gaps, seed=seed),
        detectable=detectable_difference(ours, theirs),
        needed=problems_needed(ours, theirs, seen) if varied and seen > _ROUNDING else None,
        problems=len(gaps),
    )


def paired_difference(correct: Correct, reference: Correct) -> Estimate:
    """avg@k of `correct` minus avg@k of `reference` on the same problems, with the interval of `compare_values`."""
    return estimate_mean(_gaps(avg_values(correct), avg_values(reference)), bounds=(-1.0, 1.0))


def sign_flip_p_value(differences: Values, *, seed: int = 0) -> float:
    """Two-sided p-value of a mean difference of zero, by permutation.

    If the two evaluations are exchangeable, each problem's difference could as well have had the other sign. The
    p-value is the share of sign patterns whose mean is at least as far from zero: of all patterns where at most
    `EXACT_FLIPS` problems differ, else of `FLIPS` seeded ones and the observed one (Phipson & Smyth 2010,
    "Permutation p-values should never be zero"). Fewer than six problems that differ never give less than 0.05.
    """
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    observed = abs(float(np.sum(differences))) - _ROUNDING
    sizes = sizes[sizes > _ROUNDING]
    if not len(sizes):
        return 1.0
    if len(sizes) <= EXACT_FLIPS:
        patterns = np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes)) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ sizes) >= observed))
    generator = np.random.default_rng(seed)
    extreme = 0
    for _ in range(FLIPS // _CHUNK):
        bits = np.frombuffer(generator.bytes(_CHUNK * len(sizes)), dtype=np.uint8).reshape(_CHUNK, -1) & 1
        extreme += int((np.abs((1.0 - 2.0 * bits) @ sizes) >= observed).sum())
    return (extreme + 1) / (FLIPS + 1)


def detectable_difference(ours: Values, theirs: Values) -> float:
    """The smallest true mean difference that would be found with 80 % power at the 5 % level.

    (1.96 + 0.84) s / √N by the normal approximation, s the observed spread of the differences; at most 1. Where no
    two differences differ, s is unknown: then the smallest share of problems, all changed fully, that N problems
    would show at all. Fewer than six problems reach no 5 % with the sign-flip test: then 1, the whole range.
    """
    gaps = _gaps(ours, theirs)
    if len(gaps) < 6:
        return 1.0
    if float(np.ptp(gaps)) < _ROUNDING:
        return unseen_share(len(gaps))
    return min(1.0, _DETECTION * float(gaps.std(ddof=1)) / math.sqrt(len(gaps)))


def problems_needed(ours: Values, theirs: Values, difference: float) -> int:
    """Problems, as spread as these, that show a true mean `difference` with 80 % power at the 5 % level; 6 or more.

    Raises:
        FIPOError: a difference outside (0, 1], or evaluations whose differences do not vary.
    """
    if not 0 < difference <= 1:
        raise FIPOError(f"difference = {difference:g} is outside (0, 1]: give it as a share, 0.06 for six points")
    gaps = _gaps(ours, theirs)
    if len(gaps) < 2 or float(np.ptp(gaps)) < _ROUNDING:
        raise FIPOError(f"the differences of {len(gaps)} problems do not vary: their spread needs more problems")
    return max(6, math.ceil((_DETECTION * float(gaps.std(ddof=1)) / difference) ** 2))


def _gaps(ours: Values, theirs: Values) -> np.ndarray:
    left, right = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if len(left) != len(right):
        raise FIPOError(f"cannot pair {len(left)} problems with {len(right)}: both must be the same problems")
    return left - right
