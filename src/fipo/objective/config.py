"""Settings of the FIPO objective: one dataclass, one default per setting, checked when it is made."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

Start = Literal["include_current", "exclude_current"]
LossAggMode = Literal["token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]


@dataclass(frozen=True)
class FIPOLossConfig:
    """Every setting of `fipo_loss`. The defaults are the paper's 32B run (arXiv 2603.19835).

    Args:
        half_life: τ in tokens, > 0; discount γ = 2^(−1/τ). `math.inf` means no discount.
        influence_clip_low: ε_f,low ≥ 0; the influence weight f_t is at least 1 − influence_clip_low (≤ 1).
        influence_clip_high: ε_f,high ≥ 0; f_t is at most 1 + influence_clip_high.
        safety_ratio: where A_t < 0 and r_t is above it, f_t is capped to `safety_range`; None switches it off.
        safety_range: bounds of that cap. The published code uses (0.8, 1.0); the paper's text, (1.0, 1.0).
        clip_ratio_low: PPO clip, r_t ≥ 1 − clip_ratio_low; in [0, 1].
        clip_ratio_high: PPO clip, r_t ≤ 1 + clip_ratio_high; ≥ 0.
        clip_ratio_c: dual clip for Ã < 0, > 1; also the participation limit M_t of Future-KL (r_t ≤ c).
        filter_extremes: leave tokens with r_t > clip_ratio_c out of Future-KL (the paper's extreme-value filter).
        start: whether Future-KL at t includes token t itself (the paper) or only later tokens.
        window: hard horizon: only tokens with k − t < window count; None = to the end of the response.
        average: divide the discounted sum by the sum of its discounts over unmasked positions.
        max_dual_clipped: a response with more dual-clipped tokens is left out of the loss (published code: 1);
            None keeps every response (the paper's formula).
        loss_agg_mode: how token losses become one number; see `aggregate_loss`.
        loss_norm_length: divisor of "seq-mean-token-sum-norm", in tokens; needed by that mode alone.
        log_ratio_clamp: log ratios are clamped to ±this before `exp` (published code: 20).

    Raises:
        ValueError: a value outside its range; the message names the value, the range and the fix.
    """

    half_life: float = 32.0
    influence_clip_low: float = 0.0
    influence_clip_high: float = 0.2
    safety_ratio: float | None = 10.0
    safety_range: tuple[float, float] = (0.8, 1.0)
    clip_ratio_low: float = 0.2
    clip_ratio_high: float = 0.28
    clip_ratio_c: float = 10.0
    filter_extremes: bool = True
    start: Start = "include_current"
    window: int | None = None
    average: bool = False
    max_dual_clipped: int | None = 1
    loss_agg_mode: LossAggMode = "token-mean"
    loss_norm_length: int | None = None
    log_ratio_clamp: float = 20.0

    def __post_init__(self) -> None:
        """Check every field, and the ones that depend on each other."""
        _check_range("half_life", self.half_life, 0.0, math.inf, low_open=True)
        _check_range("influence_clip_low", self.influence_clip_low, 0.0, 1.0)
        _check_range("influence_clip_high", self.influence_clip_high, 0.0, math.inf)
        if self.safety_ratio is not None:
            _check_range("safety_ratio", self.safety_ratio, 0.0, math.inf)
        object.__setattr__(self, "safety_range", _checked_pair("safety_range", self.safety_range))
        _check_range("clip_ratio_low", self.clip_ratio_low, 0.0, 1.0)
        _check_range("clip_ratio_high", self.clip_ratio_high, 0.0, math.inf)
        _check_range("clip_ratio_c", self.clip_ratio_c, 1.0, math.inf, low_open=True)
        _check_range("log_ratio_clamp", self.log_ratio_clamp, 0.0, 80.0, low_open=True)
        for name in ("average", "filter_extremes"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} must be true or false")
        _check_choice("start", self.start, get_args(Start))
        _check_choice("loss_agg_mode", self.loss_agg_mode, get_args(LossAggMode))
        _check_count("window", self.window, 1, "None means to the end of the response")
        _check_count("max_dual_clipped", self.max_dual_clipped, 0, "None keeps every response")
        _check_count("loss_norm_length", self.loss_norm_length, 1, "None where the mode does not need it")
        if self.loss_agg_mode == "seq-mean-token-sum-norm" and self.loss_norm_length is None:
            raise ValueError(
                "loss_agg_mode='seq-mean-token-sum-norm' needs loss_norm_length, the number of tokens to "
                "divide by (usually the maximum response length)"
            )

    @property
    def discount(self) -> float:
        """γ = 2^(−1/τ), in (0, 1]."""
        return 2.0 ** (-1.0 / self.half_life)

    @property
    def influence_bounds(self) -> tuple[float, float]:
        """(1 − ε_f,low, 1 + ε_f,high), the range of the influence weight f_t."""
        return 1.0 - self.influence_clip_low, 1.0 + self.influence_clip_high

    @property
    def is_uniform(self) -> bool:
        """True where every f_t is exactly 1 whatever the data, so that Future-KL need not be computed."""
        safety_is_idle = self.safety_ratio is None or self.safety_range[0] <= 1.0 <= self.safety_range[1]
        return self.influence_clip_low == 0.0 == self.influence_clip_high and safety_is_idle

    @classmethod
    def paper_32b(cls, **overrides: Any) -> FIPOLossConfig:
        """The 32B run: f_t in [1, 1.2], safety above r_t = 10. `overrides` replace single settings."""
        return cls(**overrides)

    @classmethod
    def paper_7b(cls, **overrides: Any) -> FIPOLossConfig:
        """The 7B run: f_t in [0.8, 1.2], safety above r_t = 3."""
        return cls(**{"influence_clip_low": 0.2, "safety_ratio": 3.0, **overrides})

    @classmethod
    def dapo(cls, **overrides: Any) -> FIPOLossConfig:
        """DAPO's loss: every f_t is exactly 1 and no response is filtered; the rest is shared with FIPO."""
        uniform = {"influence_clip_low": 0.0, "influence_clip_high": 0.0, "safety_ratio": None}
        return cls(**{**uniform, "max_dual_clipped": None, **overrides})

    @classmethod
    def grpo(cls, **overrides: Any) -> FIPOLossConfig:
        """GRPO's loss: symmetric clip, no dual clip in reach, mean over tokens within each response first."""
        grpo = {"clip_ratio_high": 0.2, "clip_ratio_c": math.inf, "loss_agg_mode": "seq-mean-token-mean"}
        return cls.dapo(**{**grpo, **overrides})

    def replace(self, **changes: Any) -> FIPOLossConfig:
        """A copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)


def _check_range(name: str, value: Any, low: float, high: float, *, low_open: bool = False) -> None:
    """Raise `ValueError` unless `value` is a number in [low, high] (or (low, high])."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and (low < value if low_open else low <= value) and value <= high:
        return
    left = "(" if low_open else "["
    raise ValueError(f"{name}={value!r} must be a number in {left}{low:g}, {high:g}]")


def _checked_pair(name: str, value: Any) -> tuple[float, float]:
    """`value` as (low, high) with 0 ≤ low ≤ high; YAML and JSON give lists."""
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2
    if is_pair and all(isinstance(end, (int, float)) for end in value) and 0.0 <= value[0] <= value[1]:
        return (float(value[0]), float(value[1]))
    raise ValueError(f"{name}={value!r} must be (low, high) with 0 <= low <= high")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, choices))}")


def _check_count(name: str, value: Any, low: int, none_means: str) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= low):
        return
    raise ValueError(f"{name}={value!r} must be None or a whole number >= {low} ({none_means})")
