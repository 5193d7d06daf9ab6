"""Training on one machine (or one accelerate launch): the trainer on TRL and its settings."""

from fipo.training.config import FIPOTrainingConfig
from fipo.training.trainer import FIPOTrainer, NonFiniteLossError

__all__ = ["FIPOTrainer", "FIPOTrainingConfig", "NonFiniteLossError"]
