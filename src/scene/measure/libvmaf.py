"""What ffmpeg's libvmaf and xpsnr are asked for, and what they answer. Pure: running ffmpeg is the caller's part.

The set of metrics has a version, which goes into every cache key: change the graph, change METRICS_VERSION.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene.errors import InputError

METRICS_VERSION = "2"

_XPSNR_CAP = 100.0
# Frame n meets frame n whatever the containers say.
_ALIGN = "settb=AVTB,setpts=N"

# VMAF unclipped, since BD-rate over scores that stick at 100 is meaningless; v1.0.16 at three picture heights.
_MODELS = {
    "vmaf": "version=vmaf_v0.6.1\\:name=vmaf\\:disable_clip=true",
    "vmaf_neg": "version=vmaf_v0.6.1neg\\:name=vmaf_neg",
    "vmaf_v1": "version=vmaf_v1.0.16_3d0h\\:name=vmaf_v1",
}
_FEATURES = {"ms_ssim": "name=float_ms_ssim", "psnr_y": "name=psnr", "cambi": "name=cambi"}
_LIBVMAF = {
    "vmaf": "vmaf",
    "vmaf_neg": "vmaf_neg",
    "vmaf_v1": "vmaf_v1",
    "ms_ssim": "float_ms_ssim",
    "psnr_y": "psnr_y",
    "cambi": "cambi",
}
# Of a picture's sides, in samples: MS-SSIM and VMAF v1 fail below theirs, and tiny pictures crash libvmaf.
LEAST_SIDES = {"vmaf": 176, "vmaf_neg": 176, "vmaf_v1": 216, "ms_ssim": 176, "psnr_y": 176, "xpsnr_y": 176}


@dataclass(frozen=True, slots=True)
class Reading:
    """What ffmpeg's filters say about one pair of clips.

    Attributes:
        means: by name of `scene.metrics.scores.Scores`, all but `flicker` and `frames`.
        frames: every frame's own values, by name of `scene.metrics.scores.FRAME_METRICS`.
    """

    means: Mapping[str, float]
    frames: Mapping[str, tuple[float, ...]]


def filter_graph(libvmaf_log: Path, xpsnr_log: Path, threads: int = 1) -> str:
    """The -lavfi graph that compares input 0 (distorted) with input 1 (reference), frame by frame.

    Time stamps are replaced by the frame's number, so that frame n meets frame n whatever the containers say.

    Args:
        libvmaf_log, xpsnr_log: where the filters write; escaped here for both levels of the graph's syntax.
        threads: of libvmaf.
    """
    align = f"{_ALIGN},split"
    options = _libvmaf_options(_LIBVMAF, libvmaf_log, threads)
    # libvmaf takes the distorted pictures first; xpsnr, which weighs errors by the original's activity, the original.
    return (
        f"[0:v]{align}[dis1][dis2];[1:v]{align}[ref1][ref2];[dis1][ref1]libvmaf={options}[vmaf];"
        f"[ref2][dis2]xpsnr=stats_file={escape_option(str(xpsnr_log))}[xpsnr]"
    )


def probe_graph(logs: Sequence[Path], metrics: Sequence[str], threads: int = 1) -> str:
    """The -lavfi graph that compares inputs 0, 1, ... (distorted), one for each log, with the input after them.

    Args:
        logs: where libvmaf writes; see `parse_means`.
        metrics: of libvmaf's, at least one VMAF model among them; "xpsnr_y" is left to `xpsnr_graph`.
        threads: of libvmaf, for each log.
    """
    count = len(logs)
    references = "".join(f"[ref{index}]" for index in range(count))
    parts = [f"[{count}:v]{_ALIGN},split={count}{references}"]
    for index, log in enumerate(logs):
        options = _libvmaf_options(metrics, log, threads)
        parts.append(f"[{index}:v]{_ALIGN}[dis{index}];[dis{index}][ref{index}]libvmaf={options}[out{index}]")
    return ";".join(parts)


def probe_arguments(distorted: Sequence[str], reference: str, graph: str) -> list[str]:
    """ffmpeg's arguments that run a `probe_graph` and keep no pictures.

    Args:
        distorted, reference: what -i takes.
    """
    inputs = [word for name in (*distorted, reference) for word in ("-threads", "1", "-i", name)]
    outputs = [word for index in range(len(distorted)) for word in ("-map", f"[out{index}]", "-f", "null", "-")]
    return [*inputs, "-filter_complex_threads", "1", "-lavfi", graph, *outputs]


def parse_means(log: str | bytes, metrics: Sequence[str]) -> dict[str, float]:
    """The means over all frames in libvmaf's JSON log, by name of metric.

    Raises:
        InputError: it is no such log, lacks a metric, or holds a value that is not finite.
    """
    try:
        return _means(json.loads(log), metrics)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"libvmaf's log cannot be read ({type(error).__name__}: {error})") from error


def xpsnr_graph(log: Path) -> str:
    """The -lavfi graph that compares input 0 (distorted) with input 1 (reference) by XPSNR, for `probe_arguments`."""
    return f"[0:v]{_ALIGN}[dis];[1:v]{_ALIGN}[ref];[ref][dis]xpsnr=stats_file={escape_option(str(log))}[out0]"


def parse_frames(log: str | bytes, metrics: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Every frame's own values in libvmaf's JSON log, by name of metric; errors as for `parse_means`."""
    try:
        return _frames(json.loads(log)["frames"], metrics)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"libvmaf's log cannot be read ({type(error).__name__}: {error})") from error


def parse_xpsnr_frames(log: str) -> tuple[float, ...]:
    """Every frame's own XPSNR of luma in dB, from the filter's text; identical pictures have 100.

    Raises:
        InputError: it is no such text.
    """
    return _parse_xpsnr(log)[1]


def pool(name: str, values: Sequence[float]) -> float:
    """The score of several frames, as ffmpeg's filters pool it: the mean, for XPSNR that of the root of the error."""
    if name != "xpsnr_y":
        return sum(values) / len(values)
    roots = [10 ** (-value / 20) for value in values]
    return -20 * math.log10(sum(roots) / len(roots))


def _libvmaf_options(metrics: Iterable[str], log: Path, threads: int) -> str:
    wanted = set(metrics)
    models = [model for name, model in _MODELS.items() if name in wanted]
    features = [feature for name, feature in _FEATURES.items() if name in wanted]
    options = [f"model='{'|'.join(models)}'"]
    if features:
        options.append(f"feature='{'|'.join(features)}'")
    return ":".join((*options, f"n_threads={threads}", "log_fmt=json", f"log_path={escape_option(str(log))}"))


def escape_option(value: str) -> str:
    """A filter option's value with ffmpeg's two levels of escaping (option, then graph)."""
    for special in ("\\':", "\\'[],;"):
        value = "".join(f"\\{c}" if c in special else c for c in value)
    return value


def compare_arguments(distorted: Sequence[str], reference: Sequence[str], graph: str) -> list[str]:
    """ffmpeg's arguments that run the comparison and keep no pictures.

    Args:
        distorted, reference: input options ending in -i NAME.
        graph: of `filter_graph`.
    """
    one_thread = ("-threads", "1")
    return [
        *(*one_thread, *distorted, *one_thread, *reference, "-filter_complex_threads", "1", "-lavfi", graph),
        *("-map", "[vmaf]", "-f", "null", "-", "-map", "[xpsnr]", "-f", "null", "-"),
    ]


def parse_logs(libvmaf_log: str | bytes, xpsnr_log: str) -> Reading:
    """Reads libvmaf's JSON log and xpsnr's text.

    Raises:
        InputError: they are not such logs, have no frames or not as many, lack a metric, or hold a value that is not
            finite.
    """
    try:
        log = json.loads(libvmaf_log)
        entries = log["frames"]
        means = _means(log, _LIBVMAF)
        frames = _frames(entries, _LIBVMAF)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"libvmaf's log cannot be read ({type(error).__name__}: {error})") from error
    if not entries:
        raise InputError("libvmaf compared no frames")
    clipped = [min(max(score, 0.0), 100.0) for score in frames["vmaf"]]
    means["vmaf_clipped"] = sum(clipped) / len(clipped)
    means["xpsnr_y"], frames["xpsnr_y"] = _parse_xpsnr(xpsnr_log)
    if len(frames["xpsnr_y"]) != len(entries):
        raise InputError(f"libvmaf compared {len(entries)} frames and xpsnr {len(frames['xpsnr_y'])}")
    return Reading(means, frames)


def _means(log: Any, metrics: Iterable[str]) -> dict[str, float]:
    pooled = log["pooled_metrics"]
    return {name: _finite(pooled[_LIBVMAF[name]]["mean"]) for name in metrics}


def _frames(entries: Any, metrics: Iterable[str]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(_finite(entry["metrics"][_LIBVMAF[name]]) for entry in entries) for name in metrics}


def _parse_xpsnr(log: str) -> tuple[float, tuple[float, ...]]:
    frames = tuple(_decibels(value) for value in re.findall(r"^n: +[0-9]+ +XPSNR y: *(\S+)", log, re.MULTILINE))
    average = re.search(r"^XPSNR average, .* y: *(\S+)", log, re.MULTILINE)
    if average is None:
        raise InputError("xpsnr's log cannot be read")
    return _decibels(average[1]), frames


def _decibels(text: str) -> float:
    """XPSNR, `inf` of identical pictures being 100 so that means stay finite."""
    try:
        return min(float(text), _XPSNR_CAP) if text != "nan" else _finite(text)
    except ValueError as error:
        raise InputError(f"xpsnr's log cannot be read ({error})") from error


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a score of {number}")
    return number
