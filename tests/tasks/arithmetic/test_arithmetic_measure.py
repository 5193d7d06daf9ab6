from __future__ import annotations

import pytest

from fipo.tasks.arithmetic.measure import measure_responses, wilson_interval


def test_wilson_interval_on_known_values() -> None:
    assert wilson_interval(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10)[1] == pytest.approx(1.0)


def test_figures_of_hand_written_responses() -> None:
    responses = [
        "so 6 .",
        "so 4 .",
        "so 4 wait : a +3 = 6 no so 6 .",
        "so 6 wait : a +3 = 4 no so 4 .",
        "a +3 = 6 so",
    ]
    measured = measure_responses(responses, ["6"] * 5)
    assert (measured.n, measured.correct, measured.accuracy) == (5, 2, 0.4)
    assert (measured.aha, measured.oops, measured.unfinished) == (1, 1, 1)
    assert measured.by_checks == {0: (1, 3), 1: (1, 2)}
    assert measured.length_mean == pytest.approx((3 + 3 + 12 + 12 + 5) / 5)
    assert measured.length_quartiles == (3, 5, 12)


def test_one_response_has_figures_too() -> None:
    measured = measure_responses(["so 6 ."], ["6"])
    assert measured.length_quartiles == (3, 3, 3)
    low, high = measured.accuracy_interval
    assert 0 < low < 0.3
    assert high == pytest.approx(1.0)
