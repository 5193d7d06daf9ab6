"""Influence weights: how much of its advantage each token keeps (section 3.3, eq. 9-10)."""

from __future__ import annotations

import torch
from torch import Tensor


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
    """
    with torch.no_grad():
        weights = future_kl.exp().clamp(1.0 - clip_low, 1.0 + clip_high)
        if safety_ratio is None:
            return weights
        at_risk = (advantages < 0) & (ratio > safety_ratio)
        return torch.where(at_risk, weights.clamp(*safety_range), weights)
