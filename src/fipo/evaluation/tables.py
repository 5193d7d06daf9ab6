"""What the estimators are given: a table of right and wrong samples, and a number of samples to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fipo.errors import FIPOError

# Per problem, one bool per sample; a list of lists or an array (problems, samples).
Correct = Sequence[Sequence[bool]] | np.ndarray
# Per problem and sample, the class of the answer; None where the response has none.
Classes = Sequence[Sequence[int | None]] | np.ndarray


def correct_table(correct: Correct) -> np.ndarray:
    """`correct` as a bool array (problems, samples).

    Raises:
        FIPOError: no problems, no samples, or problems with different numbers of samples.
    """
    sizes = {len(row) for row in correct}
    if not sizes or 0 in sizes:
        raise FIPOError("an accuracy needs at least one problem with at least one sample")
    if len(sizes) > 1:
        raise FIPOError(f"every problem needs the same number of samples, found {sorted(sizes)}")
    return np.asarray(correct, dtype=bool)


def check_k(k: int, samples: int) -> None:
    """Refuse a `k` outside 1 to `samples`."""
    if not 1 <= k <= samples:
        raise FIPOError(
            f"k = {k} is outside 1 to {samples}, the samples per problem: choose a k in it, or sample more responses"
        )
