"""Documents of the pretraining text: direct answers, chains, and answers that are checked again.

That a check is worth its tokens is built into this text, not discovered: a quarter of the facts come out
wrong until one or two checks have gone by, so a chain is right more often at each later pass. A base
model of this text holds that regularity, and reinforcement learning can only amplify it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from fipo.tasks.arithmetic.problem import (
    KEYS,
    MODULUS,
    OPERATIONS,
    Problem,
    apply_operation,
    sample_problem,
    sample_split_problem,
)

Kind = Literal["direct", "chain", "guess_checks", "chain_checks"]

# The table of facts is part of the task: it must not follow the seed of a training run.
FACT_SEED = 20
# Wrong at the first pass only: the first check is then worth a good deal.
LEVEL_1_SHARE = 0.15
# Wrong at the first two passes: a second check is then worth still more than the first.
LEVEL_2_SHARE = 0.10
# Not 1: the right value keeps some probability, so that reinforcement learning can find it at once.
WRONG_BEFORE_LEVEL = 0.85
# Not 0: a late pass is good, not perfect.
WRONG_FROM_LEVEL = 0.05
# Slips anywhere make agreement between passes informative, and leave no pass certain.
SLIP_PROBABILITY = 0.03
# Per pass, the probability that a step leaves its result out: a sparse chain is shorter and harder.
SKIP_PROBABILITIES = (0.05, 0.05, 0.4)
# After each check the document may end; most documents with checks hold one or two.
STOP_CHECKING_PROBABILITY = 0.6
# Keeps the longest document near the response budget of reinforcement learning.
MAX_CHECKS = 4
# A check that disagrees does not always win, so that changing the answer is itself learnt.
KEEP_OLD_PROBABILITY = 0.1


@dataclass(frozen=True)
class Mixture:
    """Shares of the four kinds of document (they need not sum to 1), and of one-operation problems."""

    direct: float
    chain: float
    guess_checks: float
    chain_checks: float
    one_operation: float = 0.0


# Mostly short and mostly wrong, with enough chains and checks for reinforcement learning to find them.
TRUE_MIXTURE = Mixture(direct=0.70, chain=0.17, guess_checks=0.05, chain_checks=0.08)


@dataclass(frozen=True)
class Document:
    """A prompt, its response (which ends in ` .`), and the kind of document that they make."""

    prompt: str
    response: str
    kind: Kind


@dataclass(frozen=True)
class Fact:
    """What the corpus makes of a (value, operation) pair: its level (1 or 2) and its fixed wrong value."""

    level: int
    wrong: int


@lru_cache(maxsize=1)
def hard_facts() -> MappingProxyType[tuple[int, str], Fact]:
    """The level-1 and level-2 facts among the 250 (value, operation) pairs; always the same table."""
    rng = random.Random(FACT_SEED)
    pairs = [(value, operation) for operation in OPERATIONS for value in range(MODULUS)]
    ones, twos = round(LEVEL_1_SHARE * len(pairs)), round(LEVEL_2_SHARE * len(pairs))
    facts = {}
    for index, pair in enumerate(rng.sample(pairs, ones + twos)):
        facts[pair] = Fact(level=1 if index < ones else 2, wrong=_other_value(rng, apply_operation(*pair)))
    return MappingProxyType(facts)


def _other_value(rng: random.Random, value: int) -> int:
    return (value + rng.randrange(1, MODULUS)) % MODULUS


def _step(rng: random.Random, value: int, operation: str, waits: int) -> int:
    result = apply_operation(value, operation)
    fact = hard_facts().get((value, operation))
    if fact is not None:
        wrong = WRONG_BEFORE_LEVEL if waits < fact.level else WRONG_FROM_LEVEL
        if rng.random() < wrong:
            result = fact.wrong
    return _other_value(rng, result) if rng.random() < SLIP_PROBABILITY else result


def sample_pass(rng: random.Random, problem: Problem, waits: int) -> tuple[list[str], int]:
    """One pass through the operations after `waits` earlier checks: its tokens and the value it ends on."""
    skip = rng.choice(SKIP_PROBABILITIES)
    value, tokens = problem.start, []
    for key, operation in zip(KEYS, problem.operations):
        value = _step(rng, value, operation, waits)
        tokens += [key, operation]
        if rng.random() >= skip:
            tokens += ["=", str(value)]
    return tokens, value


def _checks(rng: random.Random, problem: Problem, answer: int) -> list[str]:
    tokens: list[str] = []
    for waits in range(1, MAX_CHECKS + 1):
        steps, value = sample_pass(rng, problem, waits)
        verdict = "yes" if value == answer else "no"
        if value != answer and rng.random() >= KEEP_OLD_PROBABILITY:
            answer = value
        tokens += ["wait", ":", *steps, verdict, "so", str(answer)]
        if rng.random() < STOP_CHECKING_PROBABILITY:
            break
    return tokens


def sample_response(rng: random.Random, problem: Problem, kind: Kind) -> str:
    """A response of one kind.

    A direct answer is always right; a guess that is going to be checked is uniform, since the base
    model's own direct answers are little better than that.
    """
    tokens: list[str] = []
    if kind == "direct":
        answer = problem.values[-1]
    elif kind == "guess_checks":
        answer = rng.randrange(MODULUS)
    else:
        tokens, answer = sample_pass(rng, problem, waits=0)
    tokens += ["so", str(answer)]
    if kind in ("guess_checks", "chain_checks"):
        tokens += _checks(rng, problem, answer)
    return " ".join([*tokens, "."])


def sample_document(rng: random.Random, mixture: Mixture = TRUE_MIXTURE, *, kind: Kind | None = None) -> Document:
    """A document of the train split, its kind drawn from the mixture unless it is given.

    One-operation problems, which the test split does not hold, come with `mixture.one_operation`.
    """
    if rng.random() < mixture.one_operation:
        problem = sample_problem(rng, 1)
    else:
        problem = sample_split_problem(rng, "train")
    if kind is None:
        kinds: tuple[Kind, ...] = ("direct", "chain", "guess_checks", "chain_checks")
        kind = rng.choices(kinds, weights=[getattr(mixture, name) for name in kinds])[0]
    return Document(problem.prompt, sample_response(rng, problem, kind), kind)
