"""A tiny model, the embedded task and a scripted reward for real short runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl", reason="the trainer needs the extra [train]")


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from fipo.tasks.arithmetic import build_tokenizer

    return build_tokenizer()


@pytest.fixture
def tiny_model(tokenizer: Any) -> Any:
    """A random two-layer model over the task's words, the same for every test."""
    return make_tiny_model(tokenizer)


def make_tiny_model(tokenizer: Any, *, seed: int = 0) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(scope="session")
def problems() -> Any:
    from datasets import Dataset

    from fipo.tasks.arithmetic import generate_problems

    rows = generate_problems(64, seed=3, split="train")
    return Dataset.from_list([{"prompt": row.prompt, "answer": row.answer} for row in rows])


def even_reward(completions: list[str], **_: Any) -> list[float]:
    """1 for an even number of words: random responses differ within nearly every group."""
    return [float(len(completion.split()) % 2 == 0) for completion in completions]


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Any]:
    """Small settings: 4 prompts x 4 responses, 4 updates per rollout, 2 rollouts."""
    from fipo.training import FIPOTrainingConfig

    def make(**changes: Any) -> FIPOTrainingConfig:
        base: dict[str, Any] = {
            "output_dir": str(tmp_path / "run"),
            "prompts_per_rollout": 4,
            "num_generations": 4,
            "updates_per_rollout": 4,
            "per_device_train_batch_size": 4,
            "rollouts": 2,
            "save_rollouts": None,
            "max_completion_length": 12,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "constant",
            "weight_decay": 0.0,
            "use_cpu": True,
            "disable_tqdm": True,
        }
        return FIPOTrainingConfig(**{**base, **changes})

    return make


@pytest.fixture
def make_trainer(tokenizer: Any, problems: Any, settings: Callable[..., Any]) -> Callable[..., Any]:
    """A trainer on the tiny model; keyword arguments are settings, or arguments of the trainer."""
    from transformers import PrinterCallback

    from fipo.training import FIPOTrainer

    def make(*, reward: Any = even_reward, model: Any = None, dataset: Any = None, extra: Any = None, **changes: Any):
        trainer = FIPOTrainer(
            model=make_tiny_model(tokenizer) if model is None else model,
            reward_funcs=reward,
            args=settings(**changes),
            train_dataset=problems if dataset is None else dataset,
            processing_class=tokenizer,
            **(extra or {}),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return make
