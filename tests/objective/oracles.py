"""Slow float64 references, written from the definitions and sharing no code with `fipo.objective`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul

import torch
from torch import Tensor

from fipo import FIPOLossConfig

Rows = list[list[float]]


def exp(x: float) -> float:
    return math.inf if x > 709.0 else math.exp(x)


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def as_rows(values: Tensor) -> Rows:
    return values.detach().double().tolist()


def as_tensor(rows: Rows, like: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(like.shape)


def future_kl_terms(log_ratio: Tensor, mask: Tensor, max_ratio: float | None, log_ratio_clamp: float = 20.0) -> Rows:
    """M_k · mask_k · Δ_k; what stands outside the mask is not touched."""
    terms = []
    for shift_row, mask_row in zip(as_rows(log_ratio), as_rows(mask)):
        row = []
        for shift, inside in zip(shift_row, mask_row):
            bounded = clip(shift, -log_ratio_clamp, log_ratio_clamp) if inside else 0.0
            row.append(bounded if inside and (max_ratio is None or exp(bounded) <= max_ratio) else 0.0)
        terms.append(row)
    return terms


def loop_discounted_sum(
    rows: Rows, half_life: float, *, start: str = "include_current", window: int | None = None
) -> Rows:
    """Σ_k γ^(k−t)·x_k over the k that `start` and `window` allow, one t after the other."""
    first = 0 if start == "include_current" else 1
    result = []
    for row in rows:
        powers = [2.0 ** (-distance / half_life) for distance in range(len(row))]
        reach = len(row) if window is None else window
        result.append(
            [
                float(sum(map(mul, powers[first:reach], row[t + first : min(t + reach, len(row))])))
                for t in range(len(row))
            ]
        )
    return result


def loop_future_kl(
    log_ratio: Tensor,
    mask: Tensor,
    half_life: float,
    max_ratio: float | None,
    *,
    start: str = "include_current",
    window: int | None = None,
    average: bool = False,
    log_ratio_clamp: float = 20.0,
    absolute: bool = False,
) -> Tensor:
    """FutureKL_t; with `absolute` the same sum of magnitudes, the scale that rounding errors are measured on."""
    terms = future_kl_terms(log_ratio, mask, max_ratio, log_ratio_clamp)
    if absolute:
        terms = [[abs(value) for value in row] for row in terms]
    total = loop_discounted_sum(terms, half_life, start=start, window=window)
    if average:
        counts = [[float(inside != 0) for inside in row] for row in as_rows(mask)]
        weight = loop_discounted_sum(counts, half_life, start=start, window=window)
        total = [[a / w if w > 0 else 0.0 for a, w in zip(*rows)] for rows in zip(total, weight)]
    return as_tensor(total, log_ratio)


def matrix_future_kl(
    log_ratio: Tensor,
    mask: Tensor,
    half_life: float,
    max_ratio: float | None,
    *,
    start: str = "include_current",
    window: int | None = None,
    average: bool = False,
    log_ratio_clamp: float = 20.0,
) -> Tensor:
    """FutureKL as one product with the whole (T, T) matrix of discounts."""
    inside = mask.bool()
    shift = log_ratio.detach().double().masked_fill(~inside, 0.0).clamp(-log_ratio_clamp, log_ratio_clamp)
    if max_ratio is not None:
        shift = shift * (shift.exp() <= max_ratio)
    steps = torch.arange(log_ratio.shape[1], dtype=torch.float64)
    distance = steps[None, :] - steps[:, None]
    reachable = distance >= (0 if start == "include_current" else 1)
    if window is not None:
        reachable &= distance < window
    decay = torch.where(reachable, torch.exp2(-distance.clamp(min=0) / half_life), 0.0)
    total = torch.einsum("tk,bk->bt", decay, shift)
    if average:
        weight = torch.einsum("tk,bk->bt", decay, inside.double())
        total = torch.where(weight > 0, total / weight, 0.0)
    return total


@dataclass(frozen=True)
class LoopLoss:
    """What `loop_loss` finds; `magnitude` is the loss with every token loss made positive."""

    loss: float
    magnitude: float
    grad: Tensor
    future_kl: Tensor
    influence_weights: Tensor
    kept: list[bool]
    clipped: Tensor
    dual_clipped: Tensor


def loop_loss(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    mask: Tensor,
    config: FIPOLossConfig,
    rollout_is_weights: Tensor | None = None,
    denominator: float | None = None,
) -> LoopLoss:
    """The loss and its gradient by hand, token by token; reads the fields of `config`, none of its properties."""
    inside = as_rows(mask)
    shifts = as_rows(log_prob.double() - old_log_prob.double())
    future = loop_future_kl(
        as_tensor(shifts, log_prob),
        mask,
        config.half_life,
        config.clip_ratio_c if config.filter_extremes else None,
        start=config.start,
        window=config.window,
        average=config.average,
        log_ratio_clamp=config.log_ratio_clamp,
    )
    rows, length = log_prob.shape
    losses = [[0.0] * length for _ in range(rows)]
    slopes = [[0.0] * length for _ in range(rows)]
    weights = [[0.0] * length for _ in range(rows)]
    clipped = torch.zeros(rows, length, dtype=torch.bool)
    dual_clipped = torch.zeros(rows, length, dtype=torch.bool)
    kept = []
    for b in range(rows):
        past_limit = 0
        for t in range(length):
            low, high = 1.0 - config.influence_clip_low, 1.0 + config.influence_clip_high
            f = clip(exp(future[b, t].item()), low, high)
            weights[b][t] = f
            if not inside[b][t]:
                continue
            raw = shifts[b][t]
            r = exp(clip(raw, -config.log_ratio_clamp, config.log_ratio_clamp))
            a = advantages[b, t].item()
            if config.safety_ratio is not None and a < 0 and r > config.safety_ratio:
                weights[b][t] = f = clip(f, *config.safety_range)
            past_limit += a < 0 and r > config.clip_ratio_c
            weighted = a * f
            bounded = clip(r, 1.0 - config.clip_ratio_low, 1.0 + config.clip_ratio_high)
            loss = max(-weighted * r, -weighted * bounded)
            clipped[b, t] = -weighted * bounded > -weighted * r
            slope = 0.0 if clipped[b, t] else -weighted
            if weighted < 0 and loss > -weighted * config.clip_ratio_c:
                dual_clipped[b, t] = True
                loss, slope = -weighted * config.clip_ratio_c, 0.0
            correction = 1.0 if rollout_is_weights is None else rollout_is_weights.expand_as(log_prob)[b, t].item()
            losses[b][t] = loss * correction
            # d r / d log_prob is r, and 0 where the log ratio is clamped.
            slopes[b][t] = slope * r * correction if abs(raw) <= config.log_ratio_clamp else 0.0
        kept.append(config.max_dual_clipped is None or past_limit <= config.max_dual_clipped)

    counted = [sum(x != 0 for x in row) if keep else 0 for row, keep in zip(inside, kept)]
    if config.loss_agg_mode == "token-mean":
        scales = [1.0] * rows
        units = sum(counted)
    else:
        units = sum(count > 0 for count in counted)
        divisor = {"seq-mean-token-sum": 1.0, "seq-mean-token-sum-norm": float(config.loss_norm_length or 0)}
        scales = [1.0 / divisor.get(config.loss_agg_mode, count or 1.0) for count in counted]
    if denominator is None:
        denominator = max(units, 1)
    scales = [scale * keep / denominator for scale, keep in zip(scales, kept)]
    return LoopLoss(
        loss=sum(scale * sum(row) for scale, row in zip(scales, losses)),
        magnitude=sum(scale * sum(map(abs, row)) for scale, row in zip(scales, losses)),
        grad=as_tensor([[scale * x for x in row] for scale, row in zip(scales, slopes)], log_prob),
        future_kl=future,
        influence_weights=as_tensor(weights, log_prob),
        kept=kept,
        clipped=clipped,
        dual_clipped=dual_clipped,
    )
