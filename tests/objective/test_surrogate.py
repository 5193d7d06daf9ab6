from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fipo import FIPOLossConfig
from fipo.objective import aggregate_loss, clipped_surrogate, loss_units
from fipo.objective.surrogate import Surrogate, keep_responses

from .batches import MODES, make_batch

CONFIG = FIPOLossConfig(clip_ratio_low=0.25, clip_ratio_high=0.5, clip_ratio_c=4.0)


def double(values: list[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def surrogate(ratio: float, advantage: float, config: FIPOLossConfig = CONFIG) -> tuple[Surrogate, float]:
    leaf = double([[ratio]]).requires_grad_()
    result = clipped_surrogate(leaf, double([[advantage]]), config)
    result.token_loss.sum().backward()
    assert leaf.grad is not None
    return result, leaf.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope", "clipped", "dual_clipped"),
    [
        (1.0, 2.0, -2.0, -2.0, False, False),
        (1.25, 2.0, -2.5, -2.0, False, False),
        (2.0, 2.0, -3.0, 0.0, True, False),
        (0.5, 2.0, -1.0, -2.0, False, False),
        (9.0, 2.0, -3.0, 0.0, True, False),
        (1.0, -2.0, 2.0, 2.0, False, False),
        (0.5, -2.0, 1.5, 0.0, True, False),
        (2.0, -2.0, 4.0, 2.0, False, False),
        (4.0, -2.0, 8.0, 2.0, False, False),
        (5.0, -2.0, 8.0, 0.0, False, True),
        (5.0, 0.0, 0.0, 0.0, False, False),
    ],
)
def test_each_branch_has_its_loss_and_slope(
    ratio: float, advantage: float, loss: float, slope: float, clipped: bool, dual_clipped: bool
) -> None:
    result, found_slope = surrogate(ratio, advantage)
    # On the ceiling itself loss and ceiling are equal, and the slope is split between them.
    assert found_slope == (slope if ratio != 4.0 else slope / 2)
    assert (result.token_loss.item(), result.clipped.item(), result.dual_clipped.item()) == (
        loss,
        clipped,
        dual_clipped,
    )


def test_the_dual_clip_bounds_the_loss_of_negative_advantages_only() -> None:
    ratio = torch.logspace(-3, 8, 200, dtype=torch.float64)
    bad = clipped_surrogate(ratio, torch.full_like(ratio, -1.5), CONFIG).token_loss
    assert bad.max() == 1.5 * 4.0
    assert bad.min() == 1.5 * 0.75
    good = clipped_surrogate(ratio, torch.full_like(ratio, 1.5), CONFIG).token_loss
    assert good.min() == -1.5 * 1.5
    assert good.max() <= 0.0


def test_an_infinite_dual_clip_never_acts() -> None:
    result, slope = surrogate(1e9, -2.0, CONFIG.replace(clip_ratio_c=math.inf))
    assert result.token_loss.item() == 2e9
    assert slope == 2.0
    assert not result.dual_clipped.item()
    zero, _ = surrogate(1e9, 0.0, CONFIG.replace(clip_ratio_c=math.inf))
    assert zero.token_loss.item() == 0.0


LOSSES = double([[1.0, 2.0, 6.0, math.nan], [5.0, math.nan, math.inf, -math.inf], [math.nan] * 4, [2.0, 2.0, 2.0, 2.0]])
MASK = double([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("token-mean", (9 + 5 + 8) / 8),
        ("seq-mean-token-sum", (9 + 5 + 8) / 3),
        ("seq-mean-token-mean", (3 + 5 + 2) / 3),
        ("seq-mean-token-sum-norm", (9 + 5 + 8) / 16 / 3),
    ],
)
def test_each_mode_is_its_definition(mode: Any, expected: float) -> None:
    config = FIPOLossConfig(loss_agg_mode=mode, loss_norm_length=16)
    # The guard against empty masks costs 1e-8 relative at most.
    assert aggregate_loss(LOSSES, MASK, config).item() == pytest.approx(expected, rel=3e-8)
    units = 8 if mode == "token-mean" else 3
    assert loss_units(MASK, config).item() == units
    assert loss_units(MASK.bool(), config).item() == units
    for denominator in (units * 2, float(units * 2), torch.tensor(units * 2)):
        assert aggregate_loss(LOSSES, MASK, config, denominator).item() == pytest.approx(expected / 2, rel=3e-8)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_an_empty_mask_gives_zero_and_no_gradient(mode: Any, shape: tuple[int, int]) -> None:
    config = FIPOLossConfig(loss_agg_mode=mode, loss_norm_length=16)
    losses = torch.full(shape, math.nan, dtype=torch.float64, requires_grad=True)
    total = aggregate_loss(losses, torch.zeros(shape, dtype=torch.float64), config)
    assert total.item() == 0.0
    assert loss_units(torch.zeros(shape), config).item() == 0
    total.backward()
    assert losses.grad is not None
    assert losses.grad.abs().sum() == 0.0


@pytest.mark.parametrize(("limit", "kept"), [(0, [0, 2, 3]), (1, [0, 1, 2, 3]), (None, [0, 1, 2, 3, 4])])
def test_a_response_is_kept_up_to_the_limit(limit: int | None, kept: list[int]) -> None:
    ratio = double([[4.0, 1.0, 1.0], [5.0, 1.0, 5.0], [5.0, 5.0, 5.0], [5.0, 5.0, 1.0], [5.0, 9.0, 1.0]])
    advantages = double([[-1, -1, -1], [-1, -1, -1], [1, 0, 1], [-1, -1, -1], [-1, -1, -1]])
    mask = double([[1, 1, 1], [1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 1, 1]])
    found = keep_responses(ratio, advantages, mask, CONFIG.replace(max_dual_clipped=limit))
    assert found.dtype == torch.bool
    assert found.nonzero().flatten().tolist() == kept


def test_the_filter_looks_at_the_advantage_before_its_weight() -> None:
    """A weight of 0 hides a token from the dual clip, but the ratio is as bad as before."""
    batch = make_batch(1, 4, 20, spread=3.0, mask="full")
    config = FIPOLossConfig(influence_clip_low=1.0, safety_range=(0.0, 0.0), filter_extremes=False)
    out, _ = batch.loss(config)
    past_limit = ((batch.advantages < 0) & (batch.log_prob - batch.old_log_prob > math.log(10.0))).sum(dim=1)
    expected = (past_limit > 1).double().mean().item()
    assert expected > 0
    assert out.metrics["actor/filtered_responses"].item() == pytest.approx(expected, abs=1e-7)
    assert out.metrics["actor/pg_clipfrac_lower"].item() == 0.0


def test_the_ratio_metrics_look_at_the_advantage_before_its_weight() -> None:
    batch = make_batch(1, 4, 20, spread=3.0, mask="full")
    out, _ = batch.loss(FIPOLossConfig(influence_clip_low=1.0, safety_range=(0.0, 0.0)))
    worst = (batch.log_prob - batch.old_log_prob)[batch.advantages < 0].max().exp()
    assert worst > 10.0
    assert torch.equal(out.metrics["actor/neg_is_max"], worst)
