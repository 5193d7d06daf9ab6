"""Intervals of means over problems: known values, coverage by simulation, and where they must not collapse."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fipo.errors import FIPOError
from fipo.evaluation import avg_at_k, share
from fipo.evaluation.intervals import estimate_mean, score_interval, t_quantile, unseen_share

SIMULATION = Path(__file__).resolve().parents[2] / "benchmarks" / "interval_coverage.py"


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("interval_coverage", SIMULATION)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wilson_interval_on_known_values():
    assert (share(10, 100).low, share(10, 100).high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert (share(0, 10).low, share(0, 10).high) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert share(10, 10).high == pytest.approx(1.0)


def test_student_quantiles_on_known_values():
    table = {1: 12.7062, 2: 4.3027, 3: 3.1824, 5: 2.5706, 10: 2.2281, 29: 2.0452, 499: 1.9647}
    for freedom, quantile in table.items():
        assert t_quantile(freedom) == pytest.approx(quantile, rel=1.2e-3)


def test_interval_of_one_sample_per_problem_is_the_binomial_one():
    estimate = avg_at_k([[i % 4 == 0] for i in range(400)])
    wilson = share(100, 400)
    assert (estimate.low, estimate.high) == pytest.approx((wilson.low, wilson.high), abs=5e-4)


def test_interval_is_that_of_student_where_the_range_is_far():
    values = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(40)
    half = t_quantile(39) * values.std(ddof=1) / np.sqrt(40)
    estimate = estimate_mean(values)
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=1e-5)


def test_interval_is_that_of_the_bootstrap_where_there_are_many_problems():
    rng = np.random.default_rng(1)
    values = rng.beta(0.5, 0.5, 1_319)
    means = [rng.choice(values, 1_319).mean() for _ in range(10_000)]
    ours = estimate_mean(values)
    assert (ours.low, ours.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-3)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_intervals_stay_in_range_around_the_mean(bounds):
    rng = np.random.default_rng(3)
    for _ in range(500):
        size = int(rng.integers(1, 12))
        values = rng.choice([bounds[0], 0.0, 1 / 32, 0.5, bounds[1]], size, p=rng.dirichlet(np.full(5, 0.3)))
        estimate = estimate_mean(values, bounds=bounds)
        assert bounds[0] <= estimate.low <= estimate.value <= estimate.high <= bounds[1]
        assert estimate.value == pytest.approx(values.mean())
        assert estimate.high - estimate.low > 1e-3
        mirrored = estimate_mean(bounds[0] + bounds[1] - values, bounds=bounds)
        assert mirrored.low == pytest.approx(bounds[0] + bounds[1] - estimate.high, abs=1e-9)


def test_equal_values_leave_room_for_problems_not_seen():
    """All right, all wrong, all half: 30 problems do not show what fewer than one in nine is like."""
    part = unseen_share(30)
    assert (1 - part) ** 30 == pytest.approx(0.025)
    for value in (0.0, 0.5, 1.0):
        estimate = estimate_mean([value] * 30)
        assert (estimate.low, estimate.high) == pytest.approx((value - part * value, value + part * (1 - value)))
    identical = estimate_mean([0.0] * 30, bounds=(-1, 1))
    assert (identical.low, identical.high) == pytest.approx((-part, part))


def test_one_problem_says_little():
    for value in (0.0, 0.5, 1.0):
        estimate = estimate_mean([value])
        assert estimate.high - estimate.low > 0.7


def test_variances_beyond_coin_flips_are_cut_to_them():
    assert score_interval(0.5, 0.25, units=100, freedom=1e9) == score_interval(0.5, 0.0025, units=100, freedom=1e9)


@pytest.mark.parametrize("values", [[], [[0.5]], [1.5, 0.0], [-0.1], [float("nan"), 0.5]])
def test_values_that_have_no_mean_in_range_are_refused(values):
    with pytest.raises(FIPOError, match=r"at least one problem|from 0 to 1"):
        estimate_mean(values)


@pytest.mark.parametrize("size", [30, 60, 500])
def test_intervals_cover_the_truth_nineteen_times_in_twenty(simulation, size):
    """Standard error of a share of 3,000 trials: 0.004."""
    for name, difficulty in simulation.DIFFICULTIES.items():
        for metric in ("avg@4", "avg@32", "pass@4 of 32"):
            found = simulation.coverage(difficulty, metric, size, ["score"], 3_000, seed=1)["score"]
            assert 0.93 <= found <= 0.97, (name, metric)


@pytest.mark.parametrize("size", [30, 60, 500])
def test_values_of_two_levels_are_covered_as_well_as_a_count_allows(simulation, size):
    for name, difficulty in simulation.DIFFICULTIES.items():
        for metric in ("avg@1", "cons@32"):
            found = simulation.coverage(difficulty, metric, size, ["score"], 3_000, seed=2)["score"]
            assert 0.93 <= found <= 0.98, (name, metric)


def test_the_percentile_bootstrap_covers_too_little_with_few_problems(simulation):
    """Why it is not used: difficulties like these are those of hard mathematics."""
    difficulty = simulation.DIFFICULTIES["Beta(0.3, 3)"]
    found = simulation.coverage(difficulty, "avg@32", 30, ["percentile", "expanded", "score"], 1_000, seed=3)
    assert found["percentile"] < 0.92
    assert found["percentile"] < found["expanded"] < found["score"]


def test_resampling_within_problems_as_well_counts_the_noise_of_samples_twice(simulation):
    found = simulation.coverage(
        simulation.DIFFICULTIES["all 0.5"], "avg@4", 60, ["percentile", "two-level", "score"], 2_000, seed=4
    )
    assert found["two-level"] > 0.98
    assert 0.93 <= found["score"] <= 0.97
