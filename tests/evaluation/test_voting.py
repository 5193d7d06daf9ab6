"""Majority votes: against all subsets, against draws, and the rules for ties and silence."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from fipo.errors import FIPOError
from fipo.evaluation import voting
from fipo.evaluation.estimators import avg_values, cons_at_k, maj_at_k
from fipo.evaluation.voting import majority_values


def vote(right, names):
    """The rule, written down once more: 1/m for a tie of m with the right answer, 0 where nobody votes."""
    ballots = Counter(names)
    if None in ballots:
        del ballots[None]
    top = max(ballots.values(), default=0)
    winners = [name for name, count in ballots.items() if count == top]
    return 1 / len(winners) if right in winners else 0.0


def by_enumeration(names, right, k):
    results = [vote(right, [names[i] for i in chosen]) for chosen in combinations(range(len(names)), k)]
    return sum(results) / len(results)


def random_classes(rng, problems, samples, kinds):
    """Classes 0 (right), 1, 2, ... and None, from one to many wrong answers."""
    rows = []
    for _ in range(problems):
        drawn = rng.choice(kinds, samples, p=rng.dirichlet(np.full(kinds, 0.6)))
        rows.append([None if name == 1 else int(name) for name in drawn])
    return rows


def is_right(classes):
    return [[name == 0 for name in row] for row in classes]


@pytest.mark.parametrize("n", [1, 2, 3, 6, 10])
def test_votes_equal_the_mean_over_all_subsets(n):
    drawn = random_classes(np.random.default_rng(n), 25, n, 5)
    classes = [*drawn, list(range(n)), [0] * n, [None] * n, [3] * n]
    for k in range(1, n + 1):
        expected = [by_enumeration(row, 0, k) for row in classes]
        np.testing.assert_allclose(majority_values(is_right(classes), classes, k), expected, atol=1e-12)


@pytest.mark.parametrize("k", [4, 15])
def test_votes_equal_ten_thousand_draws_per_problem(k):
    rng = np.random.default_rng(5)
    classes = random_classes(rng, 200, 32, 8)
    counts = np.array([[row.count(None if c == 1 else c) for c in range(8)] for row in classes])
    total = 0.0
    for row in counts:
        drawn = rng.multivariate_hypergeometric(row, k, size=10_000)
        wrong = np.delete(drawn, [0, 1], axis=1)
        wins = (drawn[:, 0] > 0) & (drawn[:, 0] >= wrong.max(axis=1))
        total += np.mean(wins / (1 + (wrong == drawn[:, :1]).sum(axis=1)))
    assert majority_values(is_right(classes), classes, k).mean() == pytest.approx(total / 200, abs=1e-3)


def test_a_vote_of_one_is_an_average_and_a_vote_of_all_is_cons():
    classes = random_classes(np.random.default_rng(6), 60, 16, 6)
    right = is_right(classes)
    np.testing.assert_allclose(majority_values(right, classes, 1), avg_values(right), atol=1e-12)
    assert cons_at_k(right, classes) == maj_at_k(right, classes, 16)
    assert cons_at_k(right, classes).value == pytest.approx(np.mean([vote(0, row) for row in classes]))


def test_ties_are_shared_and_silence_does_not_vote():
    def cons(*names):
        return majority_values([[name == 0 for name in names]], [names], len(names))[0]

    assert cons(0, 7) == 0.5
    assert cons(0, 7, 9) == pytest.approx(1 / 3)
    assert cons(0, 0, 7, 7, 9) == 0.5
    assert cons(0, None, None, None) == 1
    assert cons(None, None) == 0
    assert cons(7, 7, None) == 0
    assert cons(7, 9, None) == 0


def test_all_classes_with_a_right_sample_are_one():
    right = [[True, True, False, False, False]]
    assert majority_values(right, [[3, 4, 8, 8, 5]], 5)[0] == 0.5
    # The third sample was not marked, but its answer is that of a right one.
    assert majority_values(right, [[3, 4, 4, 8, 8]], 5)[0] == 1
    assert majority_values(right, [[None, 4, 8, 5, 6]], 5)[0] == 1


def test_the_names_of_classes_do_not_matter():
    classes = random_classes(np.random.default_rng(7), 20, 12, 5)
    renamed = [[None if name is None else 1000 - 7 * name for name in row] for row in classes]
    right = is_right(classes)
    np.testing.assert_array_equal(majority_values(right, classes, 5), majority_values(right, renamed, 5))


def test_the_count_stays_exact_for_many_samples():
    """Half right, half one wrong answer: by symmetry 1/2 for every k."""
    n = voting.EXACT_SAMPLES
    right = [[i % 2 == 0 for i in range(n)]]
    for k in (1, 2, 33, n // 2, n - 1, n):
        assert majority_values(right, [[i % 2 for i in range(n)]], k)[0] == pytest.approx(0.5, abs=1e-10)


def test_draws_stand_in_for_the_count_where_there_are_too_many_samples(monkeypatch):
    classes = random_classes(np.random.default_rng(8), 100, 32, 6)
    right = is_right(classes)
    exact = majority_values(right, classes, 9)
    monkeypatch.setattr(voting, "EXACT_SAMPLES", 8)
    drawn = majority_values(right, classes, 9, seed=1)
    assert not np.array_equal(drawn, exact)
    assert np.abs(drawn - exact).max() < 0.05
    assert drawn.mean() == pytest.approx(exact.mean(), abs=0.005)
    np.testing.assert_array_equal(drawn, majority_values(right, classes, 9, seed=1))
    np.testing.assert_array_equal(majority_values(right, classes, 32), [vote(0, row) for row in classes])


def test_classes_of_another_shape_are_refused():
    for classes in ([[0]], [[0, 1], [0, 1]], [[0, 1, 2]]):
        with pytest.raises(FIPOError, match="shape of correct, 1 problems x 2 samples"):
            majority_values([[True, False]], classes, 1)
