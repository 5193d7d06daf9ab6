"""The FIPO loss (arXiv 2603.19835): Future-KL, influence weights, clipped surrogate, aggregation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fipo.objective.config import FIPOLossConfig
from fipo.objective.future_kl import future_kl
from fipo.objective.influence import influence_weights
from fipo.objective.metrics import influence_metrics, masked_mean, ratio_metrics
from fipo.objective.surrogate import Surrogate, aggregate_loss, clipped_surrogate, keep_responses


@dataclass(frozen=True)
class FIPOLossOutput:
    """What `fipo_loss` returns.

    Attributes:
        loss: scalar, differentiable through `log_prob`.
        metrics: detached scalars under the published names (`actor/...`); see `fipo_loss`.
        future_kl: FutureKL_t, (B, T), detached; 0 outside the responses' reach.
        influence_weights: f_t, (B, T), detached.
        counts: how many response tokens there are ("tokens"), and with A < 0 ("negative") and A > 0 ("positive"):
            the weights with which metrics of several calls are averaged. A metric over no token is 0.
    """

    loss: Tensor
    metrics: dict[str, Tensor]
    future_kl: Tensor
    influence_weights: Tensor
    counts: dict[str, Tensor]


def fipo_loss(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    config: FIPOLossConfig | None = None,
    *,
    rollout_is_weights: Tensor | None = None,
    loss_denominator: Tensor | float | None = None,
    quantiles: bool = True,
) -> FIPOLossOutput:
    """Clipped surrogate whose advantages are weighted token by token with f_t.

    Half precisions are computed in float32, float64 stays float64. Values where `response_mask` is 0 are never
    read, so padding may hold anything, NaN included.

    Args:
        log_prob: log π_θ of each sampled token, (B, T), carries the gradient.
        old_log_prob: the same under the policy that the rollout came from, (B, T).
        advantages: A, (B, T), or (B,) for one value per response.
        response_mask: 1 on response tokens, 0 on padding and tool output, (B, T).
        config: settings; None = `FIPOLossConfig()`, the paper's 32B run.
        rollout_is_weights: (B, T) or (B, 1) correction for a rollout engine whose probabilities differ from
            the trainer's; multiplies the token losses and does not enter Future-KL.
        loss_denominator: tokens or responses of the whole mini-batch; see `aggregate_loss`. Given from
            outside it counts filtered responses too, so that the result does not depend on the split.
        quantiles: also compute the metrics that need order statistics.

    Returns:
        Loss, metrics, FutureKL and f_t. Metric keys: those of `influence_metrics` and `ratio_metrics`, and
        `actor/pg_loss`, `actor/pg_clipfrac`, `actor/pg_clipfrac_lower` (dual clip), `actor/ppo_kl` (mean of
        old_log_prob − log_prob), `actor/filtered_responses` (share left out by `max_dual_clipped`).

    Raises:
        ValueError: tensors whose shapes do not agree.
    """
    config = FIPOLossConfig() if config is None else config
    _check_shapes(log_prob, old_log_prob, advantages, response_mask, rollout_is_weights)
    dtype = torch.float64 if log_prob.dtype == torch.float64 else torch.float32
    inside = response_mask != 0
    mask = inside.to(dtype)
    if advantages.dim() == 1:
        advantages = advantages.unsqueeze(-1).expand_as(log_prob)
    advantages = torch.where(inside, advantages.detach().to(dtype), 0.0)
    shift = torch.where(inside, log_prob.to(dtype) - old_log_prob.detach().to(dtype), 0.0)
    log_ratio = shift.clamp(-config.log_ratio_clamp, config.log_ratio_clamp)
    ratio = log_ratio.exp()

    future, weights = _token_credit(log_ratio, ratio.detach(), advantages, mask, config)
    surrogate = clipped_surrogate(ratio, advantages * weights, config)
    token_loss = surrogate.token_loss
    if rollout_is_weights is not None:
        token_loss = token_loss * rollout_is_weights.detach().to(dtype)
    kept = keep_responses(ratio.detach(), advantages, mask, config)
    loss = aggregate_loss(token_loss, mask * kept.unsqueeze(-1), config, loss_denominator)

    with torch.no_grad():
        metrics = _step_metrics(loss, surrogate, log_ratio, mask, kept)
        metrics |= influence_metrics(future, weights, mask, config)
        metrics |= ratio_metrics(ratio, advantages, mask, config, quantiles=quantiles)
        counts = {
            "tokens": inside.sum(),
            "negative": (inside & (advantages < 0)).sum(),
            "positive": (inside & (advantages > 0)).sum(),
        }
    return FIPOLossOutput(loss, metrics, future, weights, counts)


def _token_credit(
    log_ratio: Tensor, ratio: Tensor, advantages: Tensor, mask: Tensor, config: FIPOLossConfig
) -> tuple[Tensor, Tensor]:
    """FutureKL_t and f_t, (B, T) each, detached."""
    future = future_kl(
        log_ratio,
        mask,
        config.half_life,
        config.clip_ratio_c if config.filter_extremes else None,
        start=config.start,
        window=config.window,
        average=config.average,
        log_ratio_clamp=config.log_ratio_clamp,
    )
    weights = influence_weights(
        future,
        ratio,
        advantages,
        clip_low=config.influence_clip_low,
        clip_high=config.influence_clip_high,
        safety_ratio=config.safety_ratio,
        safety_range=config.safety_range,
    )
    return future, weights


def _step_metrics(
    loss: Tensor, surrogate: Surrogate, log_ratio: Tensor, mask: Tensor, kept: Tensor
) -> dict[str, Tensor]:
    has_tokens = mask.sum(dim=-1) > 0
    return {
        "actor/pg_loss": loss.detach(),
        "actor/pg_clipfrac": masked_mean(surrogate.clipped.to(mask.dtype), mask),
        "actor/pg_clipfrac_lower": masked_mean(surrogate.dual_clipped.to(mask.dtype), mask),
        "actor/ppo_kl": masked_mean(-log_ratio.detach(), mask),
        "actor/filtered_responses": masked_mean((~kept).to(mask.dtype), has_tokens.to(mask.dtype)),
    }


def _check_shapes(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    rollout_is_weights: Tensor | None,
) -> None:
    shape = tuple(log_prob.shape)
    if len(shape) != 2:
        raise ValueError(f"log_prob has shape {shape}, expected (B, T)")
    expected: dict[str, tuple[Tensor, list[tuple[int, ...]]]] = {
        "old_log_prob": (old_log_prob, [shape]),
        "advantages": (advantages, [shape, shape[:1]]),
        "response_mask": (response_mask, [shape]),
    }
    if rollout_is_weights is not None:
        expected["rollout_is_weights"] = (rollout_is_weights, [shape, (shape[0], 1)])
    for name, (tensor, shapes) in expected.items():
        if tuple(tensor.shape) not in shapes:
            allowed = " or ".join(map(str, shapes))
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {allowed} like log_prob")
        if tensor.device != log_prob.device:
            raise ValueError(f"{name} is on {tensor.device}, expected {log_prob.device} like log_prob")
