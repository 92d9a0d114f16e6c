"""Data, losses and the loop that train a network."""

from scene.training.config import TrainingConfig, read_config
from scene.training.loop import TrainingResult, train

__all__ = ["TrainingConfig", "TrainingResult", "read_config", "train"]
