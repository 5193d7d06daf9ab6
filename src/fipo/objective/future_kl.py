"""Future-KL: the discounted, signed log-probability shift of what follows each token.

Source: FIPO, arXiv 2603.19835, Future-KL; the definition stands in docs/method.md.

B: responses, T: token positions, K: blocks, L: positions in a block, N: packed sequences.
"""

from __future__ import annotations

import math
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from fipo.objective.config import Start

# One block is one small matrix product; 64 keeps its work near the cost of reading the input.
BLOCK_LENGTH = 64


def future_kl(
    log_ratio: Tensor,
    response_mask: Tensor,
    half_life: float = 32.0,
    max_ratio: float | None = 10.0,
    *,
    start: Start = "include_current",
    window: int | None = None,
    average: bool = False,
    log_ratio_clamp: float = 20.0,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """Σ_{k≥t} γ^(k−t) · M_k · mask_k · Δ_k for every token t, in linear time.

    Distances are positions: a masked token inside a response (tool output) contributes nothing but counts one
    step of decay. M_k is 1 where exp(Δ_k) ≤ `max_ratio`.

    Args:
        log_ratio: Δ = log_prob − old_log_prob, (B, T), or (T,) packed rows with `cu_seqlens`.
        response_mask: same shape, 1 (or True) on response tokens. What stands elsewhere is never read.
        half_life: τ in tokens, > 0; γ = 2^(−1/τ), `math.inf` = no decay.
        max_ratio: participation limit of M_k; None lets every token take part.
        start: "include_current" sums k ≥ t; "exclude_current" sums k > t, with the same weights γ^(k−t).
        window: only k − t < window; None = to the end.
        average: divide by Σ γ^(k−t)·mask_k over the same k (0 where there is no such k).
        log_ratio_clamp: Δ is clamped to ±this first.
        cu_seqlens: (N + 1,) integer borders of packed sequences, from 0 to T; nothing crosses a border.

    Returns:
        Same shape; float64 for float64 input, float32 otherwise; detached from the graph.

    Raises:
        ValueError: shapes that differ, half_life or max_ratio ≤ 0, an unknown start, window < 1, or borders that
            do not fit.
    """
    _check_inputs(log_ratio, response_mask, cu_seqlens)
    _check_settings(half_life, max_ratio, start, window)
    if cu_seqlens is not None:
        lengths = cu_seqlens.diff()
        mask = _unpack(response_mask, lengths)
        padded = _unpack(log_ratio, lengths)
    else:
        padded, mask = log_ratio, response_mask
    mask = mask != 0
    dtype = torch.float64 if log_ratio.dtype == torch.float64 else torch.float32
    # Beyond a long masked hole both sums of an average are tiny: float32 would lose their quotient.
    inner = torch.float64 if average and log_ratio.device.type != "mps" else dtype
    shift = padded.detach().to(inner).clamp(-log_ratio_clamp, log_ratio_clamp)
    counted = mask if max_ratio is None else mask & (shift <= math.log(max_ratio))
    shift = torch.where(counted, shift, 0.0)

    discount = 2.0 ** (-1.0 / half_life)
    total = discounted_sum(shift, discount, start=start, window=window)
    if average:
        weight = discounted_sum(mask.to(inner), discount, start=start, window=window)
        total = torch.where(weight > 0, total / weight.clamp(min=torch.finfo(inner).tiny), 0.0)
    total = total.to(dtype)
    return total if cu_seqlens is None else _pack(total, lengths)


def discounted_sum(
    x: Tensor, discount: float, *, start: Start = "include_current", window: int | None = None
) -> Tensor:
    """Σ_{k≥t} γ^(k−t)·x_k along the last dimension of (B, T), optionally over a window or without k = t."""
    length = x.shape[-1]
    if start == "exclude_current":
        # Σ_{k>t} γ^(k−t)·x_k = γ · (the sum that starts at t+1), whose window is one shorter.
        if window == 1 or length <= 1:
            return torch.zeros_like(x)
        rest = discounted_sum(x[..., 1:], discount, window=None if window is None else window - 1)
        return F.pad(discount * rest, (0, 1))
    if window is None or window >= length:
        return _reverse_scan(x, discount)
    return _windowed_sum(x, discount, window)


def _reverse_scan(x: Tensor, discount: float) -> Tensor:
    """F_t = x_t + γ·F_{t+1}: a matrix product inside blocks, and the same scan again over the blocks."""
    *rows, length = x.shape
    if x.numel() == 0 or length == 1:
        return x.clone()
    if length <= BLOCK_LENGTH:
        return _decay_within(x, discount)
    num_blocks = -(-length // BLOCK_LENGTH)
    blocks = F.pad(x, (0, num_blocks * BLOCK_LENGTH - length)).view(*rows, num_blocks, BLOCK_LENGTH)
    inside = _decay_within(blocks, discount)
    # The head of a block holds its whole sum, so block heads obey the recurrence with γ^L.
    heads = _reverse_scan(inside[..., 0], discount**BLOCK_LENGTH)
    tail = F.pad(heads[..., 1:], (0, 1))
    reach = _powers(discount, torch.arange(BLOCK_LENGTH, 0, -1), x)
    whole = torch.addcmul(inside, tail.unsqueeze(-1), reach)
    return whole.view(*rows, num_blocks * BLOCK_LENGTH)[..., :length]


def _decay_within(x: Tensor, discount: float) -> Tensor:
    """The recurrence inside one block: x times the (L, L) matrix with γ^(k−t) at [k, t] for k ≥ t."""
    position = torch.arange(x.shape[-1])
    distance = position.unsqueeze(1) - position
    # A product in float32 may be run in TF32 on a GPU, which keeps three digits.
    exact = x.double() if x.is_cuda else x
    decay = _powers(discount, distance.clamp(min=0), exact) * (distance >= 0).to(exact)
    return (exact @ decay).to(x.dtype)


def _powers(discount: float, exponent: Tensor, like: Tensor) -> Tensor:
    """γ^exponent, taken in float64 on the CPU: some devices have no float64."""
    return torch.pow(discount, exponent.double()).to(like)


def _windowed_sum(x: Tensor, discount: float, window: int) -> Tensor:
    """Σ over t ≤ k < t + window, as the rest of t's block plus a prefix of the next: nothing is subtracted.

    With blocks as long as the window, every window covers the end of one block and the start of the next.
    The difference of two whole sums would be shorter, and would lose every digit where they nearly cancel.
    """
    *rows, length = x.shape
    num_blocks = -(-length // window)
    blocks = F.pad(x, (0, num_blocks * window - length)).view(*rows, num_blocks, window)
    rest = _reverse_scan(blocks, discount)
    offset = torch.arange(window)
    prefix = (blocks * _powers(discount, offset, x)).cumsum(-1)
    following = F.pad(prefix[..., 1:, :-1], (1, 0, 0, 1))
    until_next = _powers(discount, window - offset, x)
    return torch.addcmul(rest, following, until_next).view(*rows, num_blocks * window)[..., :length]


def _unpack(packed: Tensor, lengths: Tensor) -> Tensor:
    """(T,) packed → (N, longest), zero-filled on the right."""
    if len(lengths) == 0:
        return packed.new_zeros(0, 0)
    return torch.nn.utils.rnn.pad_sequence(packed.split(lengths.tolist()), batch_first=True)


def _pack(padded: Tensor, lengths: Tensor) -> Tensor:
    """(N, longest) → (T,)."""
    position = torch.arange(padded.shape[1], device=padded.device)
    return padded[position < lengths.to(padded.device).unsqueeze(1)]


def _check_inputs(log_ratio: Tensor, response_mask: Tensor, cu_seqlens: Tensor | None) -> None:
    if log_ratio.shape != response_mask.shape:
        raise ValueError(
            f"response_mask has shape {tuple(response_mask.shape)}, expected that of log_ratio, "
            f"{tuple(log_ratio.shape)}"
        )
    expected_dims = 2 if cu_seqlens is None else 1
    if log_ratio.dim() != expected_dims:
        layout = "(B, T)" if cu_seqlens is None else "(T,) with cu_seqlens"
        raise ValueError(f"log_ratio has shape {tuple(log_ratio.shape)}, expected {layout}")
    if cu_seqlens is None:
        return
    if cu_seqlens.dim() != 1 or cu_seqlens.is_floating_point():
        raise ValueError(
            f"cu_seqlens is {cu_seqlens.dtype} of shape {tuple(cu_seqlens.shape)}, expected whole numbers, (N + 1,)"
        )
    borders = cu_seqlens.tolist()
    total = log_ratio.shape[0]
    if not borders or borders[0] != 0 or borders[-1] != total or sorted(borders) != borders:
        raise ValueError(f"cu_seqlens must rise from 0 to the {total} packed tokens, found {borders}")


def _check_settings(half_life: float, max_ratio: float | None, start: str, window: int | None) -> None:
    if not half_life > 0:
        raise ValueError(f"half_life={half_life!r} must be greater than 0 (math.inf for no decay)")
    if max_ratio is not None and not max_ratio > 0:
        raise ValueError(f"max_ratio={max_ratio!r} must be greater than 0, or None to let every token take part")
    if start not in get_args(Start):
        raise ValueError(f"start={start!r} must be one of {', '.join(map(repr, get_args(Start)))}")
    if window is not None and (not isinstance(window, int) or window < 1):
        raise ValueError(f"window={window!r} must be a whole number >= 1, or None for no window")
