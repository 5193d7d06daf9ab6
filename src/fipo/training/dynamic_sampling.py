"""Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): groups without a learning signal are replaced.

A group whose rewards are all equal has advantages of 0. It is dropped, and new prompts are sampled until the
batch is full. Equality is decided on the whole group, from rewards gathered over all processes, so that every
process takes the same decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fipo.errors import FIPOError
from fipo.objective import uniform_groups
from fipo.training.prompts import PromptStream

Batch = dict[str, Tensor]
# Padded on the left like prompts; everything else that is (B, T) is padded on the right.
LEFT_PADDED = ("prompt_ids", "prompt_mask")
# A refill asks for this much more than the acceptance seen so far would need, to spare a third round.
REFILL_MARGIN = 1.1


class DynamicSamplingError(FIPOError):
    """The limit of generation batches was reached before the batch was full."""


@dataclass
class Scored:
    """One generation batch: local tensors, and the deciding reward of all rows of all processes."""

    batch: Batch
    decisive_rewards: Tensor


@dataclass
class Tally:
    """What dynamic sampling did for one rollout, over all processes."""

    generation_batches: int = 0
    sampled: int = 0
    uniform: int = 0
    kept: int = 0
    all_right: int = 0


@dataclass
class RolloutSampler:
    """Fills one training batch with useful groups.

    Args:
        stream: where prompts come from; the same on every process.
        generate: samples and scores this process's rows (each prompt repeated `group_size` times).
        group_size: responses per prompt.
        prompts: groups per training batch, over all processes.
        prompts_per_generation: prompts of the first generation batch, and at most of each refill.
        max_generation_batches: limit of generation batches per rollout.
        enabled: False keeps every group of one generation batch (GRPO).
        stop_at_limit: True raises at the limit; False trains on what was found, the rest masked out.
        process_index: this process.
        num_processes: all of them.
        exchange: gathers Python objects from all processes; needed above one process.
        pad_token_id: fills token tensors.
    """

    stream: PromptStream
    generate: Callable[[list[dict[str, Any]]], Scored]
    group_size: int
    prompts: int
    prompts_per_generation: int
    max_generation_batches: int
    enabled: bool
    stop_at_limit: bool
    pad_token_id: int
    process_index: int = 0
    num_processes: int = 1
    exchange: Callable[[Any], list[Any]] | None = None
    tally: Tally = field(default_factory=Tally)

    def sample(self) -> Batch:
        """A local batch of prompts · group_size / num_processes rows; masked-out rows fill what was not found.

        Adds `response_mask` (the tokens that count in the loss) and `group` (a number per prompt).

        Raises:
            DynamicSamplingError: the limit was hit and `stop_at_limit` is set.
        """
        self.tally = Tally()
        batches: list[Batch] = []
        useful: list[int] = []
        dropped: list[int] = []
        while len(useful) < self.prompts and self.tally.generation_batches < self._batch_limit:
            first = self.tally.sampled
            size = self._next_size(len(useful))
            scored = self.generate(self._local_rows(self.stream.take(size)))
            is_useful = self._useful_groups(scored.decisive_rewards)
            for offset, kept in enumerate(is_useful.tolist()):
                (useful if kept else dropped).append(first + offset)
            scored.batch["group"] = first + self._local_index(size) // self.group_size
            batches.append(scored.batch)
            self.tally.generation_batches += 1
            self.tally.sampled += size
        if len(useful) < self.prompts and self.stop_at_limit:
            raise DynamicSamplingError(self._limit_message(len(useful)))
        return self._assemble(batches, useful[: self.prompts], dropped)

    @property
    def _batch_limit(self) -> int:
        return self.max_generation_batches if self.enabled else 1

    def _next_size(self, found: int) -> int:
        """Prompts of the next generation batch, from the acceptance seen so far."""
        if not self.enabled:
            return self.prompts
        size = self.prompts_per_generation
        if self.tally.sampled and found:
            needed = (self.prompts - found) * self.tally.sampled / found
            size = min(size, math.ceil(needed * REFILL_MARGIN))
        # Every process needs the same number of rows.
        step = self.num_processes // math.gcd(self.num_processes, self.group_size)
        return -(-size // step) * step

    def _local_index(self, prompts: int) -> Tensor:
        """Which rows of a generation batch are this process's."""
        local = prompts * self.group_size // self.num_processes
        return torch.arange(self.process_index * local, (self.process_index + 1) * local)

    def _local_rows(self, prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [dict(prompts[i // self.group_size]) for i in self._local_index(len(prompts)).tolist()]

    def _useful_groups(self, rewards: Tensor) -> Tensor:
        uniform = uniform_groups(rewards, self.group_size)
        common = rewards.view(-1, self.group_size)[:, 0]
        self.tally.uniform += int(uniform.sum())
        self.tally.all_right += int((uniform & (common > 0)).sum())
        return ~uniform if self.enabled else torch.ones_like(uniform)

    def _assemble(self, batches: list[Batch], chosen: list[int], dropped: list[int]) -> Batch:
        """The chosen groups, filled up with masked-out ones, in equal parts on all processes."""
        self.tally.kept = len(chosen)
        filler = dropped[-(self.prompts - len(chosen)) :] if len(chosen) < self.prompts else []
        batch = merge_batches(batches, self.pad_token_id)
        group = batch["group"]
        response_mask = batch["completion_mask"]
        if "tool_mask" in batch:
            response_mask = response_mask * batch["tool_mask"]
        counts = torch.isin(group, torch.tensor(chosen, dtype=group.dtype))
        batch["response_mask"] = response_mask * counts.to(response_mask).unsqueeze(1)
        batch = take_rows(batch, torch.isin(group, torch.tensor(chosen + filler, dtype=group.dtype)))
        if self.num_processes > 1:
            batch = self._balance(batch)
        return trim_columns(batch)

    def _balance(self, batch: Batch) -> Batch:
        """Move surplus rows to processes that lack some; only those rows travel."""
        assert self.exchange is not None
        quota = self.prompts * self.group_size // self.num_processes
        rows = len(batch["group"])
        surplus = take_rows(batch, torch.arange(rows) >= quota)
        device = batch["completion_ids"].device
        moved = self.exchange([(rows, {name: tensor.cpu() for name, tensor in surplus.items()})])
        lacking = [max(0, quota - count) for count, _ in moved]
        if not any(lacking):
            return take_rows(batch, torch.arange(rows) < quota)
        pool = merge_batches([part for _, part in moved if len(part["group"])], self.pad_token_id)
        start = sum(lacking[: self.process_index])
        position = torch.arange(len(pool["group"]))
        mine = take_rows(pool, (position >= start) & (position < start + lacking[self.process_index]))
        mine = {name: tensor.to(device) if name != "group" else tensor for name, tensor in mine.items()}
        return merge_batches([take_rows(batch, torch.arange(rows) < quota), mine], self.pad_token_id)

    def _limit_message(self, found: int) -> str:
        wrong = self.tally.uniform - self.tally.all_right
        return (
            f"dynamic sampling found {found} of {self.prompts} groups whose rewards differ in "
            f"{self.tally.generation_batches} generation batches ({self.tally.sampled} groups sampled: "
            f"{self.tally.all_right} all right, {wrong} all wrong). The data are too "
            f"{'easy' if self.tally.all_right > wrong else 'hard'} for this model: choose other data, raise "
            "num_generations or max_generation_batches, or set dynamic_sampling_limit=continue"
        )


def merge_batches(batches: list[Batch], pad_token_id: int) -> Batch:
    """Concatenate rows, padding every (B, T) tensor to the widest."""
    if len(batches) == 1:
        return dict(batches[0])
    merged: Batch = {}
    for name in batches[0]:
        parts = [batch[name] for batch in batches]
        if parts[0].dim() == 2:
            width = max(part.shape[1] for part in parts)
            fill = pad_token_id if name.endswith("_ids") else 0
            parts = [_pad_columns(part, width, fill, left=name in LEFT_PADDED) for part in parts]
        merged[name] = torch.cat(parts)
    return merged


def take_rows(batch: Batch, chosen: Tensor) -> Batch:
    """The rows where `chosen` (bool) is set."""
    return {name: tensor[chosen.to(tensor.device)] for name, tensor in batch.items()}


def trim_columns(batch: Batch) -> Batch:
    """Cut the columns that are padding in every row."""
    prompt = int(batch["prompt_mask"].sum(dim=1).max()) if len(batch["prompt_mask"]) else 0
    used = (batch["completion_mask"] > 0).any(dim=0).nonzero()
    response = max(1, int(used.max()) + 1) if len(used) else 1
    width = batch["completion_mask"].shape[1]
    trimmed = {}
    for name, tensor in batch.items():
        if name in LEFT_PADDED:
            tensor = tensor[:, tensor.shape[1] - prompt :]
        elif tensor.dim() == 2 and tensor.shape[1] == width:
            tensor = tensor[:, :response]
        trimmed[name] = tensor
    return trimmed


def _pad_columns(tensor: Tensor, width: int, value: int, *, left: bool) -> Tensor:
    missing = width - tensor.shape[1]
    return torch.nn.functional.pad(tensor, (missing, 0) if left else (0, missing), value=value)
