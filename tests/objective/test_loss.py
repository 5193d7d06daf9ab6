from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fipo import FIPOLossConfig, fipo_loss, future_kl
from fipo.objective import loss_units

from .batches import EXTREMES, MODES, Batch, batches, configs, make_batch, make_steep_batch, scatter
from .oracles import loop_loss

PAPER_7B = FIPOLossConfig.paper_7b()


def assert_same(first: tuple[Any, Tensor], second: tuple[Any, Tensor]) -> None:
    """Two results of `Batch.loss` are equal to the last bit."""
    (left, left_grad), (right, right_grad) = first, second
    assert torch.equal(left.loss, right.loss)
    assert torch.equal(left_grad, right_grad)
    assert torch.equal(left.future_kl, right.future_kl)
    assert torch.equal(left.influence_weights, right.influence_weights)
    assert left.metrics.keys() == right.metrics.keys()
    for name, value in left.metrics.items():
        assert torch.equal(value, right.metrics[name]), name


def assert_matches_oracle(batch: Batch, config: FIPOLossConfig, **options: Any) -> None:
    out, grad = batch.loss(config, **{k: v for k, v in options.items() if v is not None})
    oracle = loop_loss(
        batch.log_prob,
        batch.old_log_prob,
        batch.advantages,
        batch.mask,
        config,
        options.get("rollout_is_weights"),
        options.get("loss_denominator"),
    )
    # Without a denominator the guard against empty masks costs 1e-8 of the loss at most.
    tolerance = 2.1e-8 if options.get("loss_denominator") is None else 1e-9
    if config.loss_agg_mode == "seq-mean-token-mean":
        tolerance = 2.1e-8
    assert abs(out.loss.item() - oracle.loss) <= tolerance * oracle.magnitude
    torch.testing.assert_close(grad, oracle.grad, rtol=tolerance, atol=1e-14)
    inside = batch.mask != 0
    torch.testing.assert_close(out.influence_weights[inside], oracle.influence_weights[inside], rtol=1e-9, atol=0)
    torch.testing.assert_close(out.future_kl, oracle.future_kl, rtol=1e-9, atol=1e-9)


@settings(max_examples=400, deadline=None)
@given(batch=batches(), config=configs(), weighted=st.booleans(), denominator=st.sampled_from((None, 3.0, 1000.0)))
def test_loss_and_gradient_are_those_of_the_loop(
    batch: Batch, config: FIPOLossConfig, weighted: bool, denominator: float | None
) -> None:
    weights = torch.linspace(0.5, 2.0, batch.mask.numel(), dtype=torch.float64).view_as(batch.mask)
    assert_matches_oracle(batch, config, rollout_is_weights=weights if weighted else None, loss_denominator=denominator)


def test_the_steep_batch_of_these_tests_reaches_every_branch() -> None:
    batch = make_steep_batch(2)
    oracle = loop_loss(batch.log_prob, batch.old_log_prob, batch.advantages, batch.mask, PAPER_7B)
    inside = batch.mask > 0
    assert oracle.clipped.any()
    assert oracle.dual_clipped.any()
    assert not all(oracle.kept)
    assert any(oracle.kept)
    weights = oracle.influence_weights[inside]
    assert {0.8, 1.0, 1.2} <= {round(x, 12) for x in weights.tolist()}
    assert ((weights > 0.81) & (weights < 1.19) & (weights != 1.0)).any()


# Log ratios for which every weight is at a bound, so that finite differences do not see Future-KL move.
RISING = [0.1, -0.1, 0.22, 0.15, 0.24]
FALLING = [0.1, -0.1, -0.5, -0.15, -0.28]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("denominator", [None, 11.0])
def test_gradients_are_those_of_finite_differences(mode: Any, weighted: bool, denominator: float | None) -> None:
    config = PAPER_7B.replace(
        loss_agg_mode=mode, loss_norm_length=7, clip_ratio_c=2.0, safety_ratio=1.5, max_dual_clipped=None
    )
    shift = torch.tensor([RISING, FALLING, RISING, FALLING, [3.0, 0.6, 1.0, 0.5, 0.3]], dtype=torch.float64)
    sign = torch.tensor([[1.0], [1.0], [-1.0], [-1.0], [-1.0]], dtype=torch.float64)
    mask = torch.ones(5, 5)
    mask[0, 1] = mask[3, 0] = 0
    old = torch.full_like(shift, -1.3)
    is_weights = torch.linspace(0.5, 1.5, 25, dtype=torch.float64).view(5, 5) if weighted else None
    advantages = sign * torch.linspace(0.5, 2.0, 5, dtype=torch.float64)

    def loss(log_prob: Tensor) -> Tensor:
        out = fipo_loss(
            log_prob, old, advantages, mask, config, rollout_is_weights=is_weights, loss_denominator=denominator
        )
        assert {round(x, 12) for x in out.influence_weights[mask > 0].tolist()} == {0.8, 1.0, 1.2}
        return out.loss

    assert torch.autograd.gradcheck(loss, ((old + shift).requires_grad_(),), eps=1e-6, atol=1e-8, rtol=1e-6)


def test_the_gradient_treats_the_weights_as_constants() -> None:
    batch = make_batch(5, spread=0.01)
    out, grad = batch.loss(PAPER_7B)
    weights = out.influence_weights
    assert ((weights > 0.81) & (weights < 1.19) & (weights != 1.0)).any()
    leaf = batch.log_prob.clone().requires_grad_()
    ratio = (leaf - batch.old_log_prob).exp()
    plain = -(ratio * batch.advantages * weights * batch.mask).sum() / (batch.mask.sum() + 1e-8)
    plain.backward()
    assert leaf.grad is not None
    torch.testing.assert_close(grad, leaf.grad, rtol=1e-12, atol=1e-15)


def test_outputs_beside_the_loss_are_detached() -> None:
    batch = make_steep_batch(3)
    advantages = batch.advantages.clone().requires_grad_()
    old = batch.old_log_prob.clone().requires_grad_()
    leaf = batch.log_prob.clone().requires_grad_()
    is_weights = torch.ones_like(leaf, requires_grad=True)
    out = fipo_loss(leaf, old, advantages, batch.mask, PAPER_7B, rollout_is_weights=is_weights)
    assert not out.future_kl.requires_grad
    assert not out.influence_weights.requires_grad
    assert not any(value.requires_grad for value in out.metrics.values())
    out.loss.backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().sum() > 0
    assert advantages.grad is None
    assert old.grad is None
    assert is_weights.grad is None


def test_the_outputs_are_the_pieces_the_package_exports() -> None:
    batch = make_steep_batch(4)
    out, _ = batch.loss(PAPER_7B)
    shift = batch.log_prob - batch.old_log_prob
    torch.testing.assert_close(out.future_kl, future_kl(shift, batch.mask), rtol=0, atol=0)
    assert torch.equal(out.metrics["actor/pg_loss"], out.loss.detach())


def test_no_config_means_the_32b_run() -> None:
    batch = make_steep_batch(5)
    assert_same(batch.loss(), batch.loss(FIPOLossConfig.paper_32b()))
    assert batch.loss()[0].loss != batch.loss(PAPER_7B)[0].loss


@pytest.mark.parametrize("mode", MODES)
def test_the_order_of_responses_does_not_matter(mode: Any) -> None:
    config = PAPER_7B.replace(loss_agg_mode=mode, loss_norm_length=50)
    batch = make_steep_batch(6)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    out, grad = batch.loss(config)
    moved, moved_grad = batch.rows(order).loss(config)
    torch.testing.assert_close(moved.loss, out.loss, rtol=1e-13, atol=0)
    torch.testing.assert_close(moved_grad, grad[order], rtol=1e-13, atol=0)
    torch.testing.assert_close(moved.influence_weights, out.influence_weights[order], rtol=1e-13, atol=0)
    for name, value in out.metrics.items():
        torch.testing.assert_close(moved.metrics[name], value, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("extra", [1, 58, 200])
@pytest.mark.parametrize("changes", [{}, {"window": 9}, {"start": "exclude_current", "average": True}])
def test_padding_on_the_right_does_not_matter(mode: Any, extra: int, changes: dict[str, Any]) -> None:
    config = PAPER_7B.replace(loss_agg_mode=mode, loss_norm_length=50, **changes)
    batch = make_steep_batch(7)
    nan = torch.full((8, extra), math.nan, dtype=torch.float64)
    padded = Batch(
        torch.cat([batch.log_prob, nan], 1),
        torch.cat([batch.old_log_prob, nan], 1),
        torch.cat([batch.advantages, nan], 1),
        torch.cat([batch.mask, torch.zeros_like(nan)], 1),
    )
    out, grad = batch.loss(config)
    longer, longer_grad = padded.loss(config)
    torch.testing.assert_close(longer.loss, out.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(longer_grad[:, :70], grad, rtol=1e-12, atol=1e-16)
    assert not longer_grad[:, 70:].any()
    torch.testing.assert_close(longer.future_kl[:, :70], out.future_kl, rtol=1e-12, atol=1e-12)
    for name, value in out.metrics.items():
        torch.testing.assert_close(longer.metrics[name], value, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("mask", ["holes", "padded", "empty_rows"])
def test_micro_batches_add_up_to_the_mini_batch(mode: Any, size: int, mask: str) -> None:
    config = PAPER_7B.replace(loss_agg_mode=mode, loss_norm_length=50)
    batch = make_steep_batch(9, mask=mask)
    denominator = loss_units(batch.mask, config)
    out, grad = batch.loss(config, loss_denominator=denominator)
    assert 0.0 < out.metrics["actor/filtered_responses"] < 1.0
    parts = [batch.rows(slice(i, i + size)).loss(config, loss_denominator=denominator) for i in range(0, 8, size)]
    total = torch.stack([part.loss for part, _ in parts]).sum()
    torch.testing.assert_close(total, out.loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.cat([g for _, g in parts]), grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_the_denominator_counted_here_is_loss_units_of_the_kept_responses(mode: Any) -> None:
    config = PAPER_7B.replace(loss_agg_mode=mode, loss_norm_length=50)
    batch = make_steep_batch(9, mask="empty_rows", rows=12)
    oracle = loop_loss(batch.log_prob, batch.old_log_prob, batch.advantages, batch.mask, config)
    kept = torch.tensor(oracle.kept).unsqueeze(1)
    assert not kept.all()
    units = loss_units(batch.mask * kept, config)
    assert units < loss_units(batch.mask, config)
    alone, _ = batch.loss(config)
    given_units, _ = batch.loss(config, loss_denominator=units)
    torch.testing.assert_close(alone.loss, given_units.loss, rtol=2e-8, atol=0)


@settings(max_examples=150, deadline=None)
@given(batch=batches(poison=False), config=configs())
def test_what_stands_outside_the_mask_is_never_read(batch: Batch, config: FIPOLossConfig) -> None:
    clean = batch.loss(config)
    dirty = batch.poisoned().loss(config)
    assert_same(dirty, clean)
    assert torch.isfinite(clean[1]).all()
    assert not clean[1][batch.mask == 0].any()


@pytest.mark.parametrize("name", ["log_prob", "old_log_prob", "advantages"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_bad_tensor_outside_the_mask_is_enough_to_show_a_leak(name: str, value: float) -> None:
    batch = make_steep_batch(10)
    tensors = {key: getattr(batch, key) for key in ("log_prob", "old_log_prob", "advantages", "mask")}
    tensors[name] = scatter(tensors[name], batch.mask == 0, (value,))
    for dtype in (torch.float64, torch.float32):
        assert_same(Batch(**tensors).to(dtype).loss(PAPER_7B), batch.to(dtype).loss(PAPER_7B))


def test_bad_rollout_weights_outside_the_mask_do_not_leak() -> None:
    batch = make_steep_batch(10)
    weights = torch.full_like(batch.mask, 1.5)
    dirty = scatter(weights, batch.mask == 0, (math.nan, math.inf))
    assert_same(batch.loss(rollout_is_weights=dirty), batch.loss(rollout_is_weights=weights))


def test_nan_inside_the_mask_is_not_hidden() -> None:
    batch = make_batch(11, mask="full")
    batch.log_prob[0, 0] = math.nan
    assert math.isnan(fipo_loss(batch.log_prob, batch.old_log_prob, batch.advantages, batch.mask).loss.item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_are_computed_in_float32(dtype: torch.dtype) -> None:
    half = make_steep_batch(12).to(dtype)
    out, grad = half.loss(PAPER_7B)
    exact, exact_grad = half.to(torch.float32).loss(PAPER_7B)
    assert out.loss.dtype == out.future_kl.dtype == out.influence_weights.dtype == torch.float32
    assert {value.dtype for value in out.metrics.values()} == {torch.float32}
    assert grad.dtype == dtype
    assert_same((out, grad), (exact, exact_grad.to(dtype)))


def test_float32_and_float64_stay_what_they_are() -> None:
    batch = make_batch(13, 8, 300, spread=0.02)
    for dtype in (torch.float32, torch.float64):
        out, grad = batch.to(dtype).loss()
        assert {out.loss.dtype, out.future_kl.dtype, out.influence_weights.dtype, grad.dtype} == {dtype}
        assert {value.dtype for value in out.metrics.values()} == {dtype}
    single, double = batch.to(torch.float32), batch
    upcast, grad = single.to(torch.float64).loss()
    found, found_grad = single.loss()
    assert found.loss.item() == pytest.approx(upcast.loss.item(), rel=1e-5)
    torch.testing.assert_close(found_grad.double(), grad, rtol=1e-4, atol=1e-9)
    assert double.loss()[0].loss != upcast.loss


def test_the_other_tensors_follow_the_type_of_log_prob() -> None:
    batch = make_batch(14)
    mixed = Batch(batch.log_prob.float(), batch.old_log_prob.float().double(), batch.advantages.half(), batch.mask)
    plain = Batch(mixed.log_prob, mixed.old_log_prob.float(), mixed.advantages.float(), batch.mask)
    weights = torch.full_like(batch.mask, 1.25)
    assert_same(mixed.loss(rollout_is_weights=weights), plain.loss(rollout_is_weights=weights.float()))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.int32, torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", MODES)
def test_masks_of_any_type_mean_the_same(dtype: torch.dtype, mode: Any) -> None:
    config = PAPER_7B.replace(loss_agg_mode=mode, loss_norm_length=50)
    batch = make_steep_batch(15)
    typed = Batch(batch.log_prob, batch.old_log_prob, batch.advantages, batch.mask.to(dtype))
    assert_same(typed.loss(config), batch.loss(config))


def test_one_advantage_per_response_equals_one_per_token() -> None:
    batch = make_steep_batch(16, rows=70)
    one = batch.advantages[:, 0].clone()
    short = Batch(batch.log_prob, batch.old_log_prob, one, batch.mask)
    long = Batch(batch.log_prob, batch.old_log_prob, one.unsqueeze(1).expand(70, 70).contiguous(), batch.mask)
    assert_same(short.loss(PAPER_7B), long.loss(PAPER_7B))


@pytest.mark.parametrize("average", [False, True])
def test_on_policy_every_weight_and_ratio_is_exactly_one(average: bool) -> None:
    batch = make_batch(17)
    same = Batch(batch.old_log_prob, batch.old_log_prob, batch.advantages, batch.mask)
    out, grad = same.loss(PAPER_7B.replace(average=average))
    assert (out.influence_weights == 1.0).all()
    assert (out.future_kl == 0.0).all()
    assert out.metrics["actor/neg_is_max"] == out.metrics["actor/pos_is_min"] == 1.0
    assert out.metrics["actor/ppo_kl"] == 0.0
    tokens = batch.mask.sum() + 1e-8
    assert out.loss.item() == pytest.approx(-((batch.advantages * batch.mask).sum() / tokens).item(), rel=1e-14)
    torch.testing.assert_close(grad, -batch.advantages * batch.mask / tokens, rtol=1e-14, atol=0)
    assert_same((out, grad), same.loss(PAPER_7B.replace(average=average, half_life=1.0)))


@pytest.mark.parametrize("make", [FIPOLossConfig.paper_32b, FIPOLossConfig.paper_7b])
def test_a_range_of_one_is_dapo_to_the_last_bit(make: Any) -> None:
    batch = make_steep_batch(18)
    uniform = make(influence_clip_low=0.0, influence_clip_high=0.0, max_dual_clipped=None)
    assert uniform.is_uniform
    assert_same(batch.loss(uniform), batch.loss(FIPOLossConfig.dapo()))
    assert batch.loss(make(max_dual_clipped=None))[0].loss != batch.loss(FIPOLossConfig.dapo())[0].loss


def test_dapo_is_the_plain_clipped_token_mean() -> None:
    batch = make_steep_batch(19)
    ratio = (batch.log_prob - batch.old_log_prob).exp()
    gain = torch.minimum(ratio * batch.advantages, ratio.clamp(0.8, 1.28) * batch.advantages)
    gain = torch.where(batch.advantages < 0, gain.maximum(10.0 * batch.advantages), gain)
    expected = -(gain * batch.mask).sum() / batch.mask.sum()
    assert batch.loss(FIPOLossConfig.dapo())[0].loss.item() == pytest.approx(expected.item(), rel=2e-8)


def test_grpo_is_the_mean_of_response_means_without_a_dual_clip() -> None:
    batch = make_steep_batch(20, mask="full")
    ratio = (batch.log_prob - batch.old_log_prob).exp()
    assert (ratio[batch.advantages < 0] > 10.0).any()
    gain = torch.minimum(ratio * batch.advantages, ratio.clamp(0.8, 1.2) * batch.advantages)
    expected = -gain.mean(dim=1).mean()
    assert batch.loss(FIPOLossConfig.grpo())[0].loss.item() == pytest.approx(expected.item(), rel=2e-8)


def test_a_uniform_config_has_weights_of_one_and_another_has_not() -> None:
    batch = make_steep_batch(21)
    tilted = FIPOLossConfig(influence_clip_high=0.0, safety_range=(0.5, 0.9), safety_ratio=2.0)
    assert not tilted.is_uniform
    inside = batch.mask > 0
    assert (batch.loss(tilted)[0].influence_weights[inside] == 0.9).any()
    for config in (FIPOLossConfig.dapo(), FIPOLossConfig.grpo(), tilted.replace(safety_range=(0.9, 1.0))):
        assert config.is_uniform
        assert (batch.loss(config)[0].influence_weights == 1.0).all()


def test_no_token_loses_more_than_the_dual_clip() -> None:
    batch = make_batch(22, 5, 50, spread=0.5, mask="full", extremes=True)
    config = PAPER_7B.replace(max_dual_clipped=None, clip_ratio_c=3.0, loss_agg_mode="seq-mean-token-sum")
    for row in range(5):
        for token in range(50):
            one = batch.rows((slice(row, row + 1), slice(token, token + 1)))
            out, grad = one.loss(config, loss_denominator=1)
            weighted = (one.advantages * out.influence_weights).item()
            ceiling = max(-3.0 * weighted, 0.0)
            assert out.loss.item() <= ceiling + 1e-12
            if weighted < 0 and one.log_prob - one.old_log_prob > math.log(3.0):
                assert out.loss.item() == pytest.approx(-3.0 * weighted, rel=1e-14)
                assert grad.item() == 0.0


@pytest.mark.parametrize("mode", MODES)
def test_rollout_weights_multiply_the_token_losses_alone(mode: Any) -> None:
    config = PAPER_7B.replace(loss_agg_mode=mode, loss_norm_length=50)
    batch = make_steep_batch(23)
    plain, plain_grad = batch.loss(config)
    weights = torch.linspace(0.5, 2.0, batch.mask.numel(), dtype=torch.float64).view_as(batch.mask)
    out, grad = batch.loss(config, rollout_is_weights=weights)
    torch.testing.assert_close(grad, plain_grad * weights, rtol=1e-13, atol=0)
    assert out.loss != plain.loss
    assert torch.equal(out.future_kl, plain.future_kl)
    assert torch.equal(out.influence_weights, plain.influence_weights)
    for name in set(plain.metrics) - {"actor/pg_loss"}:
        assert torch.equal(out.metrics[name], plain.metrics[name]), name
    assert_matches_oracle(batch, config, rollout_is_weights=weights)


def test_one_rollout_weight_per_response_equals_one_per_token() -> None:
    batch = make_steep_batch(24)
    weights = torch.linspace(0.5, 2.0, 8, dtype=torch.float64).unsqueeze(1)
    repeated = weights.expand(8, 70).contiguous()
    assert_same(batch.loss(rollout_is_weights=weights), batch.loss(rollout_is_weights=repeated))


def test_more_dual_clipped_tokens_than_allowed_drop_a_response_from_loss_and_count() -> None:
    batch = make_steep_batch(25)
    oracle = loop_loss(batch.log_prob, batch.old_log_prob, batch.advantages, batch.mask, PAPER_7B)
    kept = torch.tensor(oracle.kept)
    assert 0 < kept.sum() < 8
    out, grad = batch.loss(PAPER_7B)
    remaining, remaining_grad = batch.rows(kept).loss(PAPER_7B)
    torch.testing.assert_close(out.loss, remaining.loss, rtol=1e-13, atol=0)
    torch.testing.assert_close(grad[kept], remaining_grad, rtol=1e-13, atol=0)
    assert not grad[~kept].any()
    share = out.metrics["actor/filtered_responses"].item()
    assert share == pytest.approx((~kept).double().mean().item(), rel=1e-8)


def test_without_a_limit_every_response_stays() -> None:
    batch = make_steep_batch(25)
    out, grad = batch.loss(PAPER_7B.replace(max_dual_clipped=None))
    assert out.metrics["actor/filtered_responses"] == 0.0
    assert grad.any(dim=1).all()
    assert_matches_oracle(batch, PAPER_7B.replace(max_dual_clipped=None))


def test_extremes_reach_future_kl_only_without_the_filter() -> None:
    batch = make_batch(26, 1, 6, spread=0.0, mask="full")
    batch.log_prob[0, 4] += 5.0
    filtered, _ = batch.loss(FIPOLossConfig())
    assert filtered.future_kl.abs().max() < 1e-12
    assert filtered.metrics["actor/influence_weights_max"].item() == pytest.approx(1.0, abs=1e-12)
    unfiltered, _ = batch.loss(FIPOLossConfig(filter_extremes=False, half_life=math.inf))
    torch.testing.assert_close(
        unfiltered.future_kl, torch.tensor([[5.0, 5, 5, 5, 5, 0]], dtype=torch.float64), rtol=0, atol=1e-12
    )
    assert unfiltered.metrics["actor/influence_weights_max"].item() == 1.2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (3, 5)])
def test_a_batch_without_response_tokens_has_loss_zero_and_gradient_zero(mode: Any, shape: tuple[int, int]) -> None:
    config = PAPER_7B.replace(loss_agg_mode=mode, loss_norm_length=50)
    nan = torch.full(shape, math.nan)
    out, grad = Batch(nan, nan, nan, torch.zeros(shape)).loss(config)
    assert out.loss.item() == 0.0
    assert not grad.any()
    assert tuple(out.future_kl.shape) == tuple(out.influence_weights.shape) == shape
    assert {value.item() for value in out.metrics.values()} == {0.0}


@pytest.mark.parametrize("clamp", [2.0, 30.0])
def test_one_clamp_holds_for_ratio_and_future_kl(clamp: float) -> None:
    batch = Batch(*(torch.tensor([[x]], dtype=torch.float64) for x in (99.0, 0.0, 1.0, 1.0)))
    out, grad = batch.loss(FIPOLossConfig(log_ratio_clamp=clamp, filter_extremes=False))
    assert out.future_kl.item() == clamp
    assert out.metrics["actor/pos_is_max"].item() == pytest.approx(math.exp(clamp), rel=1e-14)
    assert grad.item() == 0.0


@pytest.mark.parametrize("value", EXTREMES)
def test_extreme_log_ratios_stay_finite(value: float) -> None:
    batch = make_batch(27, 3, 20, mask="full")
    shifted = Batch(batch.old_log_prob + value, batch.old_log_prob, batch.advantages, batch.mask)
    for dtype in (torch.float64, torch.float32):
        out, grad = shifted.to(dtype).loss(PAPER_7B)
        assert torch.isfinite(out.loss)
        assert torch.isfinite(grad).all()
        assert all(torch.isfinite(metric) for metric in out.metrics.values())


def test_the_inputs_are_left_as_they_were() -> None:
    batch = make_steep_batch(28, poison=True)
    tensors = (batch.log_prob, batch.old_log_prob, batch.advantages, batch.mask)
    copies = [tensor.clone() for tensor in tensors]
    batch.loss(PAPER_7B)
    for tensor, copy in zip(tensors, copies):
        torch.testing.assert_close(tensor, copy, rtol=0, atol=0, equal_nan=True)


WRONG_SHAPES = [
    ("old_log_prob", (4, 1), "(4, 3)"),
    ("old_log_prob", (1, 3), "(4, 3)"),
    ("old_log_prob", (3,), "(4, 3)"),
    ("old_log_prob", (4, 4), "(4, 3)"),
    ("advantages", (4, 1), "(4, 3) or (4,)"),
    ("advantages", (3,), "(4, 3) or (4,)"),
    ("advantages", (1,), "(4, 3) or (4,)"),
    ("advantages", (), "(4, 3) or (4,)"),
    ("response_mask", (4,), "(4, 3)"),
    ("response_mask", (4, 1), "(4, 3)"),
    ("response_mask", (3, 4), "(4, 3)"),
    ("rollout_is_weights", (4,), "(4, 3) or (4, 1)"),
    ("rollout_is_weights", (1, 3), "(4, 3) or (4, 1)"),
    ("rollout_is_weights", (1, 1), "(4, 3) or (4, 1)"),
]


@pytest.mark.parametrize(("name", "shape", "expected"), WRONG_SHAPES)
def test_nothing_is_broadcast_silently(name: str, shape: tuple[int, ...], expected: str) -> None:
    names = ("log_prob", "old_log_prob", "advantages", "response_mask", "rollout_is_weights")
    tensors: dict[str, Any] = {key: torch.ones(4, 3) for key in names}
    tensors[name] = torch.ones(shape)
    with pytest.raises(ValueError) as caught:
        fipo_loss(**tensors)
    assert str(caught.value) == f"{name} has shape {shape}, expected {expected} like log_prob"


@pytest.mark.parametrize("shape", [(4, 1), (1, 3)])
def test_a_narrow_log_prob_is_not_broadcast_either(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        fipo_loss(torch.ones(shape), torch.ones(4, 3), torch.ones(4), torch.ones(4, 3))
    assert str(caught.value) == f"old_log_prob has shape (4, 3), expected {shape} like log_prob"


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_log_prob_must_be_two_dimensional(shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape)
    with pytest.raises(ValueError) as caught:
        fipo_loss(tensor, tensor, tensor, tensor)
    assert str(caught.value) == f"log_prob has shape {shape}, expected (B, T)"


@pytest.mark.parametrize("name", ["old_log_prob", "advantages", "response_mask", "rollout_is_weights"])
def test_tensors_on_another_device_are_named(name: str) -> None:
    names = ("log_prob", "old_log_prob", "advantages", "response_mask", "rollout_is_weights")
    tensors: dict[str, Any] = {key: torch.ones(4, 3) for key in names}
    tensors[name] = torch.ones(4, 3, device="meta")
    with pytest.raises(ValueError, match=f"^{name} is on meta, expected cpu like log_prob$"):
        fipo_loss(**tensors)


def test_a_mini_batch_without_tokens_has_loss_zero_with_its_own_units() -> None:
    mask = torch.zeros(2, 3)
    log_prob = torch.zeros(2, 3, requires_grad=True)
    units = loss_units(mask, FIPOLossConfig())
    out = fipo_loss(log_prob, torch.zeros(2, 3), torch.ones(2), mask, loss_denominator=units)
    out.loss.backward()
    assert out.loss.item() == 0.0
    assert log_prob.grad is not None
    assert log_prob.grad.abs().max() == 0


def test_an_unbounded_weight_stays_finite() -> None:
    config = FIPOLossConfig(half_life=math.inf, influence_clip_high=math.inf)
    log_prob = torch.full((2, 300), 2.0, requires_grad=True)
    out = fipo_loss(log_prob, torch.zeros(2, 300), torch.tensor([0.0, 1.0]), torch.ones(2, 300), config)
    assert torch.isfinite(out.loss)
    assert torch.isfinite(out.influence_weights).all()
    assert all(torch.isfinite(value) for value in out.metrics.values())
