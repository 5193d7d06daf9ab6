"""The prompt stream: every row once per epoch, in an order that the seed alone decides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fipo.training.prompts import PromptStream


def rows(count):
    return [{"prompt": str(index)} for index in range(count)]


class Iterable:
    """Rows that can only be iterated."""

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return iter(rows(self.count))


@given(size=st.integers(1, 20), takes=st.lists(st.integers(1, 7), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_every_row_comes_once_per_epoch(size, takes, seed):
    stream = PromptStream(rows(size), seed=seed)
    seen = [row["prompt"] for count in takes for row in stream.take(count)]
    for begin in range(0, len(seen), size):
        epoch = seen[begin : begin + size]
        assert len(set(epoch)) == len(epoch)


@given(size=st.integers(1, 20), before=st.integers(0, 45), after=st.integers(1, 30), indexed=st.booleans())
def test_a_restored_stream_continues_where_it_stood(size, before, after, indexed):
    data = rows(size) if indexed else Iterable(size)
    stream = PromptStream(data, seed=5)
    stream.take(before)
    other = PromptStream(data, seed=5)
    other.restore(stream.state)
    assert stream.take(after) == other.take(after)


def test_epochs_and_seeds_have_orders_of_their_own():
    def first(seed):
        stream = PromptStream(rows(50), seed=seed)
        return stream.take(50), stream.take(50)

    (one, two), (other, _) = first(0), first(1)
    assert one != two
    assert one != other
    assert first(0) == (one, two)


def test_order_is_kept_without_shuffling():
    assert PromptStream(rows(5), seed=0, shuffle=False).take(7) == rows(5) + rows(2)


def test_epochs_count_passes():
    stream = PromptStream(rows(4), seed=0)
    stream.take(6)
    assert stream.epochs == 1.5
