"""Torch devices by the names that commands take."""

from __future__ import annotations

import torch

from scene.errors import MissingError, UsageError


def resolve_device(name: str) -> torch.device:
    """The torch device of "auto" (a GPU where there is one), "cpu" or "cuda".

    Raises:
        UsageError: the name is none of these.
        MissingError: "cuda" is asked for and this machine has none.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"device {name!r} is unknown; choose auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError("no CUDA device is available to this torch; use `device` auto or cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def synchronise(device: torch.device) -> None:
    """Waits until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
