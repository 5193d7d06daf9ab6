"""Figures of hand-written responses."""

from __future__ import annotations

import pytest

from fipo.demo.measure import measure_responses
from fipo.evaluation import Response


def responses(*texts: str) -> list[Response]:
    return [Response(text, len(text.split()) + 1, "length" if text.endswith("so") else "stop") for text in texts]


def test_figures_of_hand_written_responses() -> None:
    measured = measure_responses(
        responses("so 6", "so 4", "so 4 wait : a +3 = 6 no so 6", "so 6 wait : a +3 = 4 no so 4", "a +3 = 6 so"),
        ["6"] * 5,
    )
    assert (measured.n, measured.correct, measured.accuracy.value) == (5, 2, 0.4)
    assert (measured.aha, measured.oops, measured.truncated) == (1, 1, 1)
    assert measured.by_checks == {0: (1, 3), 1: (1, 2)}
    assert measured.length_mean == pytest.approx((3 + 3 + 12 + 12 + 6) / 5)
    assert measured.length_quartiles == (3, 6, 12)


def test_one_response_has_figures_too() -> None:
    measured = measure_responses(responses("so 6"), ["6"])
    assert measured.length_quartiles == (3, 3, 3)
    assert 0 < measured.accuracy.low < 0.3
    assert measured.accuracy.high == pytest.approx(1.0)


def test_every_response_needs_its_answer() -> None:
    with pytest.raises(ValueError, match="shorter"):
        measure_responses(responses("so 6", "so 4"), ["6"])
