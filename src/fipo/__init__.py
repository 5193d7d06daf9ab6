"""FIPO: per-token credit for reinforcement learning from verifiable rewards (arXiv 2603.19835).

This module holds the objective and needs PyTorch alone. The trainer is `fipo.training`, graders and tasks are
`fipo.tasks`, the command line is `fipo --help`.
"""

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
