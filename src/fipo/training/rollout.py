"""What one rollout is remembered by until its updates are made: lengths, rewards, seconds, a few responses."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fipo.training.metrics import length_metrics


@dataclass
class Rollout:
    """Collected while a training batch is sampled; tensors cover all processes.

    Attributes:
        lengths: per generation batch, (B,) tokens of each response, end token included.
        truncated: per generation batch, (B,) bool, responses that hit the limit.
        rewards: per generation batch, (B, number of reward functions).
        seconds: time spent in "gen" and "reward" on this process.
        texts: (prompts, completions) of this process's latest generation batch.
    """

    started: float = field(default_factory=time.perf_counter)
    lengths: list[Tensor] = field(default_factory=list)
    truncated: list[Tensor] = field(default_factory=list)
    rewards: list[Tensor] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"gen": 0.0, "reward": 0.0})
    texts: tuple[list[Any], list[Any]] = ((), ())  # type: ignore[assignment]
    samples: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)

    def time(self, name: str, call: Callable[[], Any]) -> Any:
        """Run `call` and add its seconds to `name`."""
        started = time.perf_counter()
        result = call()
        self.seconds[name] += time.perf_counter() - started
        return result

    def end_sampling(self) -> None:
        """What sampling took beyond generation and rewards went into the old log-probs."""
        elapsed = time.perf_counter() - self.started
        self.seconds["old_log_prob"] = max(0.0, elapsed - sum(self.seconds.values()))

    def reward_metrics(self, weights: Tensor, decisive: int) -> dict[str, float]:
        """Keys `reward/mean|std|accuracy` and `response_length/...`, over every sampled response."""
        rewards = torch.cat(self.rewards)
        total = total_rewards(rewards, weights)
        return {
            "reward/mean": total.mean().item(),
            "reward/std": total.std().item(),
            "reward/accuracy": rewards[:, decisive].nanmean().item(),
            **length_metrics(torch.cat(self.lengths), torch.cat(self.truncated)),
        }

    def timing(self) -> dict[str, float]:
        """Keys `timing_s/gen|reward|old_log_prob|update_actor|step` (s), `perf/sampled_tokens_per_second`."""
        step = time.perf_counter() - self.started
        timing = {f"timing_s/{name}": seconds for name, seconds in self.seconds.items()}
        sampled = torch.cat(self.lengths).sum().item()
        return {
            **timing,
            "timing_s/update_actor": max(0.0, step - sum(self.seconds.values())),
            "timing_s/step": step,
            "perf/sampled_tokens": sampled,
            "perf/sampled_tokens_per_second": sampled / max(step, 1e-9),
        }

    def keep_samples(
        self,
        count: int,
        rows: Sequence[dict[str, Any]],
        rewards: Tensor,
        advantages: Tensor,
        lengths: Sequence[int],
        names: Sequence[str],
    ) -> None:
        """Remember `count` responses of the first generation batch, spread over its groups."""
        if self.samples or count == 0:
            return
        prompts, completions = self.texts
        picked = [index * len(rows) // count for index in range(min(count, len(rows)))]
        for index in picked:
            # Two reward functions may share a name, two lambdas for one.
            labels = [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
            scores = {label: value for label, value in zip(labels, rewards[index].tolist()) if not math.isnan(value)}
            self.samples.append(
                {
                    "prompt": prompts[index],
                    "completion": plain_text(completions[index]),
                    "answer": rows[index].get("answer"),
                    "rewards": scores,
                    "advantage": advantages[index].item(),
                    "length": lengths[index],
                }
            )


def total_rewards(rewards: Tensor, weights: Tensor) -> Tensor:
    """(B,): the weighted sum of the reward functions that apply to each response."""
    return (rewards * weights.to(rewards)).nansum(dim=1)


def plain_text(completion: Any) -> str:
    """The text of a completion, plain or conversational."""
    if isinstance(completion, str):
        return completion
    return "\n".join(str(message.get("content")) for message in completion)
