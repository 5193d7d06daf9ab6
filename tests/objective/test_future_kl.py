from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fipo import future_kl
from fipo.objective import discounted_sum

from .batches import HALF_LIVES, WINDOWS, Batch, batches, make_batch
from .oracles import as_rows, as_tensor, loop_discounted_sum, loop_future_kl, matrix_future_kl

# Eight roundings of float32, relative to the sum of magnitudes.
FLOAT32_TOLERANCE = 1e-6
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "half_life": st.sampled_from(HALF_LIVES),
    "max_ratio": st.sampled_from((None, 1.2, 10.0)),
    "start": st.sampled_from(("include_current", "exclude_current")),
    "window": st.sampled_from(WINDOWS),
    "average": st.booleans(),
    "log_ratio_clamp": st.sampled_from((0.5, 20.0)),
}


def log_ratio_of(batch: Batch) -> Tensor:
    return batch.log_prob - batch.old_log_prob


def assert_within_rounding(actual: Tensor, expected: Tensor, magnitude: Tensor, tolerance: float = 1e-12) -> None:
    """Errors are measured against the sum of magnitudes: the sum itself may cancel to nothing."""
    assert actual.shape == expected.shape
    error = (actual.double() - expected).abs()
    assert bool((error <= tolerance * magnitude + 1e-300).all()), f"off by {error.max():g}"


@settings(max_examples=500, deadline=None)
@given(batch=batches(), options=st.fixed_dictionaries(OPTIONS))
@example(
    batch=make_batch(1, 3, 129, spread=2.0, poison=True),
    options={
        "half_life": 32.0,
        "max_ratio": 10.0,
        "start": "exclude_current",
        "window": 64,
        "average": True,
        "log_ratio_clamp": 20.0,
    },
)
def test_the_loop_the_matrix_and_the_code_agree(batch: Batch, options: dict[str, Any]) -> None:
    shift = log_ratio_of(batch)
    loop = loop_future_kl(shift, batch.mask, **options)
    magnitude = loop_future_kl(shift, batch.mask, **options, absolute=True)
    assert_within_rounding(matrix_future_kl(shift, batch.mask, **options), loop, magnitude)
    assert_within_rounding(future_kl(shift, batch.mask, **options), loop, magnitude)


GAMMAS = {"0": 1e-6, "0.5": 1.0, "0.99": -1.0 / math.log2(0.99), "1": math.inf}


def recurrence(row: list[float], half_life: float, window: int | None) -> list[float]:
    """F_t = x_t + γ·F_{t+1} in float64, or the windowed sum term by term."""
    if window is not None:
        return loop_discounted_sum([row], half_life, window=window)[0]
    result, tail = [], 0.0
    for value in reversed(row):
        tail = value + 2.0 ** (-1.0 / half_life) * tail
        result.append(tail)
    return result[::-1]


@pytest.mark.parametrize("window", [None, 100])
@pytest.mark.parametrize("length", [1, 127, 128, 129, 1000, 5000])
@pytest.mark.parametrize("half_life", GAMMAS.values(), ids=[f"gamma={name}" for name in GAMMAS])
def test_float32_keeps_its_digits(half_life: float, length: int, window: int | None) -> None:
    batch = make_batch(length, 2, length, spread=1.0, mask="full")
    shift = log_ratio_of(batch).float()
    actual = future_kl(shift, batch.mask, half_life, None, window=window)
    assert actual.dtype == torch.float32
    exact = [recurrence(row, half_life, window) for row in as_rows(shift)]
    magnitude = [recurrence([abs(x) for x in row], half_life, window) for row in as_rows(shift)]
    assert_within_rounding(actual, as_tensor(exact, shift), as_tensor(magnitude, shift), FLOAT32_TOLERANCE)


@pytest.mark.parametrize("half_life", [1.0, 32.0, math.inf])
def test_a_window_keeps_its_digits_beside_a_huge_tail(half_life: float) -> None:
    """The difference of two whole sums would lose the small values in front of the large ones."""
    shift = torch.logspace(-9, 1, 1000, dtype=torch.float32).unsqueeze(0)
    actual = future_kl(shift, torch.ones_like(shift), half_life, None, window=30)
    exact = as_tensor(loop_discounted_sum(as_rows(shift), half_life, window=30), shift)
    assert_within_rounding(actual, exact, exact, FLOAT32_TOLERANCE)


def test_the_definition_on_three_tokens() -> None:
    shift = torch.tensor([[0.5, -0.25, 1.0]], dtype=torch.float64)
    mask = torch.ones_like(shift)

    def found(**options: Any) -> list[float]:
        return future_kl(shift, mask, half_life=1.0, **options)[0].tolist()

    assert found() == [0.5 - 0.125 + 0.25, -0.25 + 0.5, 1.0]
    assert found(start="exclude_current") == [-0.125 + 0.25, 0.5, 0.0]
    assert found(window=2) == [0.5 - 0.125, -0.25 + 0.5, 1.0]
    assert found(window=1) == [0.5, -0.25, 1.0]
    assert found(start="exclude_current", window=2) == [-0.125, 0.5, 0.0]
    assert found(start="exclude_current", window=1) == [0.0, 0.0, 0.0]
    assert found(average=True) == [0.625 / 1.75, 0.25 / 1.5, 1.0]
    assert found(start="exclude_current", average=True) == [0.125 / 0.75, 0.5 / 0.5, 0.0]


def test_a_hole_adds_nothing_but_counts_one_step() -> None:
    shift = torch.tensor([[0.0, 9.0, 1.0]], dtype=torch.float64)
    mask = torch.tensor([[1, 0, 1]])
    assert future_kl(shift, mask, half_life=1.0)[0].tolist() == [0.25, 0.5, 1.0]
    assert future_kl(shift, mask, half_life=1.0, average=True)[0].tolist() == [0.25 / 1.25, 1.0, 1.0]


def test_tokens_past_the_ratio_limit_take_no_part_but_the_limit_itself_does() -> None:
    limit = math.log(4.0)
    shift = torch.tensor([[limit, math.nextafter(limit, 9.0), -15.0]], dtype=torch.float64)
    mask = torch.ones_like(shift)
    assert future_kl(shift, mask, math.inf, 4.0)[0].tolist() == [limit - 15.0, -15.0, -15.0]
    assert future_kl(shift, mask, math.inf, None)[0, 1].item() == pytest.approx(limit - 15.0, rel=1e-14)
    # The filter leaves the sum of discounts alone: the token is there, it just has no say.
    assert future_kl(shift, mask, math.inf, 4.0, average=True)[0, 1].item() == -7.5


def test_an_average_over_nothing_is_zero() -> None:
    shift = torch.ones(2, 3)
    mask = torch.tensor([[1, 0, 0], [0, 0, 0]])
    assert future_kl(shift, mask, average=True).tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert future_kl(shift, mask, average=True, start="exclude_current").tolist() == [[0.0] * 3] * 2


def test_log_ratios_are_clamped_before_they_are_summed() -> None:
    shift = torch.tensor([[1e4, -1e4, 5.0]], dtype=torch.float64)
    mask = torch.ones_like(shift)
    assert future_kl(shift, mask, math.inf, None)[0].tolist() == [5.0, -15.0, 5.0]
    assert future_kl(shift, mask, math.inf, None, log_ratio_clamp=2.0)[0].tolist() == [2.0, 0.0, 2.0]
    # Clamped first, then compared with the limit: e² is within it, e^10000 is not.
    assert future_kl(shift, mask, math.inf, 10.0, log_ratio_clamp=2.0)[0, 0].item() == 2.0


def test_what_stands_outside_the_mask_is_never_read() -> None:
    batch = make_batch(3, 5, 130)
    for options in ({}, {"window": 20}, {"average": True}, {"start": "exclude_current"}, {"max_ratio": None}):
        clean = future_kl(log_ratio_of(batch), batch.mask, **options)
        assert torch.equal(future_kl(log_ratio_of(batch.poisoned()), batch.mask, **options), clean)


def test_the_past_never_reaches_the_future() -> None:
    shift = log_ratio_of(make_batch(4, 2, 200))
    mask = torch.ones_like(shift)
    changed = shift.clone()
    changed[:, :100] += 1.0
    for window in (None, 70):
        before, after = (future_kl(x, mask, window=window) for x in (shift, changed))
        assert torch.equal(before[:, 100:], after[:, 100:])
        assert not torch.equal(before[:, :100], after[:, :100])


def test_the_window_ends_where_it_says() -> None:
    shift = torch.zeros(1, 10, dtype=torch.float64)
    shift[0, 7] = 1.0
    reached = future_kl(shift, torch.ones_like(shift), math.inf, window=3)[0]
    assert reached.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0]
    excluded = future_kl(shift, torch.ones_like(shift), math.inf, window=3, start="exclude_current")[0]
    assert excluded.tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]


def test_the_result_carries_no_gradient() -> None:
    shift = torch.ones(2, 3, requires_grad=True)
    result = future_kl(shift, torch.ones(2, 3), average=True)
    assert not result.requires_grad
    assert result.grad_fn is None


def test_the_inputs_are_left_as_they_were() -> None:
    shift, mask = torch.full((1, 3), 30.0), torch.ones(1, 3)
    result = future_kl(shift, mask, max_ratio=None)
    result.zero_()
    assert shift.tolist() == [[30.0] * 3]
    assert mask.tolist() == [[1.0] * 3]
    single = torch.ones(1, 1)
    discounted_sum(single, 0.5).zero_()
    assert single.item() == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precisions_are_summed_in_float32(dtype: torch.dtype) -> None:
    shift = log_ratio_of(make_batch(5, 3, 90)).to(dtype)
    mask = torch.ones(3, 90)
    result = future_kl(shift, mask)
    assert result.dtype == torch.float32
    assert torch.equal(result, future_kl(shift.float(), mask))
    assert future_kl(shift.double(), mask).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8, torch.float32, torch.bfloat16])
def test_masks_of_any_type_mean_the_same(dtype: torch.dtype) -> None:
    batch = make_batch(6, 3, 90)
    expected = future_kl(log_ratio_of(batch), batch.mask, average=True)
    assert torch.equal(future_kl(log_ratio_of(batch), batch.mask.to(dtype), average=True), expected)


def pack(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Packed log ratios and mask, their borders, and the sequences they were made of."""
    batch = make_batch(seed, 1, sum(lengths), spread=1.0)
    shift, mask = log_ratio_of(batch.poisoned())[0], batch.mask[0]
    borders = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
    return shift, mask, borders, list(shift.split(lengths)), list(mask.split(lengths))


@pytest.mark.parametrize("lengths", [[5], [3, 1, 70], [64, 64, 129], [0, 7, 0, 0, 2, 0], [1] * 9, [0, 0]])
@pytest.mark.parametrize("start", ["include_current", "exclude_current"])
@pytest.mark.parametrize("window", [None, 2, 65])
@pytest.mark.parametrize("average", [False, True])
def test_packed_sequences_equal_padded_rows(lengths: list[int], start: Any, window: int | None, average: bool) -> None:
    shift, mask, borders, shifts, masks = pack(lengths)
    options = {"start": start, "window": window, "average": average}
    packed = future_kl(shift, mask, 32.0, 10.0, cu_seqlens=borders, **options)
    assert packed.shape == shift.shape
    for part, one_shift, one_mask in zip(packed.split(lengths), shifts, masks):
        alone = loop_future_kl(one_shift.unsqueeze(0), one_mask.unsqueeze(0), 32.0, 10.0, **options)[0]
        torch.testing.assert_close(part, alone, rtol=1e-12, atol=1e-12)


def test_nothing_crosses_a_packed_border() -> None:
    lengths = [40, 90, 3]
    shift, mask, borders, *_ = pack(lengths)
    mask = torch.ones_like(mask)
    shift = torch.nan_to_num(shift, nan=0.1, posinf=0.2, neginf=0.3).clamp(-2, 2)
    before = future_kl(shift, mask, math.inf, None, cu_seqlens=borders)
    shift[40:130] += 0.5
    after = future_kl(shift, mask, math.inf, None, cu_seqlens=borders)
    assert torch.equal(before[:40], after[:40])
    assert torch.equal(before[130:], after[130:])
    assert not torch.isclose(before[40:130], after[40:130]).any()


def test_packed_borders_may_be_int32() -> None:
    shift, mask, borders, *_ = pack([4, 6])
    expected = future_kl(shift, mask, cu_seqlens=borders)
    assert torch.equal(future_kl(shift, mask, cu_seqlens=borders.int()), expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (0, 100), (3, 0)])
@pytest.mark.parametrize("start", ["include_current", "exclude_current"])
@pytest.mark.parametrize("window", [None, 1, 7, 64])
def test_empty_batches_stay_empty(shape: tuple[int, int], start: Any, window: int | None) -> None:
    result = future_kl(torch.zeros(shape), torch.zeros(shape), start=start, window=window, average=True)
    assert tuple(result.shape) == shape


@pytest.mark.parametrize("window", [None, 1, 2, 3, 64, 65])
@pytest.mark.parametrize("start", ["include_current", "exclude_current"])
def test_a_discounted_sum_takes_any_discount(start: Any, window: int | None) -> None:
    x = log_ratio_of(make_batch(7, 2, 150))
    for discount, half_life in ((0.0, 1e-6), (0.5, 1.0), (1.0, math.inf)):
        expected = as_tensor(loop_discounted_sum(as_rows(x), half_life, start=start, window=window), x)
        actual = discounted_sum(x, discount, start=start, window=window)
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "mask_shape"), [((2, 3), (2, 1)), ((2, 3), (3,)), ((2, 1), (2, 3)), ((2, 3), (3, 2)), ((2, 3), (1, 3))]
)
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...], mask_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        future_kl(torch.zeros(shape), torch.zeros(mask_shape))
    assert str(caught.value) == f"response_mask has shape {mask_shape}, expected that of log_ratio, {shape}"


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 4)])
def test_rows_must_be_two_dimensional(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        future_kl(torch.zeros(shape), torch.zeros(shape))
    assert str(caught.value) == f"log_ratio has shape {shape}, expected (B, T)"


def test_packed_rows_must_be_one_dimensional() -> None:
    with pytest.raises(ValueError, match=r"log_ratio has shape \(2, 3\), expected \(T,\) with cu_seqlens"):
        future_kl(torch.zeros(2, 3), torch.zeros(2, 3), cu_seqlens=torch.tensor([0, 3]))


@pytest.mark.parametrize("half_life", [0.0, -1.0, -math.inf, math.nan])
def test_a_half_life_must_be_positive(half_life: float) -> None:
    with pytest.raises(ValueError, match=rf"^half_life={half_life} must be greater than 0 \(math.inf for no decay\)"):
        future_kl(torch.zeros(1, 1), torch.zeros(1, 1), half_life)


@pytest.mark.parametrize("window", [0, -3, 2.5])
def test_a_window_holds_at_least_one_token(window: float) -> None:
    with pytest.raises(ValueError, match=rf"^window={window} must be a whole number >= 1, or None for no window"):
        future_kl(torch.zeros(1, 1), torch.zeros(1, 1), window=window)  # type: ignore[arg-type]


@pytest.mark.parametrize("borders", [[], [0], [0, 3], [0, 5], [1, 4], [0, 3, 2, 4], [0, 6, 4]])
def test_borders_must_rise_from_zero_to_the_number_of_tokens(borders: list[int]) -> None:
    with pytest.raises(ValueError) as caught:
        future_kl(torch.zeros(4), torch.zeros(4), cu_seqlens=torch.tensor(borders, dtype=torch.int64))
    assert str(caught.value) == f"cu_seqlens must rise from 0 to the 4 packed tokens, found {borders}"


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^start='exclude' must be one of 'include_current', 'exclude_current'"):
        future_kl(torch.ones(1, 2), torch.ones(1, 2), start="exclude")  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_a_bad_max_ratio_is_named(bad: float) -> None:
    with pytest.raises(ValueError, match=f"^max_ratio={bad} must be greater than 0"):
        future_kl(torch.ones(1, 2), torch.ones(1, 2), max_ratio=bad)


def test_no_packed_sequences_at_all() -> None:
    assert future_kl(torch.zeros(0), torch.zeros(0), cu_seqlens=torch.tensor([0])).shape == (0,)


def test_borders_are_whole_numbers() -> None:
    with pytest.raises(ValueError, match=r"cu_seqlens is torch.float32 of shape \(2,\), expected whole numbers"):
        future_kl(torch.zeros(3), torch.zeros(3), cu_seqlens=torch.tensor([0.0, 3.0]))


@pytest.mark.parametrize("gap", [4050, 4800])
def test_an_average_beyond_a_long_hole_keeps_its_value_in_float32(gap: int) -> None:
    mask = torch.zeros(1, gap + 2)
    mask[0, 0] = mask[0, -1] = 1
    found = future_kl(torch.full((1, gap + 2), 0.5), mask, 32.0, average=True, start="exclude_current")
    assert found.dtype == torch.float32
    assert found[0, 0].item() == pytest.approx(0.5, rel=1e-5)
