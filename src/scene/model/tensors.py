"""Safetensors files, read with nothing taken on trust."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scene.errors import CheckpointError, InputError

# Far above any file this package writes; a header that claims more is not one of ours.
_MAX_FILE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A safetensors file's content.

    Attributes:
        path: where it came from, for messages.
        tensors: by name.
        metadata: of the header; empty where there is none.
        content_hash: SHA-256 of the whole file, hexadecimal.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    content_hash: str

    def require(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors, if their names and shapes are those of `expected` and all values are finite numbers.

        Raises:
            CheckpointError: they are not.
        """
        if set(self.tensors) != set(expected):
            odd = sorted(set(self.tensors) ^ set(expected))
            raise CheckpointError(f"{self.path}: tensor {odd[0]!r} is missing or not part of what it describes")
        for name, tensor in self.tensors.items():
            if tensor.shape != expected[name].shape:
                raise CheckpointError(
                    f"{self.path}: {name!r} has shape {tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
                )
            if not tensor.dtype.is_floating_point:
                raise CheckpointError(f"{self.path}: {name!r} has type {tensor.dtype}, not a floating-point one")
            if not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(f"{self.path}: {name!r} holds values that are not finite")
        return dict(self.tensors)


def read_tensors(path: Path) -> TensorFile:
    """Reads a safetensors file of at most 1 GiB.

    Raises:
        InputError: the file is missing, not a file, or cannot be read.
        CheckpointError: it is a pickle by its name, damaged, or too large to be one of this package's.
    """
    if path.suffix in {".pt", ".pth", ".ckpt", ".bin"}:
        raise CheckpointError(f"{path}: pickled weights can run code when loaded; only .safetensors is read")
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if not path.is_file():
            raise InputError(f"{path} is not a file")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise CheckpointError(f"{path} is larger than any file of this package")
        with path.open("rb") as stream:
            content_hash = hashlib.file_digest(stream, "sha256").hexdigest()
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return TensorFile(path, tensors, file.metadata() or {}, content_hash)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file ({error})") from error
