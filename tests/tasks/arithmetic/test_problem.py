from __future__ import annotations

import random
import subprocess
import sys

import pytest

from fipo.errors import FIPOError
from fipo.tasks.arithmetic import Problem, generate_problems, sample_problem
from fipo.tasks.arithmetic.problem import FACTORS, OPERATIONS, apply_operation, split_of


def recompute(prompt: str) -> list[int]:
    """Running values from the text alone, over the integers, reduced only at the end of each prefix."""
    words = prompt.split()
    assert words[-1] == "?"
    operations = words[2:-1:2]
    values = []
    for length in range(len(operations) + 1):
        total = int(words[0])
        for operation in operations[:length]:
            total = {"+": total.__add__, "-": total.__sub__, "*": total.__mul__}[operation[0]](int(operation[1:]))
        values.append(total % 10)
    return values


def test_known_problem() -> None:
    problem = Problem(2, ("+3", "*6", "-5"))
    assert problem.prompt == "2 a +3 b *6 c -5 ?"
    assert problem.values == (2, 5, 0, 5)
    assert problem.answer == "5"


def test_values_equal_an_independent_recomputation() -> None:
    rng = random.Random(1)
    for _ in range(1000):
        problem = sample_problem(rng)
        assert list(problem.values) == recompute(problem.prompt)
        assert problem.answer == str(recompute(problem.prompt)[-1])


def test_keys_are_consecutive_letters() -> None:
    words = sample_problem(random.Random(3), 7).prompt.split()
    assert "".join(words[1:-1:2]) == "abcdefg"


def test_operations_have_the_stated_frequencies() -> None:
    rng = random.Random(2)
    operations = [op for _ in range(4000) for op in sample_problem(rng).operations]
    assert set(operations) == set(OPERATIONS)
    share = sum(op[0] == "*" for op in operations) / len(operations)
    assert abs(share - 0.3) < 0.015
    assert {int(op[1:]) for op in operations if op[0] == "*"} == set(FACTORS)
    assert {len(sample_problem(rng).operations) for _ in range(200)} == {3, 4, 5, 6, 7}


@pytest.mark.parametrize(("value", "operation", "result"), [(8, "+5", 3), (2, "-9", 3), (7, "*7", 9)])
def test_apply_operation_wraps(value: int, operation: str, result: int) -> None:
    assert apply_operation(value, operation) == result


def test_the_same_arguments_give_the_same_distinct_problems() -> None:
    problems = generate_problems(3000, seed=4, split="train")
    assert len({problem.prompt for problem in problems}) == 3000
    assert problems == generate_problems(3000, seed=4, split="train")
    assert problems[:50] == generate_problems(50, seed=4, split="train")
    assert problems[:50] != generate_problems(50, seed=5, split="train")


def test_problems_do_not_follow_the_hash_seed_of_the_process() -> None:
    code = (
        "from fipo.tasks.arithmetic import generate_problems as g;"
        "print(*[p.prompt for p in g(40, seed=9, split='test')], sep='\\n')"
    )
    expected = [problem.prompt for problem in generate_problems(40, seed=9, split="test")]
    for hash_seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(path for path in sys.path if path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split("\n")[:-1] == expected


def test_splits_are_disjoint() -> None:
    train = {p.prompt for seed in range(3) for p in generate_problems(4000, seed=seed, split="train")}
    test = {p.prompt for seed in range(3) for p in generate_problems(4000, seed=seed, split="test")}
    assert not train & test
    assert all(split_of(prompt) == "test" for prompt in test)


def test_one_prompt_in_eight_is_of_the_test_split() -> None:
    rng = random.Random(6)
    share = sum(split_of(sample_problem(rng).prompt) == "test" for _ in range(8000)) / 8000
    assert abs(share - 1 / 8) < 0.015


def test_mistaken_arguments_are_named() -> None:
    with pytest.raises(FIPOError, match="num_operations=9"):
        sample_problem(random.Random(0), 9)
    with pytest.raises(FIPOError, match="n=-1"):
        generate_problems(-1, seed=0, split="train")
    with pytest.raises(FIPOError, match="'dev'"):
        generate_problems(1, seed=0, split="dev")  # type: ignore[arg-type]
