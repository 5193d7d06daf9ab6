"""Scalar metrics of one loss evaluation, under the names of the published code."""

from __future__ import annotations

import torch
from torch import Tensor

from fipo.objective.config import FIPOLossConfig
from fipo.objective.influence import raw_influence
from fipo.objective.surrogate import EMPTY

# A weight this close to its bound counts as clipped: the bound itself may not be a float.
BOUND_TOLERANCE = 1e-7
# A rewarded token whose probability fell below this share of its old one counts in `pos_mini_frac`.
VANISHING_RATIO = 1e-3


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is 1; 0 for an empty mask."""
    return torch.where(mask > 0, values, 0.0).sum() / (mask.sum() + EMPTY)


def masked_range(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest of `values` where `mask` is 1; zeros for an empty mask."""
    chosen = mask > 0
    if values.numel() == 0:
        return values.new_zeros(()), values.new_zeros(())
    some = chosen.any()
    low = torch.where(chosen, values, torch.inf).amin()
    high = torch.where(chosen, values, -torch.inf).amax()
    return torch.where(some, low, 0.0), torch.where(some, high, 0.0)


def masked_quantiles(values: Tensor, mask: Tensor, quantiles: tuple[float, ...]) -> list[Tensor]:
    """Quantiles (linear interpolation) of `values` where `mask` is 1, from one sort, without a host sync."""
    if values.numel() == 0:
        return [values.new_zeros(()) for _ in quantiles]
    chosen = mask > 0
    ordered = torch.where(chosen, values, torch.inf).flatten().sort().values
    count = chosen.sum()
    results = []
    for quantile in quantiles:
        position = quantile * (count - 1).clamp(min=0).to(values.dtype)
        below = position.floor().long()
        above = position.ceil().long()
        value = torch.lerp(ordered[below], ordered[above], position - below)
        results.append(torch.where(count > 0, value, 0.0))
    return results


def influence_metrics(
    future_kl: Tensor, influence: Tensor, response_mask: Tensor, config: FIPOLossConfig
) -> dict[str, Tensor]:
    """Influence weights and Future-KL over the response tokens.

    Keys: `actor/influence_weights_mean|min|max` (f_t as used), `actor/influence_weights_mean_raw`,
    `actor/raw_influence_weights_min|max` (exp(FutureKL), before clip and safety),
    `actor/IW_overall_clip_ratio`, `actor/IW_upper_clip_ratio`, `actor/IW_lower_clip_ratio` (share of tokens
    at a bound), `actor/future_kl_mean|std`.
    """
    raw = raw_influence(future_kl)
    low, high = masked_range(influence, response_mask)
    raw_low, raw_high = masked_range(raw, response_mask)
    lower, upper = config.influence_bounds
    at_upper = influence >= upper - BOUND_TOLERANCE
    at_lower = influence <= lower + BOUND_TOLERANCE
    center = masked_mean(future_kl, response_mask)
    spread = masked_mean((future_kl - center) ** 2, response_mask).sqrt()
    return {
        "actor/influence_weights_mean": masked_mean(influence, response_mask),
        "actor/influence_weights_min": low,
        "actor/influence_weights_max": high,
        "actor/influence_weights_mean_raw": masked_mean(raw, response_mask),
        "actor/raw_influence_weights_min": raw_low,
        "actor/raw_influence_weights_max": raw_high,
        "actor/IW_overall_clip_ratio": masked_mean(at_upper, response_mask) + masked_mean(at_lower, response_mask),
        "actor/IW_upper_clip_ratio": masked_mean(at_upper, response_mask),
        "actor/IW_lower_clip_ratio": masked_mean(at_lower, response_mask),
        "actor/future_kl_mean": center,
        "actor/future_kl_std": spread,
    }


def ratio_metrics(
    ratio: Tensor, advantages: Tensor, response_mask: Tensor, config: FIPOLossConfig, *, quantiles: bool
) -> dict[str, Tensor]:
    """The spread of the ratio r_t on tokens of negative and of positive advantage.

    Keys: `actor/neg_ratio_2_3`, `actor/neg_ratio_3_4`, `actor/neg_ratio_4_10` (shares of all response tokens
    with A < 0 and r in the interval; the last ends at `clip_ratio_c`), `actor/pos_mini_frac` (A > 0 and
    r < 0.001), `actor/neg_is_max`, `actor/pos_is_max|min`; and with `quantiles`
    `actor/neg_is_p75|p995|p999`, `actor/pos_is_p25|median|p75|p995|p999`.
    """
    negative = (response_mask > 0) & (advantages < 0)
    positive = (response_mask > 0) & (advantages > 0)

    def share(condition: Tensor) -> Tensor:
        return masked_mean(condition.to(ratio.dtype), response_mask)

    _, neg_max = masked_range(ratio, negative)
    pos_min, pos_max = masked_range(ratio, positive)
    metrics = {
        "actor/neg_ratio_2_3": share(negative & (ratio >= 2.0) & (ratio < 3.0)),
        "actor/neg_ratio_3_4": share(negative & (ratio >= 3.0) & (ratio < 4.0)),
        "actor/neg_ratio_4_10": share(negative & (ratio >= 4.0) & (ratio < config.clip_ratio_c)),
        "actor/neg_is_max": neg_max,
        "actor/pos_is_max": pos_max,
        "actor/pos_is_min": pos_min,
        "actor/pos_mini_frac": share(positive & (ratio < VANISHING_RATIO)),
    }
    if quantiles:
        neg = masked_quantiles(ratio, negative, (0.75, 0.995, 0.999))
        metrics |= dict(zip(("actor/neg_is_p75", "actor/neg_is_p995", "actor/neg_is_p999"), neg))
        pos = masked_quantiles(ratio, positive, (0.25, 0.5, 0.75, 0.995, 0.999))
        names = ("p25", "median", "p75", "p995", "p999")
        metrics |= {f"actor/pos_is_{name}": value for name, value in zip(names, pos)}
    return metrics
