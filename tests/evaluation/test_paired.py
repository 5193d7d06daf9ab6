"""Comparisons on the same problems: intervals, permutation p-values, and what could be detected."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from fipo.errors import FIPOError
from fipo.evaluation import avg_at_k, paired_difference
from fipo.evaluation.estimators import avg_values, majority_values, pass_values
from fipo.evaluation.paired import compare_values, detectable_difference, problems_needed, sign_flip_p_value


def shares(rng, skill, samples):
    return (rng.random((len(skill), samples)) < skill[:, None]).mean(axis=1)


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
    assert compare_values(avg_values(left), avg_values(right)).difference == paired


def test_equal_models_differ_by_nothing_certain():
    rng = np.random.default_rng(3)
    skill = rng.random(100)
    draw = [rng.random((100, 4)) < skill[:, None] for _ in range(2)]
    difference = paired_difference(*draw)
    assert difference.low < 0 < difference.high


def test_any_value_per_problem_can_be_compared_and_sets_are_pooled_by_joining():
    rng = np.random.default_rng(4)
    left, right = (rng.random((40, 8)) < p for p in (0.7, 0.3))
    for values in (lambda t: pass_values(t, 4), lambda t: majority_values(t, np.where(t, 0, 1), 8)):
        found = compare_values(values(left), values(right))
        assert found.problems == 40
        assert found.difference.value == pytest.approx(values(left).mean() - values(right).mean())
    a, b = pass_values(left, 4), pass_values(right, 4)
    pooled = compare_values(np.concatenate([a, a]), np.concatenate([b, b]))
    assert pooled.difference.value == pytest.approx(compare_values(a, b).difference.value)
    assert pooled.p_value <= compare_values(a, b).p_value
    assert pooled.problems == 80


def test_swapping_the_two_turns_the_sign():
    rng = np.random.default_rng(5)
    a, b = rng.random(30), rng.random(30)
    there, back = compare_values(a, b), compare_values(b, a)
    assert there.difference.value == -back.difference.value
    assert (there.difference.low, there.difference.high) == pytest.approx((-back.difference.high, -back.difference.low))
    assert (there.p_value, there.detectable) == pytest.approx((back.p_value, back.detectable))


def test_identical_results_are_no_proof_of_identical_models():
    values = np.random.default_rng(6).random(30)
    found = compare_values(values, values)
    part = 1 - 0.025 ** (1 / 30)
    assert (found.difference.low, found.difference.high) == pytest.approx((-part, part))
    assert found.p_value == 1.0
    assert found.detectable == pytest.approx(part)


@pytest.mark.parametrize("size", [1, 4, 9])
def test_few_differences_are_tested_by_all_sign_patterns(size):
    gaps = np.random.default_rng(size).integers(-8, 9, size) / 8
    sums = [abs(np.dot(signs, np.abs(gaps))) for signs in product([-1, 1], repeat=size)]
    exact = np.mean(np.array(sums) >= abs(gaps.sum()) - 1e-9)
    assert sign_flip_p_value(gaps) == pytest.approx(exact)
    assert sign_flip_p_value(np.concatenate([gaps, np.zeros(500)])) == pytest.approx(exact)


def test_many_differences_are_tested_by_seeded_patterns():
    rng = np.random.default_rng(8)
    gaps = (rng.integers(-8, 9, 15) + 1) / 32
    gaps[gaps == 0] = 1 / 32
    signs = 1 - 2 * (np.arange(2**15)[:, None] >> np.arange(15) & 1)
    exact = np.mean(np.abs(signs @ gaps) >= abs(gaps.sum()) - 1e-9)
    assert sign_flip_p_value(gaps) == pytest.approx(exact, abs=0.02)
    assert sign_flip_p_value(gaps) == sign_flip_p_value(gaps) != sign_flip_p_value(gaps, seed=1)
    # The observed pattern is one of the possible ones, so no p-value is zero.
    assert sign_flip_p_value(np.ones(200)) == pytest.approx(1 / 10_001)


def test_p_values_are_uniform_when_there_is_no_difference():
    rng = np.random.default_rng(9)
    p = np.sort([sign_flip_p_value(rng.standard_normal(20), seed=t) for t in range(500)])
    distance = np.abs(p - (np.arange(500) + 0.5) / 500).max()
    assert distance < 1.63 / np.sqrt(500)


def test_equal_models_are_told_apart_one_time_in_twenty():
    rng = np.random.default_rng(10)
    rejected = covered = 0
    for trial in range(1_000):
        skill = rng.beta(0.5, 0.5, 60)
        found = compare_values(shares(rng, skill, 16), shares(rng, skill, 16), seed=trial)
        rejected += found.p_value <= 0.05
        covered += found.difference.low <= 0 <= found.difference.high
    assert 0.03 <= rejected / 1_000 <= 0.07
    assert 0.93 <= covered / 1_000 <= 0.97


def test_the_detectable_difference_is_found_four_times_in_five():
    rng = np.random.default_rng(11)
    skill = rng.uniform(0.2, 0.6, 100)
    typical = np.mean([detectable_difference(shares(rng, skill, 8), shares(rng, skill, 8)) for _ in range(50)])
    found = [
        compare_values(shares(rng, skill + typical, 8), shares(rng, skill, 8), seed=t).p_value <= 0.05
        for t in range(400)
    ]
    assert 0.75 <= np.mean(found) <= 0.86


def test_six_points_may_be_noise_with_thirty_problems_and_are_not_with_many():
    rng = np.random.default_rng(12)
    skill = rng.beta(0.5, 0.5, 30)
    ours, theirs = shares(rng, skill, 4), shares(rng, skill, 4)
    assert detectable_difference(ours, theirs) > 0.06
    needed = problems_needed(ours, theirs, 0.06)
    assert needed > 30
    spread = (ours - theirs).std(ddof=1)
    assert detectable_difference(ours, theirs) == pytest.approx(2.8016 * spread / np.sqrt(30), rel=1e-4)
    assert 2.8016 * spread / np.sqrt(needed) <= 0.06 < 2.8016 * spread / np.sqrt(needed - 1)


def test_five_problems_detect_nothing():
    ours, theirs = np.ones(5), np.array([0.0, 0.1, 0.0, 0.1, 0.0])
    found = compare_values(ours, theirs)
    assert found.p_value == pytest.approx(2 / 32)
    assert found.detectable == 1.0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(FIPOError, match="cannot pair 1 problems with 2"):
        paired_difference([[True]], [[True], [False]])
    with pytest.raises(FIPOError, match="cannot pair 3 problems with 2"):
        compare_values([0.0, 1.0, 1.0], [0.0, 1.0])
    with pytest.raises(FIPOError, match="at least one problem"):
        compare_values([], [])
    with pytest.raises(FIPOError, match=r"difference = 6 is outside \(0, 1\].*0\.06"):
        problems_needed([0.0, 1.0], [1.0, 1.0], 6)
    with pytest.raises(FIPOError, match="do not vary"):
        problems_needed([0.5, 0.5], [0.5, 0.5], 0.1)
