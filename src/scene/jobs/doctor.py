"""What this machine can do: each part is tried, not only looked for."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scene import __version__
from scene.errors import SceneError
from scene.options import EnhanceOptions
from scene.video.encoders import DEFAULT_ENCODER, ENCODERS
from scene.video.encoding.diagnose import try_encoder
from scene.video.ffmpeg import FFmpeg, find_ffmpeg, has_encoder, has_filter
from scene.video.packaging.packager import find_packager, packager_version
from scene.video.source.open import library_versions

# Extra of the package: what it is for, and modules of it.
_EXTRAS = {
    "train": ("scene train, scene distill", ("PIL", "pytorch_msssim", "schedulefree", "tensorboard", "vmaf_torch")),
    "semantics": ("SigLIP 2 encoders", ("transformers",)),
    "cluster": ("scene evaluate `ray`", ("ray",)),
}
_LEAST_FREE_GB = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination.

    Attributes:
        part: what was tried, such as "x264" or "ffmpeg: libvmaf".
        ok: whether it works.
        detail: what was found, or why it does not work.
        remedy: what to do where it does not work, and what works without it; empty where all is well.
        needed: whether `scene encode` cannot do without it.
    """

    part: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = False


def examine() -> Iterator[Finding]:
    """Tries part after part; takes a few seconds, most of them for loading torch and the models."""
    yield Finding("scene", True, f"{__version__}, Python {platform.python_version()}, {platform.system()}")
    yield Finding("PyAV", True, library_versions())
    for name in (codec.name for codec in ENCODERS.values() if not codec.is_external):
        yield _encoder(name)
    yield from _ffmpeg()
    yield from _torch()
    yield from _models()
    for extra in _EXTRAS:
        yield _extra(extra)
    yield _packager()
    yield _space()


def _encoder(name: str) -> Finding:
    encoder, needed = ENCODERS[name], name == DEFAULT_ENCODER
    if encoder.is_hardware:
        remedy = "it needs an NVIDIA GPU and its driver; the other encoders work without it"
    else:
        remedy = "install PyAV from its wheels" + ("" if needed else "; the other encoders work without it")
    try:
        return Finding(name, True, try_encoder(encoder), needed=needed)
    except SceneError as error:
        return Finding(name, False, _clause(error), remedy, needed=needed)


def _ffmpeg() -> Iterator[Finding]:
    external = [encoder for encoder in ENCODERS.values() if encoder.is_external]
    names = " and ".join(["`guard`", *(encoder.name for encoder in external)])
    remedy = f"install imageio-ffmpeg or set $SCENE_FFMPEG; scene encode works without it, but for {names}"
    try:
        ffmpeg = find_ffmpeg()
    except SceneError as error:
        yield Finding("ffmpeg program", False, _clause(error), remedy)
        return
    yield Finding("ffmpeg program", True, f"{ffmpeg.version}, {ffmpeg.path}")
    yield _measuring(ffmpeg)
    for encoder in external:
        here = has_encoder(ffmpeg, encoder.ffmpeg_name)
        yield Finding(
            f"ffmpeg: {encoder.ffmpeg_name}",
            here,
            f"scene encode `codec` {encoder.name}" if here else "not in this build",
            "" if here else f"install imageio-ffmpeg; only {encoder.name} needs it",
        )


def _measuring(ffmpeg: FFmpeg) -> Finding:
    from scene.measure.score import require_ffmpeg

    try:
        require_ffmpeg(("vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim"), "measuring")
    except SceneError as error:
        return Finding(
            "ffmpeg: libvmaf",
            False,
            _clause(error),
            "scene encode works without it; evaluate, compare, demo, search and `guard` do not",
        )
    rest = "" if has_filter(ffmpeg, "xpsnr") else ", but no xpsnr, which scene evaluate needs"
    return Finding("ffmpeg: libvmaf", not rest, f"VMAF, VMAF NEG, VMAF v1, MS-SSIM{rest}")


def _torch() -> Iterator[Finding]:
    import torch

    yield Finding("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores")
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield Finding("GPU", True, f"{name}, {memory:.0f} GiB")
    else:
        yield Finding("GPU", False, "none that torch can use", "networks run on the CPU, slowly")


def _models() -> Iterator[Finding]:
    from scene.model import load_model, model_names
    from scene.model.semantics import encoder_names, load_encoder

    default = EnhanceOptions().model
    loaders: list[tuple[str, Callable[[str], object], list[str]]] = [
        ("model", load_model, list(model_names())),
        ("semantic encoder", load_encoder, list(encoder_names())),
    ]
    for kind, load, names in loaders:
        for name in names:
            try:
                yield Finding(f"{kind} {name}", True, str(getattr(load(name), "identity", "")))
            except SceneError as error:
                yield Finding(f"{kind} {name}", False, _clause(error), "install again", needed=name == default)


def _extra(name: str) -> Finding:
    purpose, modules = _EXTRAS[name]
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return Finding(f"extra {name}", True, purpose)
    return Finding(
        f"extra {name}",
        False,
        f"without {', '.join(missing)}",
        f"pip install '.[{name}]' in a checkout for {purpose}; all else works without",
    )


def _packager() -> Finding:
    purpose = "scene ladder"
    try:
        return Finding("packager", True, f"{packager_version(find_packager())}, for {purpose}")
    except SceneError as error:
        found, _, remedy = _clause(error).rpartition("; ")
        return Finding("packager", False, found, f"{remedy} for {purpose}; all else works without")


def _space() -> Finding:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free / 1e9
    enough = free >= _LEAST_FREE_GB
    remedy = "" if enough else "set $TMPDIR to a folder with more; evaluate, compare and search need it"
    return Finding("temporary folder", enough, f"{folder}, {free:.1f} GB free", remedy)


def _clause(error: Exception) -> str:
    return str(error).rstrip(".")
