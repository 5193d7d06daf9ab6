"""Run under a launcher by `test_distributed.py`: one rollout whose responses are scripted.

Arguments: output folder, algorithm, updates per rollout. Writes the trained weights and what this process saw.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import PrinterCallback

from fipo.tasks.arithmetic import build_tokenizer, generate_problems
from fipo.training import FIPOTrainer, FIPOTrainingConfig
from tests.training.conftest import make_tiny_model

GROUP = 4


def scripted_rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Responses that depend on the prompt and the place in the group alone, whichever process makes them."""
    tokenizer = trainer.processing_class
    prompt_ids = tokenizer(prompts)["input_ids"]
    first = trainer.accelerator.process_index * len(prompts)
    completion_ids = []
    for index, ids in enumerate(prompt_ids):
        place = (first + index) % GROUP
        words = [ids[(place + step) % len(ids)] for step in range(2 + (len(ids) + place) % 5)]
        completion_ids.append([*words, tokenizer.eos_token_id])
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}


def length_reward(completions: list[str], completion_ids: list[list[int]], prompts: list[str], **_: Any) -> list[float]:
    """Equal within every third prompt's group, so that dynamic sampling has something to drop."""
    return [1.0 if len(prompt) % 3 == 0 else float(len(ids) % 2 == 0) for prompt, ids in zip(prompts, completion_ids)]


def main() -> None:
    """Train one rollout and save."""
    out, algorithm, updates = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    rows = generate_problems(48, seed=5, split="train")
    args = FIPOTrainingConfig(
        output_dir=str(out),
        algorithm=algorithm,
        prompts_per_rollout=6,
        num_generations=GROUP,
        updates_per_rollout=updates,
        per_device_train_batch_size=2,
        rollouts=1,
        save_rollouts=None,
        max_completion_length=16,
        learning_rate=0.5,
        optim="sgd",
        max_grad_norm=1e9,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = FIPOTrainer(
        make_tiny_model(tokenizer),
        length_reward,
        args=args,
        train_dataset=Dataset.from_list([{"prompt": row.prompt} for row in rows]),
        processing_class=tokenizer,
        rollout_func=scripted_rollout,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    if trainer.accelerator.is_main_process:
        weights = {n: v.detach().clone() for n, v in trainer.accelerator.unwrap_model(trainer.model).named_parameters()}
        save_file(weights, str(out / "trained.safetensors"))


if __name__ == "__main__":
    main()
