"""What this machine can do: every part of SCENE tried, each with what to install where it is missing."""

from __future__ import annotations

import importlib.util as util
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scene import __version__
from scene.errors import SceneError

# Free space below which long encodes and evaluations may not fit.
_LEAST_FREE = 2 * 10**9
# Extra of the package: the modules it brings, and what works without it.
_EXTRAS = {
    "semantics": (("transformers",), "all but SigLIP 2 as a semantic encoder"),
    "cluster": (("ray",), "scene evaluate on one machine"),
    "train": (
        ("PIL", "pytorch_msssim", "schedulefree", "tensorboard", "vmaf_torch"),
        "all but scene train and scene distill",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of SCENE.

    Attributes:
        detail: a version, or why it is missing.
        remedy: what to install, and what works without; empty where the part works.
    """

    group: str
    name: str
    ok: bool
    detail: str = ""
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Tries the parts one by one; takes some seconds, as torch and all shipped models are loaded."""
    yield Finding("versions", "scene", True, __version__)
    yield Finding("versions", "Python", True, platform.python_version())
    yield from _guarded("PyAV", "install av==18.* from its wheels; nothing works without it", _video)
    yield from _guarded("ffmpeg", "install imageio-ffmpeg; scene encode works without --guard", _program)
    yield from _guarded("torch", "install torch; scene encode --model none works without it", _models)
    for name, (modules, without) in _EXTRAS.items():
        missing = [module for module in modules if util.find_spec(module) is None]
        detail = f"missing: {', '.join(missing)}" if missing else ", ".join(modules)
        remedy = f"pip install 'scene-codec[{name}]'; without it {without} works" if missing else ""
        yield Finding("extras", name, not missing, detail, remedy)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    remedy = "" if free >= _LEAST_FREE else "free some space, or set TMPDIR; short clips need little"
    yield Finding("disk", "temporary folder", not remedy, f"{free / 1e9:.1f} GB free in {folder}", remedy)


def can_encode(findings: list[Finding]) -> bool:
    """Whether `scene encode` works, with x264 at least."""
    return any(finding.group == "encoders" and finding.name == "x264" and finding.ok for finding in findings)


def _guarded(name: str, remedy: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except (ImportError, OSError) as error:
        yield Finding("versions", name, False, str(error), remedy)


def _video() -> Iterator[Finding]:
    from scene.video.inventory import pyav_versions, try_encoders

    for name, version in pyav_versions().items():
        yield Finding("versions", name, True, version)
    for trial in try_encoders():
        detail = trial.failure or (f"version {trial.version}" if trial.version else "encodes")
        if trial.codec.startswith("nvenc"):
            remedy = "an NVIDIA GPU and its driver; x264, x265 and svtav1 work without"
        else:
            remedy = "install av==18.* from its wheels; the other encoders work without"
        yield Finding("encoders", trial.codec, trial.failure is None, detail, "" if trial.failure is None else remedy)


def _program() -> Iterator[Finding]:
    from scene.jobs.shot_probe import find_probing_ffmpeg
    from scene.video.ffmpeg import find_ffmpeg
    from scene.video.inventory import program_encoders

    remedy = "install imageio-ffmpeg, or name an ffmpeg in $SCENE_FFMPEG"
    try:
        ffmpeg = find_ffmpeg()
    except SceneError as error:
        yield Finding("ffmpeg", "program", False, str(error), f"{remedy}; scene encode works without --guard")
        return
    yield Finding("ffmpeg", "program", True, f"{ffmpeg.version} at {ffmpeg.path}")
    encoders = program_encoders(ffmpeg)
    without = "scene evaluate works with the codecs of those that are there"
    yield Finding("ffmpeg", "encoders", bool(encoders), ", ".join(encoders), "" if encoders else f"{remedy}; {without}")
    try:
        find_probing_ffmpeg()
    except SceneError as error:
        yield Finding("ffmpeg", "libvmaf models", False, str(error), f"{remedy}; scene encode works without --guard")
    else:
        yield Finding("ffmpeg", "libvmaf models", True, "VMAF NEG and v1, MS-SSIM")


def _models() -> Iterator[Finding]:
    import torch

    from scene.model import load_model, model_names
    from scene.model.semantics import encoder_names, load_encoder

    yield Finding("versions", "torch", True, torch.__version__)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    remedy = "an NVIDIA GPU and a CUDA build of torch; everything works on the CPU, slower"
    yield Finding("devices", "cuda", count > 0, names or "no CUDA device", "" if count else remedy)
    loaders: list[tuple[str, str, Callable[[str], object]]] = [
        *(("models", name, load_model) for name in model_names()),
        *(("models", name, load_encoder) for name in encoder_names()),
    ]
    for group, name, load in loaders:
        try:
            loaded = load(name)
        except SceneError as error:
            yield Finding(group, name, False, str(error), "install scene-codec again; other models work without")
        else:
            yield Finding(group, name, True, f"loads as {getattr(loaded, 'identity', name)}")
