"""Random batches for the tests: built from a seed, so that a failing example is small to print."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from fipo import FIPOLossConfig, FIPOLossOutput, fipo_loss

MASKS = ("holes", "full", "padded", "empty_rows", "empty")
MODES = ("token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")
HALF_LIVES = (1e-6, 0.01, 1.0, 32.0, 1e6, math.inf)
WINDOWS = (None, 1, 2, 50, 63, 64, 65, 1000)
# A block of the scan is 64 positions long; its neighbours and those of two blocks are the lengths that can go wrong.
# Sampled rather than drawn as integers, most of which would be small: few examples should be empty.
LENGTHS = st.sampled_from((63, 64, 65, 1, 2, 127, 128, 129, 300, *range(3, 300, 11), 0))
EXTREMES = (20.0, -20.0, 1e4, -1e4)
POISON = (math.nan, math.inf, -math.inf, 1e30)


@dataclass(frozen=True)
class Batch:
    """Inputs of `fipo_loss`, float64 unless said otherwise."""

    log_prob: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    mask: Tensor

    def loss(self, config: FIPOLossConfig | None = None, **options: Any) -> tuple[FIPOLossOutput, Tensor]:
        """The output of `fipo_loss` and the gradient it leaves on `log_prob`."""
        leaf = self.log_prob.clone().requires_grad_()
        out = fipo_loss(leaf, self.old_log_prob, self.advantages, self.mask, config, **options)
        out.loss.backward()
        assert leaf.grad is not None
        return out, leaf.grad

    def rows(self, index: Any) -> Batch:
        return Batch(self.log_prob[index], self.old_log_prob[index], self.advantages[index], self.mask[index])

    def to(self, dtype: torch.dtype) -> Batch:
        return Batch(self.log_prob.to(dtype), self.old_log_prob.to(dtype), self.advantages.to(dtype), self.mask)

    def poisoned(self) -> Batch:
        """NaN, infinities and huge numbers wherever the mask is 0."""
        outside = self.mask == 0
        names = ("log_prob", "old_log_prob", "advantages")
        filled = {name: scatter(getattr(self, name), outside, POISON) for name in names}
        return replace(self, **filled)


def scatter(values: Tensor, where: Tensor, choices: tuple[float, ...]) -> Tensor:
    """`values` with `choices` in turn at the places of `where`."""
    result = values.clone()
    count = int(where.sum())
    pattern = torch.tensor(choices, dtype=values.dtype).repeat(-(-count // len(choices)))[:count]
    result[where] = pattern
    return result


def make_mask(kind: str, rows: int, length: int, generator: torch.Generator) -> Tensor:
    mask = torch.ones(rows, length, dtype=torch.float64)
    if kind == "padded":
        ends = torch.randint(0, length + 1, (rows, 1), generator=generator)
        mask = (torch.arange(length) < ends).double()
    elif kind in ("holes", "empty_rows"):
        mask = (torch.rand(rows, length, generator=generator) < 0.7).double()
    if kind == "empty":
        mask = mask * 0
    elif kind == "empty_rows":
        mask[::2] = 0
    return mask


def make_batch(
    seed: int = 0,
    rows: int = 6,
    length: int = 40,
    *,
    spread: float = 0.3,
    mask: str = "holes",
    extremes: bool = False,
    poison: bool = False,
) -> Batch:
    """`spread` is the scale of the log ratio; `extremes` makes every tenth of them one of `EXTREMES`."""
    generator = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(rows, length, generator=generator, dtype=torch.float64)

    shift = spread * normal()
    if extremes:
        shift = scatter(shift, torch.rand(rows, length, generator=generator) < 0.1, EXTREMES)
    old = -normal().abs()
    batch = Batch(old + shift, old, normal(), make_mask(mask, rows, length, generator))
    return batch.poisoned() if poison else batch


def make_steep_batch(seed: int = 0, **options: Any) -> Batch:
    """Log ratios wide enough that every clip, the safety cap and the sequence filter act somewhere."""
    return make_batch(seed, **{"spread": 1.5, "rows": 8, "length": 70, **options})


def batches(**fixed: Any) -> st.SearchStrategy[Batch]:
    free: dict[str, st.SearchStrategy[Any]] = {
        "seed": st.integers(0, 2**31),
        "rows": st.sampled_from((3, 1, 2, 4, 5, 0)),
        "length": LENGTHS,
        "spread": st.sampled_from((0.5, 0.05, 2.0, 0.0)),
        "mask": st.sampled_from((*MASKS, "holes", "full")),
        "extremes": st.booleans(),
        "poison": st.booleans(),
    }
    return st.builds(make_batch, **{**free, **{name: st.just(value) for name, value in fixed.items()}})


def configs() -> st.SearchStrategy[FIPOLossConfig]:
    return st.builds(
        FIPOLossConfig,
        half_life=st.sampled_from(HALF_LIVES),
        influence_clip_low=st.sampled_from((0.0, 0.2, 1.0)),
        influence_clip_high=st.sampled_from((0.0, 0.2, 9.0)),
        safety_ratio=st.sampled_from((None, 0.9, 3.0, 10.0)),
        safety_range=st.sampled_from(((0.8, 1.0), (1.0, 1.0), (0.0, 0.5))),
        clip_ratio_low=st.sampled_from((0.0, 0.2, 1.0)),
        clip_ratio_high=st.sampled_from((0.0, 0.28, 2.0)),
        clip_ratio_c=st.sampled_from((1.5, 10.0, math.inf)),
        filter_extremes=st.booleans(),
        start=st.sampled_from(("include_current", "exclude_current")),
        window=st.sampled_from(WINDOWS),
        average=st.booleans(),
        max_dual_clipped=st.sampled_from((None, 0, 1, 3)),
        loss_agg_mode=st.sampled_from(MODES),
        loss_norm_length=st.just(77),
        log_ratio_clamp=st.sampled_from((0.6, 20.0, 30.0)),
    )
