from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fipo import group_advantages
from fipo.objective import uniform_groups


@settings(max_examples=200, deadline=None)
@given(
    group_size=st.integers(2, 6),
    groups=st.integers(0, 4),
    data=st.data(),
    normalize=st.booleans(),
    epsilon=st.sampled_from((1e-6, 0.1)),
)
def test_advantages_are_the_naive_computation(
    group_size: int, groups: int, data: st.DataObject, normalize: bool, epsilon: float
) -> None:
    values = st.sampled_from((-1.0, 0.0, 0.1, 1.0, 1.5)) | st.integers(-3000, 3000).map(lambda n: n / 1000)
    rewards = data.draw(st.lists(values, min_size=groups * group_size, max_size=groups * group_size))
    expected: list[float] = []
    for first in range(0, len(rewards), group_size):
        group = rewards[first : first + group_size]
        if max(group) == min(group):
            expected += [0.0] * group_size
            continue
        scale = statistics.stdev(group) + epsilon if normalize else 1.0
        expected += [(reward - statistics.fmean(group)) / scale for reward in group]
    found = group_advantages(
        torch.tensor(rewards, dtype=torch.float64), group_size, normalize_by_std=normalize, epsilon=epsilon
    )
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_one_right_answer_among_four() -> None:
    found = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), 4)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-5)
    unscaled = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), 4, normalize_by_std=False)
    assert unscaled.tolist() == [0.75, -0.25, -0.25, -0.25]


def test_groups_do_not_see_each_other() -> None:
    rewards = torch.tensor([0.0, 1.0, 5.0, 9.0])
    changed = torch.tensor([0.0, 1.0, 100.0, -3.0])
    assert torch.equal(group_advantages(rewards, 2)[:2], group_advantages(changed, 2)[:2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [0.1, 0.7, -0.3, 1e4, 0.0, 3.3])
@pytest.mark.parametrize("group_size", [2, 3, 7, 10, 16])
def test_equal_rewards_get_exactly_zero(value: float, group_size: int, dtype: torch.dtype) -> None:
    """The mean of equal floats can be off by one rounding, and the deviation then is as small as that error."""
    rewards = torch.full((2 * group_size,), value, dtype=dtype)
    for normalize in (True, False):
        assert group_advantages(rewards, group_size, normalize_by_std=normalize).tolist() == [0.0] * 2 * group_size


def test_the_mean_of_equal_rewards_does_round() -> None:
    """Without a rounding mean among its values the test above would prove nothing."""
    groups = [torch.full((1, size), value) for value in (0.1, 0.7, 3.3) for size in (3, 7, 10)]
    assert any((group - group.mean(dim=1, keepdim=True)).abs().max() > 0 for group in groups)


def test_whole_numbers_and_half_precisions_become_float32() -> None:
    expected = group_advantages(torch.tensor([1.0, 0.0, 0.0, 2.0]), 4)
    for dtype in (torch.int64, torch.float16, torch.bfloat16):
        found = group_advantages(torch.tensor([1, 0, 0, 2], dtype=dtype), 4)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


def test_advantages_carry_no_gradient() -> None:
    assert not group_advantages(torch.tensor([0.0, 1.0], requires_grad=True), 2).requires_grad


def test_no_rewards_give_no_advantages() -> None:
    assert group_advantages(torch.zeros(0), 4).shape == (0,)
    assert uniform_groups(torch.zeros(0), 4).shape == (0,)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rewards_must_be_finite(bad: float) -> None:
    rewards = torch.tensor([0.0, 1.0, 1.0, bad, bad, 0.0])
    with pytest.raises(ValueError, match=rf"^rewards\[3\]={bad} must be a finite number"):
        group_advantages(rewards, 2)


@pytest.mark.parametrize("shape", [(), (4, 1), (2, 2)])
def test_rewards_must_be_one_row(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        group_advantages(torch.zeros(shape), 2)
    assert str(caught.value) == f"rewards has shape {shape}, expected (B,)"


@pytest.mark.parametrize("group_size", [1, 0, -2])
def test_a_group_has_at_least_two_responses(group_size: int) -> None:
    with pytest.raises(ValueError, match=rf"^group_size={group_size} must be at least 2"):
        group_advantages(torch.zeros(4), group_size)


def test_groups_must_be_whole() -> None:
    with pytest.raises(ValueError, match=r"^5 rewards are not whole groups of group_size=2"):
        group_advantages(torch.zeros(5), 2)


def test_uniform_groups_are_those_whose_range_is_within_the_tolerance() -> None:
    rewards = torch.tensor([0.1, 0.1, 0.0, 1.0, 0.5, 0.5 + 5e-7, 0.5, 0.5 + 5e-6], dtype=torch.float64)
    assert uniform_groups(rewards, 2).tolist() == [True, False, True, False]
    assert uniform_groups(rewards, 4).tolist() == [False, False]
    assert uniform_groups(rewards, 2, tolerance=0.0).tolist() == [True, False, False, False]
    assert uniform_groups(torch.tensor([0.0, 0.25, 0.5, 0.25]), 4, tolerance=0.5).tolist() == [True]


def test_a_small_but_real_difference_is_kept() -> None:
    found = group_advantages(torch.tensor([0.0, 1e-4], dtype=torch.float64), 2)
    assert found.tolist() == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)], rel=0.05)


def test_verdicts_are_rewards_too() -> None:
    found = group_advantages(torch.tensor([True, False]), 2)
    assert found.tolist() == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)], rel=1e-5)


def test_incomplete_groups_are_refused_by_both() -> None:
    for function in (group_advantages, uniform_groups):
        with pytest.raises(ValueError, match="3 rewards are not whole groups of group_size=2"):
            function(torch.zeros(3), 2)
