"""What libvmaf is asked for, and what it answers. Pure: running ffmpeg is the caller's part.

The set of metrics has a version, which goes into every cache key: change the graph, change METRICS_VERSION.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene.errors import InputError

METRICS_VERSION = "1"

# VMAF unclipped, since BD-rate over scores that stick at 100 is meaningless; v1.0.16 at three picture heights.
_MODELS = (
    "version=vmaf_v0.6.1\\:name=vmaf\\:disable_clip=true",
    "version=vmaf_v0.6.1neg\\:name=vmaf_neg",
    "version=vmaf_v1.0.16_3d0h\\:name=vmaf_v1",
)
_FEATURES = ("name=float_ms_ssim", "name=psnr", "name=cambi")
_POOLED = {
    "vmaf": "vmaf",
    "vmaf_neg": "vmaf_neg",
    "vmaf_v1": "vmaf_v1",
    "ms_ssim": "float_ms_ssim",
    "psnr_y": "psnr_y",
    "cambi": "cambi",
}


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over the frames of one distorted clip.

    Attributes:
        vmaf: VMAF v0.6.1, not clipped; an identical clip scores 97 to 102.
        vmaf_clipped: the same with each frame clipped to [0, 100], as players of the field show it.
        vmaf_neg: VMAF NEG v0.6.1, at most 100.
        vmaf_v1: VMAF v1.0.16, at most 100.
        ms_ssim: MS-SSIM of the luma plane, at most 1.
        psnr_y: PSNR of the luma plane in dB, at most 60 for 8 bit.
        cambi: banding, 0 (none) upwards.
        frames: how many frames were compared.
    """

    vmaf: float
    vmaf_clipped: float
    vmaf_neg: float
    vmaf_v1: float
    ms_ssim: float
    psnr_y: float
    cambi: float
    frames: int


def filter_graph(log_path: Path, threads: int = 1) -> str:
    """The -lavfi graph that compares input 0 (distorted) with input 1 (reference), frame by frame.

    Time stamps are replaced by the frame's number, so that frame n meets frame n whatever the containers say.

    Args:
        log_path: where libvmaf writes its JSON; escaped here for both levels of the graph's syntax.
        threads: of libvmaf.
    """
    align = "settb=AVTB,setpts=N"
    options = ":".join(
        (
            f"model='{'|'.join(_MODELS)}'",
            f"feature='{'|'.join(_FEATURES)}'",
            f"n_threads={threads}",
            "log_fmt=json",
            f"log_path={escape_option(str(log_path))}",
        )
    )
    return f"[0:v]{align}[dis];[1:v]{align}[ref];[dis][ref]libvmaf={options}"


def escape_option(value: str) -> str:
    """A filter option's value with ffmpeg's two levels of escaping (option, then graph)."""
    for special in ("\\':", "\\'[],;"):
        value = "".join(f"\\{c}" if c in special else c for c in value)
    return value


def compare_arguments(distorted: Sequence[str], reference: Sequence[str], graph: str) -> list[str]:
    """ffmpeg's arguments: compare, and list the distorted frames on stdout so that they can be counted.

    Args:
        distorted, reference: input options ending in -i NAME.
        graph: of `filter_graph`.
    """
    one_thread = ("-threads", "1")
    return [
        *(*one_thread, *distorted, *one_thread, *reference, "-lavfi", graph, "-f", "null", "-"),
        *("-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "-"),
    ]


def count_frames(framecrc: bytes) -> int:
    """How many frames a framecrc listing has."""
    return sum(1 for line in framecrc.splitlines() if line and not line.startswith(b"#"))


def parse_log(text: str | bytes) -> Scores:
    """Reads libvmaf's JSON log.

    Raises:
        InputError: it is not such a log, has no frames, lacks a metric, or holds a value that is not finite.
    """
    try:
        log = json.loads(text)
        pooled, frames = log["pooled_metrics"], log["frames"]
        means = {name: _finite(pooled[key]["mean"]) for name, key in _POOLED.items()}
        clipped = [min(max(_finite(frame["metrics"]["vmaf"]), 0.0), 100.0) for frame in frames]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"libvmaf's log cannot be read ({type(error).__name__}: {error})") from error
    if not clipped:
        raise InputError("libvmaf compared no frames")
    return Scores(vmaf_clipped=sum(clipped) / len(clipped), frames=len(clipped), **means)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a score of {number}")
    return number
