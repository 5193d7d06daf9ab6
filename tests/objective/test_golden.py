"""The published code's numbers: 4 cases × 5 presets in float64."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fipo import FIPOLossConfig

from .batches import Batch

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
CASES = range(4)
PRESETS = ("paper-32b", "paper-7b", "no-weight-clip", "tau-8", "tau-256")
TOLERANCE = 1e-10
# The record's short names; every other scalar already has its published name.
PUBLISHED_NAMES = {
    "influence_mean": "influence_weights_mean",
    "influence_min": "influence_weights_min",
    "influence_max": "influence_weights_max",
    "iw_clip_frac": "IW_overall_clip_ratio",
    "iw_clip_frac_upper": "IW_upper_clip_ratio",
    "iw_clip_frac_lower": "IW_lower_clip_ratio",
    "influence_raw_mean": "influence_weights_mean_raw",
    "influence_raw_min": "raw_influence_weights_min",
    "influence_raw_max": "raw_influence_weights_max",
}


@cache
def record() -> tuple[dict[str, Any], dict[str, Tensor]]:
    path = GOLDEN / "fipo_reference.json"
    if not path.is_file():
        pytest.skip("reference numbers not found: ../shared/golden/fipo_reference.json")
    numpy = pytest.importorskip("numpy")
    arrays = numpy.load(path.with_suffix(".npz"))
    return json.loads(path.read_text(encoding="utf-8")), {name: torch.from_numpy(arrays[name]) for name in arrays}


def config_of(preset: dict[str, Any]) -> FIPOLossConfig:
    ratio = preset["future_kl_clip_ratio"]
    low = 0.0 if preset["future_kl_clip_high_only"] else ratio
    # A clip ratio of 0 means no clip but a ceiling of 10.
    low, high = (1.0, 9.0) if ratio == 0.0 else (low, ratio)
    return FIPOLossConfig(
        half_life=preset["decay_rate"],
        influence_clip_low=low,
        influence_clip_high=high,
        safety_ratio=preset["safety_thresh"],
    )


def golden_case(case: int) -> Batch:
    _, arrays = record()
    names = ("log_prob", "old_log_prob", "advantages", "response_mask")
    return Batch(*(arrays[f"case{case}/{name}"] for name in names))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("case", CASES)
def test_every_published_number_is_reproduced(case: int, preset: str) -> None:
    numbers, arrays = record()
    (result,) = [r for r in numbers["results"] if (r["case"], r["preset"]) == (case, preset)]
    scalars = dict(result["scalars"])
    loss = scalars.pop("loss")
    assert len(scalars) == 27

    out, grad = golden_case(case).loss(config_of(numbers["presets"][preset]))

    assert out.loss.dtype == torch.float64
    assert out.loss.item() == pytest.approx(loss, rel=0, abs=TOLERANCE)
    torch.testing.assert_close(grad, arrays[f"case{case}/{preset}/grad_log_prob"], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(out.future_kl, arrays[f"case{case}/{preset}/future_kl"], rtol=0, atol=TOLERANCE)
    metrics = {f"actor/{PUBLISHED_NAMES.get(name, name)}": value for name, value in scalars.items()}
    assert len(metrics) == 27
    found = {name: out.metrics[name].item() for name in metrics}
    assert found == pytest.approx(metrics, rel=0, abs=TOLERANCE)


def test_the_record_holds_these_cases_and_no_others() -> None:
    numbers, _ = record()
    expected = {(case, preset) for case in CASES for preset in PRESETS}
    assert {(r["case"], r["preset"]) for r in numbers["results"]} == expected
    assert len(numbers["results"]) == 20
    assert numbers["clip"] == {"low": 0.2, "high": 0.28, "dual": 10.0}


def test_the_recorded_presets_are_the_named_configs() -> None:
    numbers, _ = record()
    assert config_of(numbers["presets"]["paper-32b"]) == FIPOLossConfig.paper_32b()
    assert config_of(numbers["presets"]["paper-7b"]) == FIPOLossConfig.paper_7b()


def test_every_recorded_number_but_one_is_somewhere_not_zero() -> None:
    """A number that is 0 in every case proves little: `test_metrics` covers the one that is."""
    numbers, _ = record()
    active = {name for r in numbers["results"] for name, value in r["scalars"].items() if value != 0.0}
    assert set(numbers["results"][0]["scalars"]) - active == {"pos_mini_frac"}
