"""The clipped policy-gradient surrogate with dual clip, and how token losses become one number."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fipo.objective.config import FIPOLossConfig

# Keeps an empty mask from dividing by zero; the published code uses the same value.
EMPTY = 1e-8


class Surrogate(NamedTuple):
    """Token losses and where the clips were active, all (B, T)."""

    token_loss: Tensor
    clipped: Tensor
    dual_clipped: Tensor


def clipped_surrogate(ratio: Tensor, weighted_advantages: Tensor, config: FIPOLossConfig) -> Surrogate:
    """max(−Ã·r, −Ã·clip(r)), and at most −Ã·c where Ã < 0 (PPO; dual clip: arXiv 1912.09729).

    Args:
        ratio: r_t, (B, T), carries the gradient.
        weighted_advantages: Ã_t = A_t · f_t, (B, T), detached.
        config: clip_ratio_low, clip_ratio_high, clip_ratio_c.
    """
    unclipped = -weighted_advantages * ratio
    bounded = -weighted_advantages * ratio.clamp(1.0 - config.clip_ratio_low, 1.0 + config.clip_ratio_high)
    loss = torch.maximum(unclipped, bounded)
    clipped = bounded > unclipped
    if math.isinf(config.clip_ratio_c):
        return Surrogate(loss, clipped, torch.zeros_like(clipped))
    ceiling = -weighted_advantages * config.clip_ratio_c
    negative = weighted_advantages < 0
    dual_clipped = negative & (loss > ceiling)
    return Surrogate(torch.where(negative, torch.minimum(loss, ceiling), loss), clipped, dual_clipped)


def aggregate_loss(
    token_loss: Tensor, mask: Tensor, config: FIPOLossConfig, denominator: Tensor | float | None = None
) -> Tensor:
    """One number from (B, T) token losses, by `config.loss_agg_mode`.

    - "token-mean": sum over all tokens / number of tokens (DAPO, FIPO);
    - "seq-mean-token-sum": mean over responses of their token sums;
    - "seq-mean-token-mean": mean over responses of their token means (GRPO);
    - "seq-mean-token-sum-norm": as the sum, divided by `loss_norm_length` (Dr. GRPO).

    Args:
        token_loss: (B, T).
        mask: (B, T), 1 on tokens that count.
        config: the mode.
        denominator: tokens ("token-mean") or responses (other modes) of the whole mini-batch, over every
            micro-batch and process; the sum of the parts is then independent of how the mini-batch was
            split. None: counted here. An empty mini-batch has loss 0.
    """
    if denominator is not None:
        denominator = torch.as_tensor(denominator).clamp(min=EMPTY)
    token_loss = torch.where(mask > 0, token_loss, 0.0)
    if config.loss_agg_mode == "token-mean":
        return token_loss.sum() / (mask.sum() + EMPTY if denominator is None else denominator)
    lengths = mask.sum(dim=-1)
    per_response = token_loss.sum(dim=-1)
    if config.loss_agg_mode == "seq-mean-token-mean":
        per_response = per_response / (lengths + EMPTY)
    elif config.loss_agg_mode == "seq-mean-token-sum-norm":
        assert config.loss_norm_length is not None
        per_response = per_response / config.loss_norm_length
    return per_response.sum() / ((lengths > 0).sum() + EMPTY if denominator is None else denominator)


def loss_units(response_mask: Tensor, config: FIPOLossConfig) -> Tensor:
    """What `aggregate_loss` divides by, for this mask: its tokens, or its responses with any token; scalar."""
    if config.loss_agg_mode == "token-mean":
        return response_mask.sum()
    return (response_mask.sum(dim=-1) > 0).sum()


def keep_responses(ratio: Tensor, advantages: Tensor, response_mask: Tensor, config: FIPOLossConfig) -> Tensor:
    """(B,) bool: responses with at most `max_dual_clipped` tokens of A < 0 past c (published sequence filter)."""
    if config.max_dual_clipped is None:
        return torch.ones(ratio.shape[0], dtype=torch.bool, device=ratio.device)
    past_limit = (advantages < 0) & (ratio > config.clip_ratio_c) & (response_mask > 0)
    return past_limit.sum(dim=-1) <= config.max_dual_clipped
