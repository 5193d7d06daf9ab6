"""Intervals: closed forms, simulated coverage, errors."""

from __future__ import annotations

import numpy as np
import pytest

from fipo.errors import FIPOError
from fipo.evaluation import avg_at_k, paired_difference, share


def test_avg_at_k_is_the_mean_over_problems():
    assert avg_at_k([[True, False], [True, True], [False, False]]).value == pytest.approx(0.5)


def test_wilson_interval_on_known_values():
    assert (share(10, 100).low, share(10, 100).high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert (share(0, 10).low, share(0, 10).high) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert share(10, 10).high == pytest.approx(1.0)


def test_interval_of_one_sample_per_problem_is_the_binomial_one():
    estimate = avg_at_k([[i % 4 == 0] for i in range(400)])
    half = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert (estimate.low, estimate.high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.005)


def test_more_problems_narrow_the_interval_and_more_samples_alone_do_not_remove_it():
    rng = np.random.default_rng(0)

    def width(problems, samples):
        skill = rng.beta(1, 1, problems)
        estimate = avg_at_k(rng.random((problems, samples)) < skill[:, None])
        return estimate.high - estimate.low

    assert width(400, 8) < width(50, 8) / 2
    assert width(50, 512) > width(400, 8)


@pytest.mark.parametrize("spread", [2.0, 2000.0])
def test_intervals_cover_the_truth_about_nineteen_times_in_twenty(spread):
    """Also where all problems are equally hard, so that the samples are the only noise."""
    rng = np.random.default_rng(1)
    covered = 0
    trials = 400
    for trial in range(trials):
        skill = rng.beta(spread, 1.5 * spread, 60)
        estimate = avg_at_k(rng.random((60, 8)) < skill[:, None], seed=trial)
        covered += estimate.low <= 0.4 <= estimate.high
    assert 0.91 <= covered / trials <= 0.975


def test_paired_differences_ignore_how_hard_the_problems_are():
    rng = np.random.default_rng(2)
    skill = rng.beta(0.5, 0.5, 200)
    left = rng.random((200, 8)) < skill[:, None]
    right = rng.random((200, 8)) < np.clip(skill - 0.1, 0, 1)[:, None]
    paired = paired_difference(left, right)
    alone = avg_at_k(left)
    assert paired.value == pytest.approx(left.mean() - right.mean())
    assert paired.high - paired.low < (alone.high - alone.low) * 1.1
    assert paired.low > 0


def test_equal_models_differ_by_nothing_certain():
    rng = np.random.default_rng(3)
    skill = rng.random(100)
    draw = [rng.random((100, 4)) < skill[:, None] for _ in range(2)]
    difference = paired_difference(*draw)
    assert difference.low < 0 < difference.high


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "at least one problem"),
        ([[]], "at least one problem"),
        ([[True], [True, False]], "same number of samples"),
    ],
)
def test_tables_without_an_accuracy_are_refused(table, message):
    with pytest.raises(FIPOError, match=message):
        avg_at_k(table)


def test_unpaired_tables_are_refused():
    with pytest.raises(FIPOError, match="cannot pair 1 problems with 2"):
        paired_difference([[True]], [[True], [False]])
    with pytest.raises(FIPOError, match="at least one observation"):
        share(0, 0)
