from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from fipo import FIPOLossConfig

PUBLISHED_32B = {
    "half_life": 32.0,
    "influence_clip_low": 0.0,
    "influence_clip_high": 0.2,
    "safety_ratio": 10.0,
    "safety_range": (0.8, 1.0),
    "clip_ratio_low": 0.2,
    "clip_ratio_high": 0.28,
    "clip_ratio_c": 10.0,
    "filter_extremes": True,
    "start": "include_current",
    "window": None,
    "average": False,
    "max_dual_clipped": 1,
    "loss_agg_mode": "token-mean",
    "loss_norm_length": None,
    "log_ratio_clamp": 20.0,
}
PUBLISHED_7B = {**PUBLISHED_32B, "influence_clip_low": 0.2, "safety_ratio": 3.0}
DAPO = {**PUBLISHED_32B, "influence_clip_high": 0.0, "safety_ratio": None, "max_dual_clipped": None}
GRPO = {**DAPO, "clip_ratio_high": 0.2, "clip_ratio_c": math.inf, "loss_agg_mode": "seq-mean-token-mean"}


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (FIPOLossConfig(), PUBLISHED_32B),
        (FIPOLossConfig.paper_32b(), PUBLISHED_32B),
        (FIPOLossConfig.paper_7b(), PUBLISHED_7B),
        (FIPOLossConfig.dapo(), DAPO),
        (FIPOLossConfig.grpo(), GRPO),
    ],
)
def test_presets_hold_the_published_values(config: FIPOLossConfig, published: dict[str, Any]) -> None:
    assert dataclasses.asdict(config) == published


def test_influence_ranges_are_the_published_ones() -> None:
    assert FIPOLossConfig.paper_32b().influence_bounds == (1.0, 1.2)
    assert FIPOLossConfig.paper_7b().influence_bounds == (0.8, 1.2)
    assert FIPOLossConfig.dapo().influence_bounds == (1.0, 1.0)


@pytest.mark.parametrize("make", [FIPOLossConfig.paper_32b, FIPOLossConfig.paper_7b, FIPOLossConfig.dapo])
def test_overrides_win_over_a_preset(make: Any) -> None:
    changed = {"half_life": 8.0, "influence_clip_low": 0.5, "safety_ratio": 4.0, "max_dual_clipped": 2}
    assert make(**changed) == make().replace(**changed)
    assert make(**changed).safety_ratio == 4.0
    assert make(**changed).influence_clip_low == 0.5
    assert FIPOLossConfig.grpo(**changed, clip_ratio_c=5.0).clip_ratio_c == 5.0


@pytest.mark.parametrize(
    ("half_life", "discount"), [(1.0, 0.5), (0.5, 0.25), (2.0, math.sqrt(0.5)), (math.inf, 1.0), (1e-9, 0.0)]
)
def test_the_discount_halves_after_one_half_life(half_life: float, discount: float) -> None:
    config = FIPOLossConfig(half_life=half_life)
    assert config.discount == pytest.approx(discount, rel=1e-15)
    assert FIPOLossConfig(half_life=32.0).discount ** 32 == pytest.approx(0.5, rel=1e-14)


@pytest.mark.parametrize(
    ("settings", "uniform"),
    [
        ({"influence_clip_high": 0.0}, True),
        ({"influence_clip_high": 0.0, "safety_ratio": None}, True),
        ({"influence_clip_high": 0.0, "safety_range": (1.0, 1.0)}, True),
        ({"influence_clip_high": 0.0, "safety_range": (1.0, 2.0)}, True),
        ({"influence_clip_high": 0.0, "safety_range": (0.8, 0.9)}, False),
        ({"influence_clip_high": 0.0, "safety_range": (1.1, 1.2)}, False),
        ({"influence_clip_high": 0.0, "safety_range": (0.8, 0.9), "safety_ratio": None}, True),
        ({"influence_clip_high": 0.0, "influence_clip_low": 0.2}, False),
        ({}, False),
    ],
)
def test_is_uniform_exactly_where_no_weight_can_differ_from_one(settings: dict[str, Any], uniform: bool) -> None:
    assert FIPOLossConfig(**settings).is_uniform is uniform


def test_dapo_and_grpo_are_uniform() -> None:
    assert FIPOLossConfig.dapo().is_uniform
    assert FIPOLossConfig.grpo().is_uniform


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FIPOLossConfig().half_life = 8.0  # type: ignore[misc]


def test_replace_checks_again() -> None:
    assert FIPOLossConfig().replace(window=7).window == 7
    with pytest.raises(ValueError, match=r"window=0 must be None or a whole number >= 1"):
        FIPOLossConfig().replace(window=0)


def test_a_list_from_a_file_becomes_the_safety_range() -> None:
    config = FIPOLossConfig(safety_range=[0.5, 1.0])  # type: ignore[arg-type]
    assert config.safety_range == (0.5, 1.0)
    assert hash(config) == hash(FIPOLossConfig(safety_range=(0.5, 1.0)))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("half_life", 0.0, r"\(0, inf\]"),
        ("half_life", -1, r"\(0, inf\]"),
        ("half_life", math.nan, r"\(0, inf\]"),
        ("half_life", "32", r"\(0, inf\]"),
        ("half_life", True, r"\(0, inf\]"),
        ("half_life", None, r"\(0, inf\]"),
        ("influence_clip_low", -0.1, r"\[0, 1\]"),
        ("influence_clip_low", 1.1, r"\[0, 1\]"),
        ("influence_clip_high", -0.1, r"\[0, inf\]"),
        ("safety_ratio", -1.0, r"\[0, inf\]"),
        ("safety_ratio", "3", r"\[0, inf\]"),
        ("clip_ratio_low", -0.01, r"\[0, 1\]"),
        ("clip_ratio_low", 1.01, r"\[0, 1\]"),
        ("clip_ratio_high", -0.01, r"\[0, inf\]"),
        ("clip_ratio_c", 1.0, r"\(1, inf\]"),
        ("clip_ratio_c", None, r"\(1, inf\]"),
        ("log_ratio_clamp", 0.0, r"\(0, 80\]"),
        ("log_ratio_clamp", 80.5, r"\(0, 80\]"),
        ("log_ratio_clamp", math.nan, r"\(0, 80\]"),
    ],
)
def test_numbers_outside_their_range_are_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}={value!r} must be a number in {expected}$"):
        FIPOLossConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("half_life", math.inf),
        ("half_life", 1),
        ("influence_clip_low", 1.0),
        ("influence_clip_low", 0),
        ("clip_ratio_low", 1.0),
        ("clip_ratio_c", math.inf),
        ("log_ratio_clamp", 80.0),
        ("safety_ratio", 0.0),
        ("safety_range", (0.0, 0.0)),
        ("window", 1),
        ("max_dual_clipped", 0),
        ("loss_norm_length", 1),
    ],
)
def test_the_ends_of_a_range_are_allowed(name: str, value: Any) -> None:
    assert getattr(FIPOLossConfig(**{name: value}), name) == value


@pytest.mark.parametrize("value", [(1.0, 0.8), (-0.1, 1.0), (0.8,), (0.5, 0.8, 1.0), (math.nan, 1.0), (0.8, math.nan)])
def test_a_safety_range_must_be_an_interval(value: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"safety_range=\(.*\) must be \(low, high\) with 0 <= low <= high"):
        FIPOLossConfig(safety_range=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("start", "current", "'include_current', 'exclude_current'"),
        ("start", None, "'include_current', 'exclude_current'"),
        (
            "loss_agg_mode",
            "mean",
            "'token-mean', 'seq-mean-token-sum', 'seq-mean-token-mean', 'seq-mean-token-sum-norm'",
        ),
    ],
)
def test_unknown_choices_are_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}={value!r} must be one of {expected}$"):
        FIPOLossConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "low", "meaning"),
    [
        ("window", 0, 1, "None means to the end of the response"),
        ("window", 2.5, 1, "None means to the end of the response"),
        ("window", True, 1, "None means to the end of the response"),
        ("max_dual_clipped", -1, 0, "None keeps every response"),
        ("max_dual_clipped", 1.0, 0, "None keeps every response"),
        ("max_dual_clipped", False, 0, "None keeps every response"),
        ("loss_norm_length", 0, 1, "None where the mode does not need it"),
    ],
)
def test_counts_must_be_whole_numbers(name: str, value: Any, low: int, meaning: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}={value} must be None or a whole number >= {low} \({meaning}\)$"):
        FIPOLossConfig(**{name: value})


def test_the_normed_mode_needs_its_length() -> None:
    with pytest.raises(ValueError, match=r"loss_agg_mode='seq-mean-token-sum-norm' needs loss_norm_length"):
        FIPOLossConfig(loss_agg_mode="seq-mean-token-sum-norm")
    assert FIPOLossConfig(loss_agg_mode="seq-mean-token-sum-norm", loss_norm_length=9).loss_norm_length == 9


@pytest.mark.parametrize("bad", [None, 0.8, ("a", "b")])
def test_a_safety_range_of_another_type_is_a_value_error(bad: object) -> None:
    with pytest.raises(ValueError, match=r"^safety_range="):
        FIPOLossConfig(safety_range=bad)  # type: ignore[arg-type]
