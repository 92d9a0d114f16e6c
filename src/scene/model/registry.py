"""Networks by name: those shipped in the package, or a file of the user's."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from scene.errors import UsageError
from scene.model.checkpoint import read_network
from scene.model.network import Network

_SUFFIX = ".safetensors"


def _weights_folder() -> Path:
    return Path(str(resources.files("scene"))) / "weights"


def model_names() -> list[str]:
    """Names of the networks that are shipped with the package."""
    return sorted(path.stem for path in _weights_folder().glob(f"*{_SUFFIX}"))


def resolve_model(name_or_path: str | Path) -> Path:
    """The weights file behind a shipped name or a path.

    Raises:
        UsageError: neither a shipped name nor something that looks like a file.
    """
    text = str(name_or_path)
    if text in model_names():
        return _weights_folder() / f"{text}{_SUFFIX}"
    path = Path(name_or_path)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    raise UsageError(f"no model is called {text!r}: give one of {', '.join(model_names())}, or a .safetensors file")


def load_model(name_or_path: str | Path) -> Network:
    """A trained network in eval mode on the CPU; its `identity` says which.

    Args:
        name_or_path: a shipped name (see `model_names`) or the path of a .safetensors file.

    Raises:
        UsageError: an unknown name.
        InputError, CheckpointError: the file is missing, unreadable, damaged or not a SCENE network.
    """
    return read_network(resolve_model(name_or_path))
