"""A training run on disk: weights for use, and everything else that going on exactly where it stopped needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from scene.errors import CheckpointError, InputError
from scene.files import write_atomically
from scene.model import Network

_FORMAT = "scene-training-state"
_VERSION = "1"


def save_state(path: Path, network: Network, optimiser: torch.optim.Optimizer, progress: dict[str, Any]) -> None:
    """Writes the weights as the optimiser steps them, its moments, and `progress` (plain JSON) into one file."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for name, parameter in network.named_parameters():
        tensors[f"weights/{name}"] = parameter.detach().cpu().contiguous()
        for key, value in optimiser.state[parameter].items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{key}/{name}"] = value.detach().cpu().contiguous()
    group = {key: value for key, value in optimiser.param_groups[0].items() if key != "params"}
    scalars = {"group": group, "progress": progress}
    metadata = {"format": _FORMAT, "format_version": _VERSION, "scalars": json.dumps(scalars)}
    write_atomically(path, save(tensors, metadata))


def load_state(path: Path, network: Network, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Puts weights and optimiser back as `save_state` found them; returns `progress`.

    Raises:
        InputError: no such file.
        CheckpointError: damaged, of another version, or of another network.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist, so there is nothing to resume")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT or metadata.get("format_version") != _VERSION:
                raise CheckpointError(f"{path} is no training state of this version")
            scalars = json.loads(metadata["scalars"])
            keys = list(file.keys())
            moments = {key.split("/")[1] for key in keys if key.startswith("optimiser/")}
            for name, parameter in network.named_parameters():
                with torch.no_grad():
                    parameter.copy_(file.get_tensor(f"weights/{name}"))
                optimiser.state[parameter] = {
                    moment: file.get_tensor(f"optimiser/{moment}/{name}").to(parameter.device) for moment in moments
                }
    except (SafetensorError, KeyError, json.JSONDecodeError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged or belongs to another network ({error})") from error
    optimiser.param_groups[0].update(
        {key: tuple(value) if isinstance(value, list) else value for key, value in scalars["group"].items()}
    )
    return dict(scalars["progress"])
