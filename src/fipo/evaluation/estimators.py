"""Accuracy with intervals: how sure a number from a few problems and samples is.

Each metric gives every problem one value; the interval is that of `estimate_mean` over these values and speaks of
other problems of the same kind. `repeat_interval` speaks of the same problems, sampled again.
"""

from __future__ import annotations

import numpy as np

from fipo.evaluation.intervals import Estimate, estimate_mean, score_interval, share, unseen_share
from fipo.evaluation.tables import Classes, Correct, check_k, correct_table
from fipo.evaluation.voting import majority_values

__all__ = [
    "Estimate",
    "avg_at_k",
    "avg_values",
    "cons_at_k",
    "estimate_mean",
    "maj_at_k",
    "majority_values",
    "pass_at_k",
    "pass_values",
    "repeat_interval",
    "share",
]


def avg_at_k(correct: Correct) -> Estimate:
    """avg@k: the mean over problems of the share of right samples.

    Args:
        correct: per problem, one bool per sample; every problem has the same number k ≥ 1.

    Raises:
        FIPOError: no problems, or problems with different numbers of samples.
    """
    return estimate_mean(avg_values(correct))


def pass_at_k(correct: Correct, k: int) -> Estimate:
    """pass@k: the chance that at least one of k samples is right, mean over problems; see `pass_values`."""
    return estimate_mean(pass_values(correct, k))


def maj_at_k(correct: Correct, classes: Classes, k: int, *, seed: int = 0) -> Estimate:
    """maj@k: the expected result of a majority vote of k samples, mean over problems; see `majority_values`."""
    return estimate_mean(majority_values(correct, classes, k, seed=seed))


def cons_at_k(correct: Correct, classes: Classes) -> Estimate:
    """cons@k: the majority vote of all k samples, mean over problems; ties and silence as in `majority_values`."""
    return maj_at_k(correct, classes, correct_table(correct).shape[1])


def avg_values(correct: Correct) -> np.ndarray:
    """Per problem, the share of right samples; (N,) float64."""
    return correct_table(correct).mean(axis=1)


def pass_values(correct: Correct, k: int) -> np.ndarray:
    """Per problem, 1 - C(n-c, k) / C(n, k): the unbiased estimate of pass@k from n samples, c of them right.

    Chen et al. 2021, "Evaluating large language models trained on code"; as there, the fraction is a product of
    factors 1 - k/i, which neither overflows nor cancels.

    Args:
        correct: per problem, one bool per sample; (N, n).
        k: samples allowed, 1 to n.

    Returns:
        (N,) float64 in [0, 1].

    Raises:
        FIPOError: k outside 1 to n, or a table without an accuracy.
    """
    table = correct_table(correct)
    samples = table.shape[1]
    check_k(k, samples)
    # Entry c: all k miss the c right ones. The factor of i = k is exactly 0, so those after it do not matter.
    factors = 1.0 - k / np.arange(samples, 0, -1)
    missed = np.concatenate([[1.0], np.cumprod(factors)])
    return 1.0 - missed[table.sum(axis=1)]


def repeat_interval(correct: Correct) -> Estimate:
    """avg@k with the interval for these very problems: what sampling them again and again would settle on.

    The same value as `avg_at_k`, but problems are fixed and only samples are drawn: the variance is
    Σ p(1-p)/(n-1) / N², the unbiased form of what resampling within problems gives, and the interval Wilson's with it
    and with Satterthwaite's (1946) degrees of freedom. It is never wider than that of N·n coin flips, as many as
    equally hard problems would be, and is just that where n = 1 says nothing about the spread within problems. A
    second evaluation has noise of its own, so two of them differ by √2 times this spread.

    For avg@k alone: samples drawn from the samples repeat themselves, which leaves the mean as it is but lowers
    pass@k and sharpens votes, the more so the nearer k is to n.

    Args:
        correct: per problem, one bool per sample; (N, n).

    Raises:
        FIPOError: no problems, or problems with different numbers of samples.
    """
    table = correct_table(correct)
    problems, samples = table.shape
    total = problems * samples
    widest = share(int(table.sum()), total)
    if samples == 1:
        return widest
    shares = table.mean(axis=1)
    spreads = shares * (1 - shares) / (samples - 1)
    variance = float(spreads.sum()) / problems**2
    if variance <= 0:
        # Nothing varied: up to this share of the samples, on either side, could have come out otherwise unseen.
        part = unseen_share(total)
        return Estimate(widest.value, max(0.0, widest.value - part), min(1.0, widest.value + part))
    freedom = (samples - 1) * float(spreads.sum() ** 2 / (spreads**2).sum())
    narrow = score_interval(widest.value, variance, units=total, freedom=freedom)
    return Estimate(widest.value, max(widest.low, narrow.low), min(widest.high, narrow.high))
