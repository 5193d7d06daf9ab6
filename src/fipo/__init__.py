"""FIPO: per-token credit for reinforcement learning from verifiable rewards (arXiv 2603.19835).

This module holds the objective and needs PyTorch alone. The trainer is `fipo.training`, graders and tasks are
`fipo.tasks`, evaluation is `fipo.evaluation`, the command line is `fipo --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fipo.objective import (
        FIPOLossConfig,
        FIPOLossOutput,
        fipo_loss,
        future_kl,
        group_advantages,
        influence_weights,
    )

__version__ = "0.1.0"

__all__ = [
    "FIPOLossConfig",
    "FIPOLossOutput",
    "fipo_loss",
    "future_kl",
    "group_advantages",
    "influence_weights",
]


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import, which `fipo --help` and a mistyped flag need not wait for.
    if name in __all__:
        from fipo import objective

        return getattr(objective, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
