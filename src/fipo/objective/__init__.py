"""The method: pure functions on tensors. Imports torch alone."""

from fipo.objective.advantages import group_advantages, uniform_groups
from fipo.objective.config import FIPOLossConfig
from fipo.objective.future_kl import discounted_sum, future_kl
from fipo.objective.influence import influence_weights
from fipo.objective.loss import FIPOLossOutput, fipo_loss
from fipo.objective.overlong import soft_overlong_penalty
from fipo.objective.surrogate import aggregate_loss, clipped_surrogate, loss_units

__all__ = [
    "FIPOLossConfig",
    "FIPOLossOutput",
    "aggregate_loss",
    "clipped_surrogate",
    "discounted_sum",
    "fipo_loss",
    "future_kl",
    "group_advantages",
    "influence_weights",
    "loss_units",
    "soft_overlong_penalty",
    "uniform_groups",
]
