"""SCENE: a light network that runs before a standard video encoder (see README.md).

    request = scene.EncodeRequest(Path("in.mkv"), Path("out.mkv"), scene.EncoderSettings("x265", crf=28))
    scene.encode_file(request)

Names are loaded on first use, so that importing the package loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scene.errors import SceneError

if TYPE_CHECKING:
    from scene.enhance import Enhancer
    from scene.jobs import EncodeRequest, EncodeResult, encode_file
    from scene.model import load_model, model_names
    from scene.video.encoders.base import EncoderSettings

__version__ = "0.1.0"
__all__ = [
    "EncodeRequest",
    "EncodeResult",
    "EncoderSettings",
    "Enhancer",
    "SceneError",
    "__version__",
    "encode_file",
    "load_model",
    "model_names",
]

_HOMES = {
    "EncodeRequest": "scene.jobs",
    "EncodeResult": "scene.jobs",
    "EncoderSettings": "scene.video.encoders.base",
    "Enhancer": "scene.enhance",
    "encode_file": "scene.jobs",
    "load_model": "scene.model",
    "model_names": "scene.model",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'scene' has no attribute {name!r}")
