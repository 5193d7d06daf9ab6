"""Influence weights: how much of its advantage each token keeps (FIPO, arXiv 2603.19835)."""

from __future__ import annotations

import torch
from torch import Tensor

# exp() of more than this is infinite in float32, and infinity times an advantage of 0 is NaN.
LARGEST_EXPONENT = 80.0


def raw_influence(future_kl: Tensor) -> Tensor:
    """exp(FutureKL_t), the weight before clip and safety; FutureKL above 80 counts as 80."""
    return future_kl.clamp(max=LARGEST_EXPONENT).exp()


def influence_weights(
    future_kl: Tensor,
    ratio: Tensor,
    advantages: Tensor,
    *,
    clip_low: float = 0.0,
    clip_high: float = 0.2,
    safety_ratio: float | None = 10.0,
    safety_range: tuple[float, float] = (0.8, 1.0),
) -> Tensor:
    """f_t = clip(exp(FutureKL_t), 1 − clip_low, 1 + clip_high), capped where a bad token grew too likely.

    Args:
        future_kl: FutureKL_t, (B, T).
        ratio: r_t = π_θ / π_old of each token, (B, T).
        advantages: A_t before weighting, (B, T).
        clip_low: ε_f,low in [0, 1].
        clip_high: ε_f,high ≥ 0.
        safety_ratio: where A_t < 0 and r_t > safety_ratio, f_t is clamped to `safety_range`; None: nowhere.
        safety_range: published code (0.8, 1.0); the paper's "reset to 1" is (1.0, 1.0).

    Returns:
        f_t, (B, T), detached: the weight scales the advantage and is not itself optimised.

    Raises:
        ValueError: shapes that differ.
    """
    for name, tensor in (("ratio", ratio), ("advantages", advantages)):
        if tensor.shape != future_kl.shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, expected {tuple(future_kl.shape)} like future_kl"
            )
    with torch.no_grad():
        weights = raw_influence(future_kl).clamp(1.0 - clip_low, 1.0 + clip_high)
        if safety_ratio is None:
            return weights
        at_risk = (advantages < 0) & (ratio > safety_ratio)
        return torch.where(at_risk, weights.clamp(*safety_range), weights)
