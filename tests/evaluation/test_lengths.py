"""Lengths: quartiles, bins of accuracy, and intervals that know which responses belong together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fipo.errors import FIPOError
from fipo.evaluation.intervals import share
from fipo.evaluation.lengths import accuracy_by_length, length_summary


def test_a_summary_has_quartiles_mean_and_the_truncated_share():
    summary = length_summary([10, 20, 30, 40, 100], [False, False, False, False, True])
    assert (summary.min, summary.q25, summary.median, summary.q75, summary.max) == (10, 20, 30, 40, 100)
    assert (summary.count, summary.mean, summary.truncated) == (5, 40, 0.2)
    single = length_summary([7], [False])
    assert (single.min, single.q25, single.median, single.q75, single.max, single.truncated) == (7, 7, 7, 7, 7, 0)


def test_bins_hold_every_response_once_in_order_of_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 400, 640)
    right = rng.random(640) < 0.4
    bins = accuracy_by_length(lengths, right, np.repeat(np.arange(20), 32))
    assert len(bins) == 4
    assert sum(b.count for b in bins) == 640
    assert all(150 <= b.count <= 170 for b in bins)
    assert all(a.high < b.low for a, b in pairwise(bins))
    for b in bins:
        inside = (lengths >= b.low) & (lengths <= b.high)
        assert b.count == inside.sum()
        assert b.accuracy.value == pytest.approx(right[inside].mean())
        assert 0 <= b.accuracy.low < b.accuracy.value < b.accuracy.high <= 1


def test_responses_of_one_length_share_a_bin():
    assert [b.count for b in accuracy_by_length([5] * 10, [True] * 10, range(10))] == [10]
    bins = accuracy_by_length([5] * 9 + [8], [True] * 10, range(10))
    assert [(b.low, b.high, b.count) for b in bins] == [(5, 5, 9), (8, 8, 1)]


def test_fewer_responses_than_bins_make_fewer_bins():
    bins = accuracy_by_length([3, 9], [True, False], [0, 1], bins=4)
    assert [(b.low, b.count, b.accuracy.value) for b in bins] == [(3, 1, 1.0), (9, 1, 0.0)]
    only = accuracy_by_length([3], [True], [0])[0]
    assert (only.count, only.problems) == (1, 1)
    assert only.accuracy.low < 0.05


def test_many_responses_to_few_problems_do_not_narrow_the_interval():
    """Ten problems, each always right or always wrong: ten observations, not 320."""
    right = np.repeat(np.arange(10) < 5, 32)
    index = np.repeat(np.arange(10), 32)
    found = accuracy_by_length(np.ones(320), right, index)[0]
    assert found.problems == 10
    assert found.accuracy.low < share(5, 10).low + 0.02
    apart = accuracy_by_length(np.ones(320), right, np.arange(320))[0]
    assert apart.accuracy.high - apart.accuracy.low < (found.accuracy.high - found.accuracy.low) / 4


def test_one_problem_with_most_responses_is_little_more_than_one_observation():
    right = [True] * 100 + [False] * 3
    index = [0] * 100 + [1, 2, 3]
    found = accuracy_by_length(np.ones(103), right, index)[0].accuracy
    assert found.high - found.low > 0.5


def test_intervals_of_bins_cover_the_truth():
    """One bin of known truth: problems of different hardness and different numbers of responses."""
    rng = np.random.default_rng(1)
    trials, covered = 1_500, 0
    for _ in range(trials):
        skill = rng.beta(1, 1, 30)
        counts = rng.integers(1, 17, 30)
        index = np.repeat(np.arange(30), counts)
        found = accuracy_by_length(np.ones(len(index)), rng.random(len(index)) < skill[index], index)[0].accuracy
        covered += found.low <= 0.5 <= found.high
    assert 0.93 <= covered / trials <= 0.97


def test_the_names_of_problems_do_not_matter():
    rng = np.random.default_rng(2)
    lengths, right, index = rng.integers(1, 50, 80), rng.random(80) < 0.5, rng.integers(0, 8, 80)
    assert accuracy_by_length(lengths, right, index) == accuracy_by_length(lengths, right, 100 + 3 * index)


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(FIPOError, match="'lengths': 2, 'truncated': 1"):
        length_summary([1, 2], [True])
    with pytest.raises(FIPOError, match="at least one response"):
        length_summary([], [])
    with pytest.raises(FIPOError, match="'correct': 1, 'problem_index': 2"):
        accuracy_by_length([1, 2], [True], [0, 1])
    with pytest.raises(FIPOError, match="bins = 0 is below 1"):
        accuracy_by_length([1], [True], [0], bins=0)
