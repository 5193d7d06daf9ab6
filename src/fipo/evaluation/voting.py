"""Majority votes: what a vote of k samples is expected to give, counted rather than simulated."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from fipo.errors import FIPOError
from fipo.evaluation.tables import Classes, Correct, check_k, correct_table

# Beyond this many samples per problem the count takes too long, and votes are drawn instead.
EXACT_SAMPLES = 128
DRAWS = 2_000


def majority_values(correct: Correct, classes: Classes, k: int, *, seed: int = 0) -> np.ndarray:
    """Per problem, the expected result of a majority vote of `k` samples drawn without replacement.

    A response without an answer does not vote. A tie between m classes counts 1/m for each, the expectation of a fair
    draw. Where nobody votes, the problem counts 0. All classes with a right sample are one class, the right one; a
    right sample votes for it even where its class is None.

    The expectation over all C(n, k) choices is counted exactly for up to `EXACT_SAMPLES` samples per problem, and for
    k = n with any number. Beyond, it is the mean of `DRAWS` seeded draws per problem: unbiased, standard error at most
    0.011 for a problem and much less for the mean over problems.

    Args:
        correct: per problem, one bool per sample; (N, n).
        classes: of the same shape; equal numbers within a problem are equal answers.
        k: voters, 1 to n.
        seed: of the draws, where there are any.

    Returns:
        (N,) float64 in [0, 1].

    Raises:
        FIPOError: k outside 1 to n, or tables that do not fit.
    """
    table = correct_table(correct)
    samples = table.shape[1]
    check_k(k, samples)
    votes, where = np.unique(_tally(table, classes), axis=0, return_inverse=True)
    right, wrong = votes[:, 0], votes[:, 1:]
    if k == samples:
        values = _full_vote(right, wrong)
    elif samples <= EXACT_SAMPLES:
        values = _count_votes(right, wrong, samples, k)
    else:
        values = _draw_votes(votes, samples, k, seed)
    return values[where.reshape(-1)]


def _tally(table: np.ndarray, classes: Classes) -> np.ndarray:
    """Per problem the votes for the right answer, then those for each wrong one, most first; (N, 1 + classes)."""
    if len(classes) != len(table) or any(len(row) != table.shape[1] for row in classes):
        raise FIPOError(f"classes must have the shape of correct, {table.shape[0]} problems x {table.shape[1]} samples")
    rows = []
    for verdicts, names in zip(table.tolist(), classes):
        good = {name for verdict, name in zip(verdicts, names) if verdict and name is not None}
        wrong = Counter(
            name for verdict, name in zip(verdicts, names) if not verdict and name is not None and name not in good
        )
        right = sum(verdict or name in good for verdict, name in zip(verdicts, names))
        rows.append([right, *sorted(wrong.values(), reverse=True)])
    tally = np.zeros((len(rows), max(2, *(len(row) for row in rows))), dtype=np.int64)
    for index, row in enumerate(rows):
        tally[index, : len(row)] = row
    return tally


def _full_vote(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The vote of all samples, or of one draw of them: 1, 0, or 1/m in a tie of m classes."""
    ties = (wrong == right[..., None]).sum(axis=-1)
    return np.where((right > 0) & (right >= wrong.max(axis=-1)), 1.0 / (1 + ties), 0.0)


def _count_votes(right: np.ndarray, wrong: np.ndarray, samples: int, k: int) -> np.ndarray:
    """The expectation over all choices of k samples.

    Drawing k of n samples is drawing each with probability k/n, given that k were drawn: the votes per class are then
    independent binomials until the total is fixed. Working with these probabilities instead of with binomial
    coefficients keeps all numbers near 1. Summed over j, the votes for the right answer.
    """
    chances = _binomials(samples, k)
    values = np.zeros(len(right))
    for j in range(1, min(k, int(right.max())) + 1):
        rows = np.flatnonzero(right >= j)
        # A class with fewer than j samples cannot tie: like the samples without a vote it only fills up.
        rivals = np.where(wrong[rows] >= j, wrong[rows], 0)
        rivals = rivals[:, : int((rivals > 0).sum(axis=1).max())]
        others = samples - right[rows] - rivals.sum(axis=1)
        values[rows] += chances[right[rows], j] * _not_beaten(rivals, others, j, k - j, chances)
    return np.minimum(values / chances[samples, k], 1.0)


def _not_beaten(rivals: np.ndarray, others: np.ndarray, j: int, left: int, chances: np.ndarray) -> np.ndarray:
    """Chance that `left` further draws give no rival more than j votes, times 1 / (1 + rivals with exactly j).

    Per problem the product over rivals of sum_{a<j} P(a) x^a + z P(j) x^j, times the others, read at x^left: z counts
    ties. The integral of z^t over 0..1 is 1 / (t + 1), and Gauss-Legendre integrates a polynomial without error.
    """
    most_ties = min(rivals.shape[1], left // j)
    nodes, weights = np.polynomial.legendre.leggauss(most_ties // 2 + 1)
    tie = (nodes + 1)[:, None] / 2
    product = np.zeros((len(rivals), len(nodes), left + 1))
    product[:, :, 0] = 1.0
    for column in rivals.T:
        factor = chances[column][:, None, :]
        grown = factor[..., :1] * product
        for a in range(1, min(j, left) + 1):
            term = factor[..., a : a + 1] * product[..., : left + 1 - a]
            grown[..., a:] += term if a < j else tie * term
        product = grown
    fill = chances[others, left::-1] if left else chances[others, :1]
    return np.einsum("pqb,q,pb->p", product, weights / 2, fill)


def _binomials(samples: int, k: int) -> np.ndarray:
    """Row c, column a: the chance that a of c samples are drawn, each with probability k/n; (n + 1, k + 1)."""
    logs = np.array([math.lgamma(i + 1) for i in range(samples + 1)])
    size, drawn = np.arange(samples + 1)[:, None], np.arange(k + 1)[None, :]
    rest = np.maximum(size - drawn, 0)
    ways = logs[size] - logs[drawn] - logs[rest]
    chance = np.exp(ways + drawn * math.log(k / samples) + rest * math.log1p(-k / samples))
    return np.where(drawn <= size, chance, 0.0)


def _draw_votes(votes: np.ndarray, samples: int, k: int, seed: int) -> np.ndarray:
    """The same expectation as the mean of seeded draws."""
    generator = np.random.default_rng(seed)
    values = []
    for row in votes:
        colors = np.append(row[row > 0], samples - row.sum()) if row[0] else None
        if colors is None:
            values.append(0.0)
            continue
        drawn = generator.multivariate_hypergeometric(colors, k, size=DRAWS)
        wrong = drawn[:, 1:-1] if len(colors) > 2 else np.zeros((DRAWS, 1), dtype=np.int64)
        values.append(float(_full_vote(drawn[:, 0], wrong).mean()))
    return np.array(values)
