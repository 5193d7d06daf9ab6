"""Problems of the arithmetic task: a running value modulo 10 through three to seven keyed operations."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from fipo.errors import FIPOError

Split = Literal["train", "test"]

MODULUS = 10
MIN_OPERATIONS = 3
MAX_OPERATIONS = 7
# One key more than the longest sampled problem: an eighth operation can be written, but no text shows it.
KEYS = "abcdefgh"
ADDENDS = tuple(range(1, 10))
# 0, 1 and 5 are left out: 0 and 5 throw most of the running value away, 1 does nothing.
FACTORS = (2, 3, 4, 6, 7, 8, 9)
# Products of small factors merge values, so that too many of them would make the answer easy to guess.
MULTIPLY_PROBABILITY = 0.3
OPERATIONS = tuple(
    [f"+{n}" for n in ADDENDS] + [f"-{n}" for n in ADDENDS] + [f"*{n}" for n in FACTORS],
)
# One prompt in this many belongs to the test split.
TEST_ONE_IN = 8
# Problems to evaluate on are the same whatever the seed of a training, so that evaluations can be compared.
HELD_OUT_SEED = 1


def apply_operation(value: int, operation: str) -> int:
    """The value in 0..9 that follows `value` under an operation such as `"+8"`, `"-3"` or `"*7"`."""
    sign, number = operation[0], int(operation[1:])
    if sign == "+":
        return (value + number) % MODULUS
    if sign == "-":
        return (value - number) % MODULUS
    return (value * number) % MODULUS


@dataclass(frozen=True)
class Problem:
    """A start value in 0..9 and the operations that follow it, each one of `OPERATIONS`."""

    start: int
    operations: tuple[str, ...]

    @cached_property
    def values(self) -> tuple[int, ...]:
        """Running values, the start first: one more than there are operations."""
        values = [self.start]
        for operation in self.operations:
            values.append(apply_operation(values[-1], operation))
        return tuple(values)

    @property
    def answer(self) -> str:
        """The last running value, `"0"` to `"9"`."""
        return str(self.values[-1])

    @property
    def prompt(self) -> str:
        """Whitespace-separated text, such as `"2 a +3 b +6 c -5 ?"`."""
        steps = [f"{key} {operation}" for key, operation in zip(KEYS, self.operations)]
        return " ".join([str(self.start), *steps, "?"])


def _sample_operation(rng: random.Random) -> str:
    if rng.random() < MULTIPLY_PROBABILITY:
        return f"*{rng.choice(FACTORS)}"
    return f"{rng.choice('+-')}{rng.choice(ADDENDS)}"


def sample_problem(rng: random.Random, num_operations: int | None = None) -> Problem:
    """A random problem, of either split.

    `num_operations` lies in 1..8; None draws it uniformly from 3..7, the lengths of the task.
    Raises FIPOError for a length outside 1..8.
    """
    if num_operations is None:
        num_operations = rng.randint(MIN_OPERATIONS, MAX_OPERATIONS)
    if not 1 <= num_operations <= len(KEYS):
        raise FIPOError(f"num_operations={num_operations} is outside 1..{len(KEYS)}: choose one inside it")
    start = rng.randrange(MODULUS)
    return Problem(start, tuple(_sample_operation(rng) for _ in range(num_operations)))


def split_of(prompt: str) -> Split:
    """The split that a prompt belongs to, by a hash of its text that is the same on every machine."""
    digest = hashlib.sha256(prompt.encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") % TEST_ONE_IN == 0 else "train"


def sample_split_problem(rng: random.Random, split: Split) -> Problem:
    """A random problem of three to seven operations that belongs to `split`."""
    while True:
        problem = sample_problem(rng)
        if split_of(problem.prompt) == split:
            return problem


def generate_problems(n: int, *, seed: int, split: Split) -> list[Problem]:
    """`n` distinct problems of a split, the same for the same arguments.

    No problem of one split is ever in the other. A larger `n` extends the list of a smaller one.
    Raises FIPOError for a negative `n` or an unknown split.
    """
    if n < 0:
        raise FIPOError(f"n={n} problems cannot be made: give 0 or more")
    if split not in get_args(Split):
        raise FIPOError(f"split={split!r} is not known: use 'train' or 'test'")
    rng = random.Random(f"arithmetic/{split}/{seed}")
    problems: dict[Problem, None] = {}
    while len(problems) < n:
        problems[sample_split_problem(rng, split)] = None
    return list(problems)


def held_out_problems(n: int) -> list[Problem]:
    """The first `n` problems that every evaluation of the task uses; no training sees them."""
    return generate_problems(n, seed=HELD_OUT_SEED, split="test")
