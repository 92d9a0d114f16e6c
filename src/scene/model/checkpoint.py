"""Weights on disk: safetensors only, with the network's shape and the training's record in the header."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from scene.errors import CheckpointError, InputError, UsageError
from scene.files import write_atomically
from scene.model.network import Network, NetworkConfig

FORMAT = "scene-network"
FORMAT_VERSION = "1"
# Far above any network this package can describe; a header that claims more is not one of ours.
_MAX_FILE_BYTES = 1 << 30


def save_network(network: Network, path: Path, record: Mapping[str, Any] | None = None) -> None:
    """Writes weights, shape and a JSON record (how they were trained) to `path`, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "network": json.dumps(dataclasses.asdict(network.config), sort_keys=True),
        "record": json.dumps(dict(record or {}), sort_keys=True),
    }
    write_atomically(path, save(tensors, metadata))


def read_network(path: Path) -> Network:
    """Reads a network, ready for inference (eval mode, CPU).

    Raises:
        InputError: the file is missing or cannot be read.
        CheckpointError: it is truncated, not safetensors, of an unknown version, of the wrong shape, or not finite.
    """
    content_hash = _check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            config = _read_config(path, metadata)
            network = Network(config)
            expected = network.state_dict()
            names = set(file.keys())
            if names != set(expected):
                odd = sorted(names ^ set(expected))
                raise CheckpointError(f"{path}: tensor {odd[0]!r} is missing or not part of the network it describes")
            tensors = {name: file.get_tensor(name) for name in expected}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file ({error})") from error
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name!r} has shape {tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
            )
        if not tensor.dtype.is_floating_point:
            raise CheckpointError(f"{path}: {name!r} has type {tensor.dtype}, not a floating-point one")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: {name!r} holds values that are not finite")
    network.load_state_dict(tensors)
    network.identity = f"{path.stem}@{content_hash[:12]}"
    return network.eval()


def read_record(path: Path) -> dict[str, Any]:
    """The training record that `save_network` stored; errors as for `read_network`."""
    _check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file ({error})") from error
    _read_config(path, metadata)
    try:
        record = json.loads(metadata.get("record", "{}"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: its training record is not valid JSON ({error})") from error
    return dict(record)


def _check_file(path: Path) -> str:
    """Refuses what is no regular file of a sane size; returns the SHA-256 of the content."""
    if path.suffix in {".pt", ".pth", ".ckpt", ".bin"}:
        raise CheckpointError(f"{path}: pickled weights can run code when loaded; only .safetensors is read")
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if not path.is_file():
            raise InputError(f"{path} is not a file")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise CheckpointError(f"{path} is larger than any network of this package")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error


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
