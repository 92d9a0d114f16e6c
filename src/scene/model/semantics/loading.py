"""Semantic encoders by name: the shipped students, files, and SigLIP 2 checkpoints."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import CheckpointError, UsageError
from scene.model.semantics.mobilenet import MobileNetEncoder, is_mobilenet
from scene.model.semantics.student import FORMAT as STUDENT_FORMAT
from scene.model.semantics.student import read_student
from scene.model.tensors import read_tensors

if TYPE_CHECKING:
    import torch

    from scene.model.semantics.encoder import SemanticEncoder

_SUFFIX = ".safetensors"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("scene"))) / "weights" / "encoders"
    return {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def encoder_names() -> list[str]:
    """Names of the semantic encoders that are shipped with the package."""
    return list(_shipped())


def load_encoder(name: str, device: str | torch.device = "cpu") -> SemanticEncoder:
    """A frozen semantic encoder, ready on a device.

    Args:
        name: a shipped student's name (see `encoder_names`); a .safetensors file that holds a student, or MobileNetV2
            as a stand-in teacher; or a SigLIP 2 checkpoint by local folder or hub id.
        device: a torch device.

    Raises:
        UsageError: none of these.
        InputError, CheckpointError: the file or folder is missing, damaged or something else.
        MissingError: SigLIP 2 needs a package that is not installed, or weights that cannot be reached.
    """
    path = _shipped().get(name, Path(name))
    if path.suffix == _SUFFIX or path.is_file():
        file = read_tensors(path)
        if file.metadata.get("format") == STUDENT_FORMAT:
            return read_student(path).to(device)
        if is_mobilenet(file):
            return MobileNetEncoder(file).to(device)
        raise CheckpointError(f"{path} holds no semantic encoder: neither a student nor MobileNetV2")
    if path.is_dir() or _HUB_ID.fullmatch(name):
        from scene.model.semantics.siglip import load_siglip2

        return load_siglip2(name, device)
    raise UsageError(
        f"no semantic encoder is called {name!r}: give {', '.join(encoder_names())}, a {_SUFFIX} file,"
        " or a SigLIP 2 checkpoint's folder or hub id"
    )
