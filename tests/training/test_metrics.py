"""How micro-batches, updates and processes become one number."""

from __future__ import annotations

import math

import pytest
import torch

from fipo.training.metrics import MetricWindow, length_metrics, length_weighted_advantage

CPU = torch.device("cpu")


def alone(values):
    return values


def test_means_are_weighted_and_extremes_stay_extremes():
    window = MetricWindow()
    for value, tokens in ((1.0, 30), (4.0, 10)):
        metrics = {"a": torch.tensor(value), "b_max": torch.tensor(value), "c_min": torch.tensor(value)}
        window.loss_metrics(metrics, {"tokens": torch.tensor(tokens)})
    assert window.collect(alone, CPU) == {"a": 1.75, "b_max": 4.0, "c_min": 1.0}
    assert not window
    assert window.collect(alone, CPU) == {}


def test_processes_are_merged_by_their_weights():
    window = MetricWindow()
    window.mean("a", 1.0, 1.0)
    window.maximum("m_max", 1.0)

    def with_another(row):
        # Sum 6 with weight 2, and a maximum of 9, in the order of `collect`.
        return torch.cat([row, torch.tensor([[6.0, 2.0, 9.0]], dtype=row.dtype)])

    assert window.collect(with_another, CPU) == {"a": pytest.approx(7 / 3), "m_max": 9.0}


def test_what_has_no_weight_is_left_out_and_poisons_nothing():
    window = MetricWindow()
    window.mean("empty", math.nan, 0.0)
    window.mean("half", math.nan, 0.0)
    window.mean("half", 2.0, 3.0)
    assert window.collect(alone, CPU) == {"half": 2.0}


def test_tokens_of_one_sign_weigh_what_is_measured_on_them():
    window = MetricWindow()
    median, low, high = "actor/pos_is_median", "actor/pos_is_min", "actor/neg_is_max"
    for value, negative, positive in ((0.9, 0, 30), (0.0, 5, 0), (1.3, 0, 10)):
        metrics = {name: torch.tensor(value) for name in (median, low, high)}
        counts = {"tokens": 100, "negative": negative, "positive": positive}
        window.loss_metrics(metrics, {name: torch.tensor(count) for name, count in counts.items()})
    assert window.collect(alone, CPU) == {median: pytest.approx(1.0), low: pytest.approx(0.9), high: 0.0}


def test_extremes_of_nothing_are_left_out():
    window = MetricWindow()
    window.mean("a", 1.0)
    window.maximum("b_max", 0.0, 0.0)
    window.minimum("c_min", 0.0, 0.0)
    assert window.collect(alone, CPU) == {"a": 1.0}


def test_long_sums_keep_their_digits():
    window = MetricWindow()
    for _ in range(1000):
        window.mean("a", torch.tensor(0.1, dtype=torch.float32), torch.tensor(1e6))
    assert window.collect(alone, CPU)["a"] == pytest.approx(0.1, rel=1e-7)


def test_lengths_are_summarised_by_quartiles():
    metrics = length_metrics(torch.tensor([1, 2, 3, 4, 5]), torch.tensor([False, False, False, False, True]))
    names = ("min", "q25", "mean", "median", "q75", "max")
    assert [metrics[f"response_length/{name}"] for name in names] == [1, 2, 3, 3, 4, 5]
    assert metrics["response_length/clip_ratio"] == pytest.approx(0.2)


def test_the_mean_advantage_is_weighted_by_length():
    batch = {
        "response_mask": torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]]),
        "advantages": torch.tensor([1.0, -1.0, 5.0]),
    }
    assert length_weighted_advantage(batch, alone) == pytest.approx((3 * 1 - 1) / 4)
    batch["response_mask"] = torch.zeros(3, 3, dtype=torch.long)
    assert length_weighted_advantage(batch, alone) == 0.0
