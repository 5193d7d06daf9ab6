"""Group-relative advantages (GRPO, arXiv 2402.03300, section 4.1): how much better than its siblings."""

from __future__ import annotations

import torch
from torch import Tensor


def group_advantages(
    rewards: Tensor, group_size: int, *, normalize_by_std: bool = True, epsilon: float = 1e-6
) -> Tensor:
    """(reward − mean of its group) / (standard deviation of its group + epsilon).

    Args:
        rewards: (B,), groups one after another: rows g·group_size … (g+1)·group_size − 1 share a prompt.
        group_size: responses per prompt, ≥ 2.
        normalize_by_std: False leaves the difference unscaled (Dr. GRPO).
        epsilon: added to the (unbiased) standard deviation.

    Returns:
        (B,), detached. A group whose rewards are all equal gets exactly 0.

    Raises:
        ValueError: rewards that are not (B,), not finite, or not whole groups.
    """
    groups = _whole_groups(rewards, group_size)
    if not torch.isfinite(groups).all():
        row = int((~torch.isfinite(rewards)).nonzero()[0])
        raise ValueError(f"rewards[{row}]={rewards[row].item()} must be a finite number")
    if groups.numel() == 0:
        return groups.flatten()
    centered = groups - groups.mean(dim=1, keepdim=True)
    # The mean of equal floats can be off by one rounding; such a group must not get a huge advantage.
    centered = torch.where(uniform_groups(rewards, group_size).unsqueeze(1), 0.0, centered)
    if normalize_by_std:
        centered = centered / (groups.std(dim=1, keepdim=True) + epsilon)
    return centered.view(-1)


def uniform_groups(rewards: Tensor, group_size: int, *, tolerance: float = 1e-6) -> Tensor:
    """(B / group_size,) bool: groups whose largest and smallest reward differ by at most `tolerance`.

    Decided on the range of the whole group, not on a standard deviation, whose rounding depends on its size.
    """
    groups = _whole_groups(rewards, group_size)
    return groups.amax(dim=1) - groups.amin(dim=1) <= tolerance


def _whole_groups(rewards: Tensor, group_size: int) -> Tensor:
    """(B,) rewards as (B / group_size, group_size) floats."""
    if rewards.dim() != 1:
        raise ValueError(f"rewards has shape {tuple(rewards.shape)}, expected (B,)")
    if group_size < 2:
        raise ValueError(f"group_size={group_size} must be at least 2: one response has nothing to compare to")
    if rewards.shape[0] % group_size:
        raise ValueError(f"{rewards.shape[0]} rewards are not whole groups of group_size={group_size}")
    dtype = torch.float64 if rewards.dtype == torch.float64 else torch.float32
    return rewards.detach().to(dtype).view(-1, group_size)
