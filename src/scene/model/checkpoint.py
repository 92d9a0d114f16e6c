"""Weights on disk: safetensors only, with the network's shape and the training's record in the header."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from safetensors.torch import save

from scene.errors import CheckpointError, UsageError
from scene.files import write_atomically
from scene.model.calibration import Calibration, from_json, to_json
from scene.model.controls import Control
from scene.model.network import Network, NetworkConfig, Semantics
from scene.model.tensors import read_tensors

FORMAT = "scene-network"
FORMAT_VERSION = "1"


def save_network(network: Network, path: Path, record: Mapping[str, Any] | None = None) -> None:
    """Writes weights, shape and a JSON record (how they were trained) to `path`, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "network": json.dumps(_shape(network.config), sort_keys=True),
        "record": json.dumps(dict(record or {}), sort_keys=True),
    }
    if network.semantics is not None:
        metadata["semantics"] = json.dumps(dataclasses.asdict(network.semantics), sort_keys=True)
    if network.calibrations:
        metadata["calibrations"] = json.dumps(to_json(network.calibrations), sort_keys=True)
    write_atomically(path, save(tensors, metadata))


def read_network(path: Path) -> Network:
    """Reads a network, ready for inference (eval mode, CPU).

    Raises:
        InputError: the file is missing or cannot be read.
        CheckpointError: it is truncated, not safetensors, of an unknown version, of the wrong shape, or not finite.
    """
    file = read_tensors(path)
    config = _read_config(path, file.metadata)
    network = Network(config)
    network.semantics = _read_semantics(path, file.metadata, config)
    network.calibrations = _read_calibrations(path, file.metadata)
    tensors = file.require(network.state_dict())
    network.load_state_dict(tensors)
    network.record = _read_record(path, file.metadata)
    network.identity = f"{path.stem}@{file.content_hash[:12]}"
    return network.eval()


def read_record(path: Path) -> dict[str, Any]:
    """The training record that `save_network` stored; errors as for `read_network`."""
    metadata = read_tensors(path).metadata
    _read_config(path, metadata)
    return _read_record(path, metadata)


def _read_record(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        record = json.loads(metadata.get("record", "{}"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: its training record is not valid JSON ({error})") from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{path}: its training record is no JSON object")
    return record


def _shape(config: NetworkConfig) -> dict[str, Any]:
    shape = dataclasses.asdict(config)
    if config.quantiser is None:
        # Versions from before there was such an input go on reading the file.
        del shape["quantiser"]
    if config.body:
        del shape["body"]
    if config.bank is None:
        del shape["bank"]
    return shape


def _read_config(path: Path, metadata: Mapping[str, str]) -> NetworkConfig:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a SCENE network")
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version!r} and this program reads {FORMAT_VERSION!r}: update scene-codec"
        )
    try:
        return NetworkConfig(**json.loads(metadata["network"]))
    except (KeyError, TypeError, json.JSONDecodeError, UsageError) as error:
        raise CheckpointError(f"{path} describes a network that cannot be built ({error})") from error


def _read_calibrations(path: Path, metadata: Mapping[str, str]) -> dict[str, Calibration]:
    try:
        return from_json(json.loads(metadata.get("calibrations", "{}")))
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(f"{path} holds calibrations that cannot be used ({error})") from error


def _read_semantics(path: Path, metadata: Mapping[str, str], config: NetworkConfig) -> Semantics | None:
    if config.guidance == "features" or "semantics" not in metadata:
        return None
    try:
        semantics = Semantics(**json.loads(metadata["semantics"]))
    except (TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} does not say which semantic encoder it was trained with ({error})") from error
    if semantics.control not in get_args(Control) or not all(
        isinstance(value, str) for value in (semantics.encoder, semantics.identity)
    ):
        raise CheckpointError(f"{path} names a semantic encoder or control that this program does not know")
    return semantics
