"""Soft overlong penalty (DAPO, arXiv 2503.14476, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_overlong_penalty(lengths: Tensor, max_length: int, buffer_length: int, *, factor: float = 1.0) -> Tensor:
    """−factor · (n − (L − b)) / b for a response of n > L − b tokens, at most −factor; 0 for shorter ones.

    Args:
        lengths: response lengths n in tokens, (B,).
        max_length: L, tokens.
        buffer_length: b, tokens, in [1, max_length].
        factor: size of the full penalty, ≥ 0.

    Returns:
        (B,) float32, to be added to the rewards.

    Raises:
        ValueError: a buffer that does not fit into the length, or a negative factor.
    """
    if not 1 <= buffer_length <= max_length:
        raise ValueError(f"overlong buffer of {buffer_length} tokens must lie in [1, max_length={max_length}]")
    if not factor >= 0:
        raise ValueError(f"overlong penalty factor={factor} must be >= 0")
    excess = lengths.to(torch.float32) - (max_length - buffer_length)
    return (-excess / buffer_length).clamp(-1.0, 0.0) * factor
