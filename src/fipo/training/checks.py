"""What must hold before a run starts: data, tokenizer, prompt lengths. Each fault is one line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fipo.errors import FIPOError, nearest
from fipo.training.config import FIPOTrainingConfig
from fipo.training.rewards import overlong_penalty

PROMPT_COLUMN = "prompt"


def check_dataset(dataset: Any, args: FIPOTrainingConfig, *, owns_prompts: bool = False) -> None:
    """Raise `FIPOError` for data without prompts, or with fewer than one rollout needs.

    `owns_prompts`: an environment makes the prompts, so that the data need not hold any.
    """
    if owns_prompts:
        return
    if dataset is None:
        raise FIPOError("train_dataset is missing: pass rows with a 'prompt' column")
    columns = getattr(dataset, "column_names", None)
    if columns is not None and PROMPT_COLUMN not in columns:
        raise FIPOError(f"train_dataset has no 'prompt' column, found {', '.join(columns) or 'no columns'}")
    if not hasattr(dataset, "__len__"):
        return
    if len(dataset) == 0:
        raise FIPOError("train_dataset is empty")
    if len(dataset) < args.prompts_per_rollout:
        raise FIPOError(
            f"train_dataset has {len(dataset)} prompts, fewer than prompts_per_rollout={args.prompts_per_rollout}: "
            f"lower it to at most {len(dataset)}, or give more data"
        )


def planned_updates(dataset: Any, args: FIPOTrainingConfig) -> int:
    """`max_steps`: as set, or whole rollouts that make `num_train_epochs` passes, refills not counted."""
    if args.max_steps > 0 or not hasattr(dataset, "__len__"):
        return args.max_steps
    if not args.num_train_epochs > 0:
        raise FIPOError(f"num_train_epochs={args.num_train_epochs} must be greater than 0; or set rollouts")
    per_epoch = len(dataset) // args.prompts_per_rollout
    return max(1, math.ceil(args.num_train_epochs * per_epoch)) * args.updates_per_rollout


def check_tokenizer(processing_class: Any) -> None:
    """Raise `FIPOError` for a tokenizer without an end token; a missing pad token falls back to it."""
    if processing_class is None:
        return
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    if tokenizer.eos_token is None:
        raise FIPOError(
            "the tokenizer has no eos token, so that no response could ever end: set tokenizer.eos_token "
            "(and add it to tokenizer_config.json)"
        )


def prepare_prompts(dataset: Any, processing_class: Any, args: FIPOTrainingConfig) -> Any:
    """The data set without prompts over `max_prompt_length`, or a `FIPOError` that names the first of them."""
    limit = args.max_prompt_length
    if limit is None:
        return dataset
    if not hasattr(dataset, "__len__"):
        raise FIPOError(f"max_prompt_length={limit} cannot be checked on an iterable data set: filter it before")
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    lengths = [prompt_length(tokenizer, prompt, args.chat_template_kwargs) for prompt in dataset[PROMPT_COLUMN]]
    too_long = [index for index, length in enumerate(lengths) if length > limit]
    if not too_long:
        return dataset
    if not args.filter_overlong_prompts:
        worst = too_long[0]
        raise FIPOError(
            f"{len(too_long)} of {len(lengths)} prompts are longer than max_prompt_length={limit} tokens; the first "
            f"is row {worst} with {lengths[worst]}. Raise the limit, or set filter_overlong_prompts=true to drop them"
        )
    dropped = set(too_long)
    kept = dataset.select([index for index in range(len(lengths)) if index not in dropped])
    check_dataset(kept, args)
    return kept


def prompt_length(tokenizer: Any, prompt: Any, template_options: Any = None) -> int:
    """Tokens of a prompt, plain or conversational, as the trainer will tokenise it."""
    if isinstance(prompt, str):
        return len(tokenizer(prompt)["input_ids"])
    ids = tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, tokenize=True, return_dict=True, **(template_options or {})
    )
    return len(ids["input_ids"])


def decisive_reward(wanted: str | None, names: Sequence[str]) -> int:
    """Index of the reward function that dynamic sampling looks at: the one named, or the first that is no penalty."""
    if wanted is None:
        return next((index for index, name in enumerate(names) if name != overlong_penalty.__name__), 0)
    if wanted not in names:
        raise FIPOError(
            f"dynamic_sampling_reward={wanted!r} must be one of the reward functions {', '.join(names)}"
            f"{nearest(wanted, names)}"
        )
    return list(names).index(wanted)


def not_finite(tensors: Mapping[str, Tensor | None], mask: Tensor | None) -> str:
    """Names of the tensors that hold a NaN or an infinity where `mask` is 1."""
    broken = []
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        inside = tensor if mask is None else tensor[mask > 0]
        if not torch.isfinite(inside).all():
            broken.append(name)
    return ", ".join(broken)
