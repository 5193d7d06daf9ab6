"""What the demo runs: one recipe for every algorithm, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ALGORITHMS = ("dapo", "fipo")
MAX_RESPONSE = 144
OVERLONG_BUFFER = 32
PROMPTS, GROUP, UPDATES = 16, 16, 8


@dataclass(frozen=True)
class DemoSize:
    """How much is trained and measured.

    Attributes:
        rollouts: rollout batches per algorithm, each of 16 prompts x 16 responses and 8 updates.
        problems: held-out problems of the evaluation.
        samples: k of avg@k.
    """

    rollouts: int = 30
    problems: int = 256
    samples: int = 8


FULL = DemoSize()
QUICK = DemoSize(rollouts=8, problems=64, samples=8)


def demo_recipe(rollouts: int, seed: int) -> dict[str, Any]:
    """The recipe of all algorithms; `algorithm` is set per run."""
    return {
        "task": "arithmetic",
        "training": {
            "rollouts": rollouts,
            "seed": seed,
            "prompts_per_rollout": PROMPTS,
            "num_generations": GROUP,
            "updates_per_rollout": UPDATES,
            "per_device_train_batch_size": PROMPTS * GROUP // UPDATES,
            "max_completion_length": MAX_RESPONSE,
            "overlong_buffer_length": OVERLONG_BUFFER,
            "learning_rate": 3e-4,
            "weight_decay": 0.0,
            "lr_scheduler_type": "constant",
            # Late in the run most groups are all right: two rounds, then train on what was found.
            "max_generation_batches": 2,
            "dynamic_sampling_limit": "continue",
            "save_rollouts": 10,
            "use_cpu": True,
        },
    }
