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
    from scene.evaluation.compare import CompareResult, compare
    from scene.evaluation.evaluate import EvaluationResult, evaluate
    from scene.evaluation.requests import CompareRequest, EvaluationRequest
    from scene.jobs import EncodeRequest, EncodeResult, encode_file
    from scene.model import load_model, model_names
    from scene.video.encoders.codecs import EncoderSettings

__version__ = "0.1.0"
__all__ = [
    "CompareRequest",
    "CompareResult",
    "EncodeRequest",
    "EncodeResult",
    "EncoderSettings",
    "Enhancer",
    "EvaluationRequest",
    "EvaluationResult",
    "SceneError",
    "__version__",
    "compare",
    "encode_file",
    "evaluate",
    "load_model",
    "model_names",
]

_HOMES = {
    "CompareRequest": "scene.evaluation.requests",
    "CompareResult": "scene.evaluation.compare",
    "EvaluationRequest": "scene.evaluation.requests",
    "EvaluationResult": "scene.evaluation.evaluate",
    "compare": "scene.evaluation.compare",
    "evaluate": "scene.evaluation.evaluate",
    "EncodeRequest": "scene.jobs",
    "EncodeResult": "scene.jobs",
    "EncoderSettings": "scene.video.encoders.codecs",
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
