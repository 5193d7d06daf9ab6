from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from fipo import FIPOLossConfig
from fipo.objective.metrics import masked_mean, masked_quantiles, masked_range

from .batches import Batch, batches, configs, make_batch, make_steep_batch
from .oracles import clip, exp, loop_loss

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.995, 0.999, 1.0)
ORDER_STATISTICS = {
    *(f"actor/neg_is_{name}" for name in ("p75", "p995", "p999")),
    *(f"actor/pos_is_{name}" for name in ("p25", "median", "p75", "p995", "p999")),
}


def mean(values: list[float]) -> float:
    return sum(values) / (len(values) + 1e-8)


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low + (high - low) * (position - math.floor(position))


def expected_metrics(batch: Batch, config: FIPOLossConfig) -> dict[str, float]:
    """Every metric from its description, over lists of the tokens inside the mask."""
    oracle = loop_loss(batch.log_prob, batch.old_log_prob, batch.advantages, batch.mask, config)
    inside = batch.mask != 0

    def tokens(values: Tensor) -> list[float]:
        return values[inside].double().tolist()

    clamp = config.log_ratio_clamp
    shifts = [clip(x, -clamp, clamp) for x in tokens(batch.log_prob - batch.old_log_prob)]
    ratios, advantages = [exp(x) for x in shifts], tokens(batch.advantages)
    future, weights = tokens(oracle.future_kl), tokens(oracle.influence_weights)
    raw = [exp(x) for x in future]
    lower, upper = 1.0 - config.influence_clip_low, 1.0 + config.influence_clip_high
    at_upper = mean([weight >= upper - 1e-7 for weight in weights])
    at_lower = mean([weight <= lower + 1e-7 for weight in weights])
    neg = [r for r, a in zip(ratios, advantages) if a < 0]
    pos = [r for r, a in zip(ratios, advantages) if a > 0]
    present = inside.any(dim=1).tolist()

    def share(first: float, last: float) -> float:
        return sum(first <= r < last for r in neg) / (len(ratios) + 1e-8)

    expected = {
        "pg_loss": oracle.loss,
        "pg_clipfrac": mean(tokens(oracle.clipped)),
        "pg_clipfrac_lower": mean(tokens(oracle.dual_clipped)),
        "ppo_kl": -mean(shifts),
        "filtered_responses": mean([not keep for keep, some in zip(oracle.kept, present) if some]),
        "influence_weights_mean": mean(weights),
        "influence_weights_min": min(weights, default=0.0),
        "influence_weights_max": max(weights, default=0.0),
        "influence_weights_mean_raw": mean(raw),
        "raw_influence_weights_min": min(raw, default=0.0),
        "raw_influence_weights_max": max(raw, default=0.0),
        "IW_overall_clip_ratio": at_upper + at_lower,
        "IW_upper_clip_ratio": at_upper,
        "IW_lower_clip_ratio": at_lower,
        "future_kl_mean": mean(future),
        "future_kl_std": statistics.pstdev(future) if future else 0.0,
        "neg_ratio_2_3": share(2.0, 3.0),
        "neg_ratio_3_4": share(3.0, 4.0),
        "neg_ratio_4_10": share(4.0, config.clip_ratio_c),
        "neg_is_max": max(neg, default=0.0),
        "pos_is_max": max(pos, default=0.0),
        "pos_is_min": min(pos, default=0.0),
        "pos_mini_frac": sum(r < 1e-3 for r in pos) / (len(ratios) + 1e-8),
    }
    for side, values, names in (
        ("neg", neg, {"p75": 0.75, "p995": 0.995, "p999": 0.999}),
        ("pos", pos, {"p25": 0.25, "median": 0.5, "p75": 0.75, "p995": 0.995, "p999": 0.999}),
    ):
        expected |= {f"{side}_is_{name}": quantile(values, q) if values else 0.0 for name, q in names.items()}
    return {f"actor/{name}": value for name, value in expected.items()}


@settings(max_examples=200, deadline=None)
@given(batch=batches(extremes=False), config=configs())
def test_every_metric_is_its_description(batch: Batch, config: FIPOLossConfig) -> None:
    out, _ = batch.loss(config)
    # 1e-7 for the loss and the spread: the guard against empty masks, and the cancellation in a variance near 0.
    expected = expected_metrics(batch, config)
    assert set(out.metrics) == set(expected)
    found = {name: value.item() for name, value in out.metrics.items()}
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_a_steep_batch_moves_every_metric() -> None:
    """Otherwise the comparison above could hold between zeros."""
    config = FIPOLossConfig.paper_7b(half_life=2.0, clip_ratio_c=6.0)
    out, _ = make_steep_batch(0, rows=40, mask="padded", spread=2.5).loss(config)
    assert {name for name, value in out.metrics.items() if value.item() == 0.0} == set()


def test_metrics_are_detached_scalars() -> None:
    out, _ = make_batch(1).loss()
    assert len(out.metrics) == 31
    for name, value in out.metrics.items():
        assert name.startswith("actor/")
        assert value.dim() == 0
        assert not value.requires_grad


def test_order_statistics_are_left_out_on_request() -> None:
    full, _ = make_batch(2).loss()
    short, _ = make_batch(2).loss(quantiles=False)
    assert set(full.metrics) - set(short.metrics) == ORDER_STATISTICS
    for name, value in short.metrics.items():
        assert torch.equal(value, full.metrics[name])


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.0, 10.0])
def test_ratio_intervals_hold_their_lower_end(ratio: float) -> None:
    """exp(log r) can land on either side of r; the log ratio above decides which interval is meant."""
    shift = math.log(ratio)
    while math.exp(shift) < ratio:
        shift = math.nextafter(shift, 9.0)
    below = shift
    while math.exp(below) >= ratio:
        below = math.nextafter(below, 0.0)
    log_prob = torch.tensor([[shift, below, shift, shift]], dtype=torch.float64)
    advantages = torch.tensor([[-1.0, -1.0, 1.0, 0.0]], dtype=torch.float64)
    batch = Batch(log_prob, torch.zeros_like(log_prob), advantages, torch.ones_like(log_prob))
    out, _ = batch.loss()
    expected = expected_metrics(batch, FIPOLossConfig())
    for name in ("neg_ratio_2_3", "neg_ratio_3_4", "neg_ratio_4_10"):
        assert out.metrics[f"actor/{name}"].item() == pytest.approx(expected[f"actor/{name}"], abs=1e-7)
    shares = [expected[f"actor/neg_ratio_{name}"] for name in ("2_3", "3_4", "4_10")]
    assert sum(shares) == pytest.approx({2.0: 0.25, 10.0: 0.25}.get(ratio, 0.5), abs=1e-7)


def test_the_filter_share_counts_responses_that_have_tokens() -> None:
    log_prob = torch.full((4, 3), 3.0, dtype=torch.float64)
    log_prob[1] = 0.0
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]])
    batch = Batch(log_prob, torch.zeros_like(log_prob), -torch.ones_like(log_prob), mask)
    out, grad = batch.loss()
    assert out.metrics["actor/filtered_responses"].item() == pytest.approx(1 / 3, abs=1e-7)
    assert not grad[0].any()


@pytest.mark.parametrize("count", [1, 2, 3, 10, 999, 1000, 1001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantiles_are_those_of_torch(count: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(count)
    values = torch.randn(3, count, generator=generator, dtype=torch.float64).exp().to(dtype)
    mask = torch.zeros(3, count)
    mask.view(-1)[torch.randperm(3 * count, generator=generator)[:count]] = 1.0
    expected = torch.quantile(values[mask > 0], torch.tensor(QUANTILES, dtype=dtype))
    poisoned = torch.where(mask > 0, values, math.nan)
    found = torch.stack(masked_quantiles(poisoned, mask, QUANTILES))
    assert found.dtype == dtype
    tolerance = 1e-14 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_an_empty_mask_gives_zeros(shape: tuple[int, int]) -> None:
    values, mask = torch.full(shape, math.nan), torch.zeros(shape)
    assert masked_mean(values, mask).item() == 0.0
    assert [x.item() for x in masked_range(values, mask)] == [0.0, 0.0]
    assert [x.item() for x in masked_quantiles(values, mask, QUANTILES)] == [0.0] * len(QUANTILES)


@pytest.mark.parametrize("values", [[3.0, -2.0, 5.0], [-4.0, -1.0, -2.0], [7.0, 9.0, 8.0]])
def test_mean_and_range_look_inside_the_mask_alone(values: list[float]) -> None:
    rows = torch.tensor([[*values, math.nan], [math.inf, -math.inf, 1e9, -1e9]], dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]], dtype=torch.float64)
    assert [x.item() for x in masked_range(rows, mask)] == [min(values), max(values)]
    assert masked_mean(rows, mask).item() == pytest.approx(statistics.fmean(values), rel=1e-8)


def test_weights_count_as_clipped_up_to_the_rounding_of_their_bound() -> None:
    """1 − 0.2 and 1 + 0.2 are no floats: a clipped float32 weight lies beside its bound."""
    shift = torch.tensor([[-1.0, 0.05, 1.0]], dtype=torch.float32)
    batch = Batch(shift, torch.zeros_like(shift), torch.ones_like(shift), torch.ones_like(shift))
    out, _ = batch.loss(FIPOLossConfig.paper_7b(window=1))
    assert out.metrics["actor/IW_upper_clip_ratio"].item() == pytest.approx(1 / 3, rel=1e-6)
    assert out.metrics["actor/IW_lower_clip_ratio"].item() == pytest.approx(1 / 3, rel=1e-6)
    assert out.metrics["actor/IW_overall_clip_ratio"].item() == pytest.approx(2 / 3, rel=1e-6)
