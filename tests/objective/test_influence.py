from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fipo import FIPOLossConfig, influence_weights

from .batches import make_batch, make_steep_batch
from .oracles import clip, exp


def weights(future: list[float], ratio: list[float], advantages: list[float], **options: Any) -> list[float]:
    rows = (torch.tensor([row], dtype=torch.float64) for row in (future, ratio, advantages))
    return influence_weights(*rows, **options)[0].tolist()


@settings(max_examples=150, deadline=None)
@given(
    tokens=st.lists(
        st.tuples(st.floats(-800, 800), st.floats(0, 50), st.sampled_from((-2.0, -1e-9, 0.0, 1.0))), min_size=1
    ),
    low=st.sampled_from((0.0, 0.2, 1.0)),
    high=st.sampled_from((0.0, 0.2, 9.0)),
    safety_ratio=st.sampled_from((None, 0.0, 3.0, 10.0)),
    safety_range=st.sampled_from(((0.8, 1.0), (1.0, 1.0), (0.0, 0.5), (1.1, 1.5))),
)
def test_each_weight_is_the_definition(
    tokens: list[tuple[float, float, float]],
    low: float,
    high: float,
    safety_ratio: float | None,
    safety_range: tuple[float, float],
) -> None:
    expected = []
    for future, ratio, advantage in tokens:
        weight = clip(exp(future), 1.0 - low, 1.0 + high)
        if safety_ratio is not None and advantage < 0 and ratio > safety_ratio:
            weight = clip(weight, *safety_range)
        expected.append(weight)
    found = weights(
        *map(list, zip(*tokens)),
        clip_low=low,
        clip_high=high,
        safety_ratio=safety_ratio,
        safety_range=safety_range,
    )
    assert found == pytest.approx(expected, rel=1e-14, abs=0)


def test_the_defaults_are_those_of_the_config() -> None:
    future = torch.linspace(-1, 1, 21, dtype=torch.float64).expand(2, 21)
    ratio = torch.tensor([[9.0], [11.0]], dtype=torch.float64).expand(2, 21)
    config = FIPOLossConfig()
    expected = influence_weights(
        future,
        ratio,
        -torch.ones_like(future),
        clip_low=config.influence_clip_low,
        clip_high=config.influence_clip_high,
        safety_ratio=config.safety_ratio,
        safety_range=config.safety_range,
    )
    assert torch.equal(influence_weights(future, ratio, -torch.ones_like(future)), expected)
    assert expected.min() == 1.0
    assert expected[0].max() == 1.2
    assert expected[1].max() == 1.0


def test_a_weight_inside_the_range_is_the_exponential() -> None:
    assert weights([0.1, -0.1], [1.0, 1.0], [1.0, -1.0], clip_low=0.2) == pytest.approx(
        [math.exp(0.1), math.exp(-0.1)], rel=1e-15
    )


def test_safety_acts_strictly_above_its_ratio_and_on_negative_advantages_only() -> None:
    future = [1.0] * 5
    ratio = [10.0, 10.001, 10.001, 10.001, 2.0]
    advantages = [-1.0, -1.0, 0.0, 1.0, -1.0]
    assert weights(future, ratio, advantages) == [1.2, 1.0, 1.2, 1.2, 1.2]
    assert weights(future, ratio, advantages, safety_ratio=None) == [1.2] * 5


def test_safety_bounds_the_weight_from_below_too() -> None:
    assert weights([-9.0, -9.0], [20.0, 1.0], [-1.0, -1.0], clip_low=1.0) == [0.8, pytest.approx(math.exp(-9.0))]


def test_a_safety_range_of_one_is_the_reset_of_the_paper() -> None:
    batch = make_steep_batch(1)
    out, _ = batch.loss(FIPOLossConfig.paper_7b(safety_range=(1.0, 1.0), filter_extremes=False))
    ratio = (batch.log_prob - batch.old_log_prob).exp()
    at_risk = (batch.mask > 0) & (batch.advantages < 0) & (ratio > 3.0)
    assert at_risk.any()
    assert (out.influence_weights[at_risk] == 1.0).all()
    unsafe, _ = batch.loss(FIPOLossConfig.paper_7b(safety_ratio=None, filter_extremes=False))
    assert (unsafe.influence_weights[at_risk] != 1.0).all()
    assert torch.equal(out.influence_weights[~at_risk], unsafe.influence_weights[~at_risk])


def test_an_overflowing_exponential_ends_at_the_upper_bound() -> None:
    assert weights([1e4, -1e4], [1.0, 1.0], [1.0, 1.0], clip_low=0.3, clip_high=0.5) == [1.5, 0.7]


def test_weights_are_detached() -> None:
    batch = make_batch(2, 2, 5)
    future = batch.log_prob.clone().requires_grad_()
    assert not influence_weights(future, future.exp(), batch.advantages).requires_grad
    assert not influence_weights(future, future.exp(), batch.advantages, safety_ratio=None).requires_grad


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"ratio has shape \(1, 3\), expected \(2, 3\) like future_kl"):
        influence_weights(torch.zeros(2, 3), torch.ones(1, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"advantages has shape \(2,\), expected \(2, 3\)"):
        influence_weights(torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2))
