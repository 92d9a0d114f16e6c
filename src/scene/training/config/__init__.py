"""A training run as a TOML file."""

from scene.training.config.file import config_as_dict, read_config
from scene.training.config.sections import (
    DataConfig,
    LossConfig,
    OptimiserConfig,
    ProxyConfig,
    RunConfig,
    TrainingConfig,
    ValidationConfig,
)

__all__ = [
    "DataConfig",
    "LossConfig",
    "OptimiserConfig",
    "ProxyConfig",
    "RunConfig",
    "TrainingConfig",
    "ValidationConfig",
    "config_as_dict",
    "read_config",
]
