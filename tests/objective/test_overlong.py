from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fipo.objective import soft_overlong_penalty


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30000), max_size=8),
    max_length=st.integers(1, 20480),
    share=st.floats(0, 1),
    factor=st.sampled_from((0.0, 0.5, 1.0, 3.0)),
)
def test_the_penalty_is_the_definition(lengths: list[int], max_length: int, share: float, factor: float) -> None:
    buffer = max(1, round(share * max_length))
    expected = []
    for n in lengths:
        free = max_length - buffer
        expected.append(0.0 if n <= free else -min((n - free) / buffer, 1.0) * factor)
    found = soft_overlong_penalty(torch.tensor(lengths, dtype=torch.int64), max_length, buffer, factor=factor)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=0)


def test_the_penalty_begins_and_ends_where_the_paper_says() -> None:
    lengths = torch.tensor([0, 16384, 16385, 18432, 20479, 20480, 20481, 99999])
    expected = [0.0, 0.0, -1 / 4096, -0.5, -4095 / 4096, -1.0, -1.0, -1.0]
    assert soft_overlong_penalty(lengths, 20480, 4096).tolist() == expected
    assert soft_overlong_penalty(lengths, 20480, 4096, factor=2.0).tolist() == [2 * x for x in expected]


def test_a_buffer_may_be_the_whole_length_or_one_token() -> None:
    lengths = torch.tensor([0, 1, 9, 10])
    assert soft_overlong_penalty(lengths, 10, 10).tolist() == pytest.approx([0.0, -0.1, -0.9, -1.0])
    assert soft_overlong_penalty(lengths, 10, 1).tolist() == [0.0, 0.0, 0.0, -1.0]


@pytest.mark.parametrize("buffer", [0, -1, 11])
def test_a_buffer_must_fit_into_the_length(buffer: int) -> None:
    message = rf"overlong buffer of {buffer} tokens must lie in \[1, max_length=10\]"
    with pytest.raises(ValueError, match=message):
        soft_overlong_penalty(torch.tensor([1]), 10, buffer)


def test_a_negative_factor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"overlong penalty factor=-0.5 must be >= 0"):
        soft_overlong_penalty(torch.tensor([1]), 10, 5, factor=-0.5)
