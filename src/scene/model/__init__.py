"""The network as pure torch: assembled convolutions, control modules, networks and their checkpoints."""

from scene.model.calibration import Calibration
from scene.model.checkpoint import read_network, read_record, save_network
from scene.model.network import Network, NetworkConfig, Semantics, build_network
from scene.model.registry import load_model, model_names, resolve_model

__all__ = [
    "Calibration",
    "Network",
    "NetworkConfig",
    "Semantics",
    "build_network",
    "load_model",
    "model_names",
    "read_network",
    "read_record",
    "resolve_model",
    "save_network",
]
