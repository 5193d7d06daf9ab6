"""The demo end to end in its quick size, and the sentences it may say."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("trl", reason="the demo needs the extra [train]")

from rich.console import Console

from fipo.demo.display import sparkline
from fipo.demo.run import run_demo
from fipo.demo.settings import FULL, QUICK, demo_recipe
from fipo.demo.summary import _verdict
from fipo.errors import FIPOError
from fipo.evaluation import Estimate
from fipo.runs import RunFolder
from fipo.training.recipe import parse_recipe


@pytest.mark.slow
def test_the_quick_demo_learns(tmp_path):
    out = tmp_path / "demo"
    console = Console(record=True, width=100, force_terminal=False)
    summary = run_demo(out, QUICK, algorithms=["dapo", "fipo"], seed=0, console=console)
    base, dapo, fipo = (summary["results"][name]["avg_at_k"] for name in ("base", "dapo", "fipo"))
    assert base["value"] < 0.25
    for trained in (dapo, fipo):
        assert trained["low"] > base["high"] + 0.1
    assert summary["results"]["dapo"]["influence_weight_mean"] == 1.0
    assert summary["results"]["fipo"]["influence_weight_mean"] > 1.0
    assert json.loads((out / "summary.json").read_text())["results"] == summary["results"]
    for name in ("dapo", "fipo"):
        folder = RunFolder.open(out / name)
        assert len(folder.metrics()) == QUICK.rollouts
        rows = (out / "evaluation" / f"{name}.jsonl").read_text().splitlines()
        assert len(rows) == QUICK.problems * QUICK.samples
        share = sum(json.loads(row)["correct"] for row in rows) / len(rows)
        assert share == pytest.approx(summary["results"][name]["avg_at_k"]["value"])
    assert (out / "curves.png").stat().st_size > 10_000
    assert (out / "curves.svg").read_text().count("<svg") == 1
    text = console.export_text()
    assert "The base model answers" in text
    assert "FIPO against DAPO" in text


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FIPOError, match="is in use"):
        run_demo(tmp_path, QUICK, algorithms=["fipo"], seed=0)
    with pytest.raises(FIPOError, match="is in use"):
        run_demo(tmp_path / "file", QUICK, algorithms=["fipo"], seed=0)


@pytest.mark.parametrize(
    ("gap", "sentence"),
    [
        (Estimate(0.02, -0.01, 0.05), "No difference beyond the noise"),
        (Estimate(0.05, 0.01, 0.09), "FIPO is ahead in this run, but with one training seed"),
        (Estimate(-0.05, -0.09, -0.01), "DAPO is ahead in this run, but with one training seed"),
    ],
)
def test_the_verdict_says_no_more_than_the_interval(gap, sentence):
    assert sentence in _verdict(gap)


def test_the_demo_trains_both_algorithms_with_one_recipe():
    recipe = parse_recipe(demo_recipe(FULL.rollouts, seed=3))
    assert recipe.training["seed"] == 3
    assert "algorithm" not in recipe.training


def test_sparklines_fit_and_follow_the_values():
    assert sparkline([0.0, 0.5, 1.0], 0.0, 1.0) == " ▄█"
    assert len(sparkline([0.1] * 500, 0.0, 1.0)) <= 32
    assert sparkline([2.0], 0.0, 0.0) == "█"
