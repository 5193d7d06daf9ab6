"""avg@k, pass@k, the interval of a repetition: closed forms, exact fractions, errors."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from fipo.errors import FIPOError
from fipo.evaluation import avg_at_k
from fipo.evaluation.estimators import avg_values, maj_at_k, pass_at_k, pass_values, repeat_interval, share


def staircase(n):
    """Problem c has c right samples of n."""
    return np.arange(n) < np.arange(n + 1)[:, None]


def test_avg_at_k_is_the_mean_over_problems():
    table = [[True, False], [True, True], [False, False]]
    assert avg_at_k(table).value == pytest.approx(0.5)
    assert avg_values(table).tolist() == [0.5, 1.0, 0.0]
    assert avg_at_k(np.array(table)) == avg_at_k(table)


@pytest.mark.parametrize(("n", "ks"), [(1, [1]), (7, range(1, 8)), (32, [1, 4, 31, 32]), (1024, [1, 8, 512, 1024])])
def test_pass_at_k_is_the_exact_fraction(n, ks):
    for k in ks:
        exact = [float(1 - Fraction(math.comb(n - c, k), math.comb(n, k))) for c in range(n + 1)]
        np.testing.assert_allclose(pass_values(staircase(n), k), exact, rtol=1e-10, atol=1e-13)


def test_pass_at_k_is_what_drawing_k_of_the_samples_gives():
    rng = np.random.default_rng(0)
    row = rng.permutation(np.arange(10) < 3)
    drawn = np.array([rng.permutation(row)[:4].any() for _ in range(20_000)])
    assert pass_values([row], 4)[0] == pytest.approx(drawn.mean(), abs=0.01)


def test_pass_at_one_is_avg_and_more_tries_never_hurt():
    table = np.random.default_rng(1).random((50, 16)) < 0.3
    np.testing.assert_allclose(pass_values(table, 1), avg_values(table), atol=1e-15)
    curve = [pass_at_k(table, k).value for k in range(1, 17)]
    assert all(a <= b + 1e-12 for a, b in pairwise(curve))
    assert curve[-1] == pytest.approx(table.any(axis=1).mean())


def test_more_problems_narrow_the_interval_and_more_samples_alone_do_not_remove_it():
    rng = np.random.default_rng(0)

    def width(problems, samples):
        skill = rng.beta(1, 1, problems)
        estimate = avg_at_k(rng.random((problems, samples)) < skill[:, None])
        return estimate.high - estimate.low

    assert width(400, 8) < width(50, 8) / 2
    assert width(50, 512) > width(400, 8)


def test_the_interval_of_a_repetition_has_the_spread_that_resampling_within_problems_finds():
    rng = np.random.default_rng(2)
    table = rng.random((100, 32)) < rng.beta(1, 1, 100)[:, None]
    again = rng.binomial(32, table.mean(axis=1), (20_000, 100)).mean(axis=1) / 32
    estimate = repeat_interval(table)
    assert estimate.value == avg_at_k(table).value
    spread = 1.96 * again.std() * math.sqrt(32 / 31)
    assert estimate.high - estimate.low == pytest.approx(2 * spread, rel=0.03)
    assert estimate.high - estimate.low < (avg_at_k(table).high - avg_at_k(table).low) / 2


@pytest.mark.parametrize("samples", [2, 4, 32])
def test_the_interval_of_a_repetition_covers_the_mean_of_these_problems(samples):
    rng = np.random.default_rng(3)
    trials = 1_500
    covered = 0
    for _ in range(trials):
        skill = rng.beta(0.5, 0.5, 30)
        estimate = repeat_interval(rng.random((30, samples)) < skill[:, None])
        covered += estimate.low <= skill.mean() <= estimate.high
    assert 0.935 <= covered / trials <= 0.985


def test_a_repetition_of_one_sample_per_problem_may_vary_as_coin_flips_do():
    table = [[i < 12] for i in range(30)]
    assert repeat_interval(table) == share(12, 30)


def test_a_repetition_that_showed_no_variation_still_has_an_interval():
    estimate = repeat_interval([[True] * 4] * 3 + [[False] * 4] * 7)
    part = 1 - 0.025 ** (1 / 40)
    assert (estimate.low, estimate.high) == pytest.approx((0.3 - part, 0.3 + part))


def test_a_repetition_is_never_less_certain_than_as_many_coin_flips():
    """One problem of 30 varied, so its spread is hardly known; but no spread is larger than that of coin flips."""
    table = [[True, False]] + [[True, True]] * 9 + [[False, False]] * 20
    estimate, widest = repeat_interval(table), share(19, 60)
    assert (estimate.low, estimate.high) == (widest.low, widest.high)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "at least one problem"),
        ([[]], "at least one problem"),
        ([[True], [True, False]], r"same number of samples, found \[1, 2\]"),
    ],
)
def test_tables_without_an_accuracy_are_refused(table, message):
    for metric in (avg_at_k, repeat_interval, lambda t: pass_at_k(t, 1), lambda t: maj_at_k(t, t, 1)):
        with pytest.raises(FIPOError, match=message):
            metric(table)


@pytest.mark.parametrize("k", [-1, 0, 3, 64])
def test_a_k_that_the_samples_do_not_allow_is_refused_in_one_line(k):
    for metric in (lambda: pass_at_k([[True, False]], k), lambda: maj_at_k([[True, False]], [[0, 1]], k)):
        with pytest.raises(FIPOError, match=f"^k = {k} is outside 1 to 2, .*sample more") as caught:
            metric()
        assert "\n" not in str(caught.value)


def test_a_share_needs_an_observation():
    with pytest.raises(FIPOError, match="at least one observation"):
        share(0, 0)
