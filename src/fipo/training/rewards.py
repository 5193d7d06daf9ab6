"""Reward functions as the trainer calls them: checked, and joined by the overlong penalty."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fipo.errors import FIPOError
from fipo.objective import soft_overlong_penalty

# TRL keeps rewards in float32.
LARGEST_REWARD = torch.finfo(torch.float32).max


class RewardError(FIPOError):
    """A reward function raised, or returned something that is no reward."""


def reward_name(function: Any) -> str:
    """The name under which a reward is logged."""
    return getattr(function, "__name__", type(function).__name__)


def checked_reward(function: Any) -> Any:
    """`function` with its exceptions and its non-finite rewards turned into one clear line.

    None stays allowed: TRL reads it as "not applicable to this sample". Reward models and coroutines pass as
    they are.
    """
    # An object may be called asynchronously without being a coroutine function itself.
    is_async = any(inspect.iscoroutinefunction(each) for each in (function, type(function).__call__))
    if isinstance(function, (str, torch.nn.Module)) or is_async:
        return function
    name = reward_name(function)

    def call(*args: Any, **kwargs: Any) -> list[float | None]:
        try:
            rewards = function(*args, **kwargs)
        except FIPOError:
            raise
        except Exception as error:
            raise RewardError(f"reward function {name!r} raised {type(error).__name__}: {error}") from error
        return _checked_values(name, rewards, kwargs.get("completions"))

    # wraps() alone would keep TRL from seeing a name on partials and callable objects.
    functools.update_wrapper(call, function, updated=())
    call.__name__ = name
    return call


def _checked_values(name: str, rewards: Any, completions: Sequence[Any] | None) -> list[float | None]:
    try:
        rewards = list(rewards) if not isinstance(rewards, str) else None
    except TypeError:
        rewards = None
    if rewards is None:
        raise RewardError(f"reward function {name!r} returned no list: expected one number per completion")
    for index, reward in enumerate(rewards):
        if reward is None:
            continue
        try:
            finite = abs(float(reward)) <= LARGEST_REWARD
        except (TypeError, ValueError):
            finite = False
        if not finite:
            seen = f" (completion {str(completions[index])[:80]!r})" if completions else ""
            raise RewardError(
                f"reward function {name!r} returned {reward!r} for sample {index}{seen}: rewards must be finite "
                "numbers, or None where the function does not apply"
            )
    return rewards


def overlong_penalty(max_length: int, buffer_length: int, factor: float) -> Callable[..., list[float]]:
    """DAPO's soft overlong penalty as a reward function over `completion_ids`."""

    def overlong_penalty(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        lengths = torch.tensor([len(ids) for ids in completion_ids])
        return soft_overlong_penalty(lengths, max_length, buffer_length, factor=factor).tolist()

    return overlong_penalty
