"""Dynamic sampling with scripted rewards, on one process and on simulated ones."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from fipo.training.dynamic_sampling import DynamicSamplingError, RolloutSampler, Scored, merge_batches, trim_columns
from fipo.training.prompts import PromptStream

GROUP = 4


def prompts(script: str) -> list[dict[str, Any]]:
    """One prompt per letter: u useful, r all right, w all wrong, s a single right one, p a single wrong one."""
    return [{"prompt": letter, "number": index} for index, letter in enumerate(script)]


def reward(letter: str, position: int) -> float:
    return {"u": position % 2, "r": 1, "w": 0, "s": position == 0, "p": position != 0}[letter]


class Scripted:
    """Stands for the model: row i of a group gets the reward that its prompt's letter says."""

    def __init__(self, process: int = 0, processes: int = 1, gather: Any = None) -> None:
        self.process, self.processes, self.gather = process, processes, gather
        self.sizes: list[int] = []

    def __call__(self, rows: list[dict[str, Any]]) -> Scored:
        self.sizes.append(len(rows))
        offset = self.process * len(rows)
        values = [reward(row["prompt"], (offset + index) % GROUP) for index, row in enumerate(rows)]
        length = 1 + len(self.sizes)
        batch = {
            "prompt_ids": torch.tensor([[row["number"]] for row in rows]),
            "prompt_mask": torch.ones(len(rows), 1, dtype=torch.long),
            "completion_ids": torch.full((len(rows), length), 7),
            "completion_mask": torch.ones(len(rows), length, dtype=torch.long),
            "advantages": torch.tensor(values, dtype=torch.float32),
        }
        everyone = self.gather(values) if self.gather else [values]
        return Scored(batch, torch.tensor([v for part in everyone for v in part], dtype=torch.float32))


def sampler(script: str, *, wanted: int, generate: Any = None, **changes: Any) -> RolloutSampler:
    options: dict[str, Any] = {
        "prompts_per_generation": wanted,
        "max_generation_batches": 10,
        "enabled": True,
        "stop_at_limit": True,
        "pad_token_id": 0,
    }
    return RolloutSampler(
        stream=PromptStream(prompts(script), seed=0, shuffle=False),
        generate=generate or Scripted(),
        group_size=GROUP,
        prompts=wanted,
        **{**options, **changes},
    )


def numbers(batch: dict[str, torch.Tensor]) -> list[int]:
    return batch["prompt_ids"][:, -1].tolist()


def test_uniform_groups_are_replaced_by_new_prompts():
    made = sampler("urwuuuuu", wanted=4)
    batch = made.sample()
    assert numbers(batch) == [n for n in (0, 3, 4, 5) for _ in range(GROUP)]
    assert batch["response_mask"].sum() > 0
    tally = made.tally
    assert (tally.generation_batches, tally.uniform, tally.all_right, tally.kept) == (2, 2, 1, 4)


@pytest.mark.parametrize("letter", ["s", "p"])
def test_a_group_with_a_single_odd_one_out_is_kept_whole(letter):
    batch = sampler(f"u{letter}", wanted=2).sample()
    assert numbers(batch) == [0] * GROUP + [1] * GROUP
    assert (batch["response_mask"].sum(dim=1) > 0).all()


def test_no_prompt_is_used_twice_and_unused_ones_come_next():
    made = sampler("wwuwuuuuuuuu", wanted=2)
    first = set(numbers(made.sample()))
    second = set(numbers(made.sample()))
    assert first == {2, 4}
    assert not first & second


def test_refills_are_sized_by_the_acceptance_seen():
    generate = Scripted()
    sampler("uuuw" * 10, wanted=16, generate=generate).sample()
    # 12 of 16 found: 4 missing at 3 in 4 accepted, and a tenth more, make 6 prompts.
    assert generate.sizes == [16 * GROUP, 6 * GROUP]


def test_the_limit_stops_with_counts_and_advice():
    with pytest.raises(DynamicSamplingError) as caught:
        sampler("urrrrrrr", wanted=4, max_generation_batches=2).sample()
    text = str(caught.value)
    assert "1 of 4 groups" in text
    assert "2 generation batches" in text
    assert "too easy" in text
    assert "dynamic_sampling_limit=continue" in text


def test_the_advice_tells_hard_data_from_easy():
    with pytest.raises(DynamicSamplingError, match="too hard"):
        sampler("w", wanted=1, max_generation_batches=2).sample()


def test_continuing_at_the_limit_masks_what_was_not_found():
    made = sampler("uwwwwwww", wanted=4, max_generation_batches=2, stop_at_limit=False)
    batch = made.sample()
    assert len(batch["prompt_ids"]) == 4 * GROUP
    counted = batch["response_mask"].sum(dim=1) > 0
    assert {n for n, c in zip(numbers(batch), counted.tolist()) if c} == {0}
    assert counted.sum() == GROUP
    assert made.tally.kept == 1


def test_without_dynamic_sampling_every_group_is_kept():
    made = sampler("wrwu", wanted=4, enabled=False)
    batch = made.sample()
    assert numbers(batch) == [n for n in range(4) for _ in range(GROUP)]
    assert (batch["response_mask"] > 0).all()
    assert (made.tally.generation_batches, made.tally.uniform) == (1, 3)


def test_masks_of_tool_tokens_and_truncated_rows_are_kept():
    def generate(rows):
        scored = Scripted()(rows)
        scored.batch["tool_mask"] = torch.tensor([[1, 0]] * len(rows))
        scored.batch["completion_mask"][0] = 0
        return scored

    batch = sampler("u", wanted=1, generate=generate).sample()
    assert batch["response_mask"][:, :2].tolist() == [[0, 0], [1, 0], [1, 0], [1, 0]]


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("script", ["urwuuuuuuuuu", "uuuuuuwwwwww" + "u" * 12, "wwwwwwuuuuuu" + "u" * 12])
def test_processes_together_make_the_batch_of_one(processes, script):
    """Groups straddle the processes, rows move between them, and none is lost or doubled."""
    barrier = threading.Barrier(processes)
    board: dict[tuple[int, int], Any] = {}
    results: list[Any] = [None] * processes

    def work(process: int) -> None:
        turn = [0]

        def gather(value: Any) -> list[Any]:
            board[turn[0], process] = value
            barrier.wait(timeout=20)
            everyone = [board[turn[0], p] for p in range(processes)]
            turn[0] += 1
            return everyone

        def exchange(value: list[Any]) -> list[Any]:
            return [item for part in gather(value) for item in part]

        made = sampler(
            script,
            wanted=6,
            generate=Scripted(process, processes, gather),
            process_index=process,
            num_processes=processes,
            exchange=exchange,
        )
        results[process] = made.sample()

    workers = [threading.Thread(target=work, args=(p,)) for p in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    alone = sampler(script, wanted=6).sample()
    assert [len(part["prompt_ids"]) for part in results] == [6 * GROUP // processes] * processes
    together = sorted(n for part in results for n in numbers(part))
    if processes == 2:
        assert together == sorted(numbers(alone))
    counts = {n: together.count(n) for n in together}
    assert set(counts.values()) == {GROUP}
    assert all((part["response_mask"].sum(dim=1) > 0).all() for part in results)


def test_merging_pads_prompts_left_and_responses_right():
    def batch(prompt, response):
        return {
            "prompt_ids": torch.full((1, prompt), 5),
            "prompt_mask": torch.ones(1, prompt, dtype=torch.long),
            "completion_ids": torch.full((1, response), 6),
            "completion_mask": torch.ones(1, response, dtype=torch.long),
            "advantages": torch.ones(1),
        }

    merged = merge_batches([batch(1, 3), batch(2, 1)], pad_token_id=9)
    assert merged["prompt_ids"].tolist() == [[9, 5], [5, 5]]
    assert merged["prompt_mask"].tolist() == [[0, 1], [1, 1]]
    assert merged["completion_ids"].tolist() == [[6, 6, 6], [6, 9, 9]]
    assert merged["completion_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_trimming_cuts_only_padding():
    batch = {
        "prompt_ids": torch.tensor([[9, 9, 1]]),
        "prompt_mask": torch.tensor([[0, 0, 1]]),
        "completion_ids": torch.tensor([[4, 9, 9, 9]]),
        "completion_mask": torch.tensor([[1, 0, 0, 0]]),
        "old_per_token_logps": torch.tensor([[-1.0, 0.0, 0.0, 0.0]]),
        "importance_sampling_ratio": torch.tensor([[0.5]]),
    }
    trimmed = trim_columns(batch)
    assert {name: tuple(tensor.shape) for name, tensor in trimmed.items()} == dict.fromkeys(batch, (1, 1))
