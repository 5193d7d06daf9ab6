"""The order in which a run meets its prompts: one seeded stream, every prompt once per epoch, resumable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch


class PromptStream:
    """Hands out rows of a data set, across epochs, in an order that depends on the seed alone.

    Dynamic sampling takes a varying number of prompts per rollout, which a data loader of fixed batches cannot
    give without repeating or losing rows. Every process holds the same stream and takes the same rows.

    Args:
        dataset: rows as dicts, either indexable (`len`, `[i]`) or iterable only.
        seed: seed of the permutations.
        shuffle: False keeps the order of the data set. An iterable data set is never shuffled here.
    """

    def __init__(self, dataset: Any, *, seed: int, shuffle: bool = True) -> None:
        self.dataset = dataset
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self.position = 0
        self._order: list[int] | None = None
        self._iterator: Iterator[Any] | None = None

    def take(self, count: int) -> list[dict[str, Any]]:
        """The next `count` rows."""
        return [self._next() for _ in range(count)]

    @property
    def state(self) -> dict[str, int]:
        """Where the stream stands, for a checkpoint."""
        return {"epoch": self.epoch, "position": self.position}

    @property
    def epochs(self) -> float:
        """Passes over the data so far; whole passes only where the size is unknown."""
        size = len(self.dataset) if hasattr(self.dataset, "__len__") else 0
        return self.epoch + (self.position / size if size else 0.0)

    def restore(self, state: dict[str, int]) -> None:
        """Continue from `state`."""
        self.epoch, self.position = state["epoch"], state["position"]
        self._order = None
        self._iterator = None

    def _next(self) -> dict[str, Any]:
        # An iterable data set may inherit a __getitem__ that only raises; a length it never has.
        row = self._indexed() if hasattr(self.dataset, "__len__") else self._iterated()
        self.position += 1
        return dict(row)

    def _indexed(self) -> Any:
        if self._order is None:
            self._order = self._permutation()
        if self.position >= len(self._order):
            self.epoch, self.position = self.epoch + 1, 0
            self._order = self._permutation()
        return self.dataset[self._order[self.position]]

    def _permutation(self) -> list[int]:
        size = len(self.dataset)
        if not self.shuffle:
            return list(range(size))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return torch.randperm(size, generator=generator).tolist()

    def _iterated(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self.dataset)
            for _ in range(self.position):
                next(self._iterator)
        row = next(self._iterator, None)
        if row is None:
            self.epoch, self.position = self.epoch + 1, 0
            self._iterator = iter(self.dataset)
            row = next(self._iterator)
        return row
