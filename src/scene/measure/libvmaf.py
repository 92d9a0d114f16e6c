"""What ffmpeg's libvmaf and xpsnr are asked for, and what they answer. Pure: running ffmpeg is the caller's part.

The set of metrics has a version, which goes into every cache key: a change to any figure raises METRICS_VERSION.
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
from scene.video.ffmpeg import input_name

METRICS_VERSION = "2"

_XPSNR = "xpsnr_y"
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
# Samples: MS-SSIM fails with fewer on the shorter side, VMAF v1 and CAMBI on the longer; tiny pictures crash libvmaf.
_LEAST_SHORT = 176
_LEAST_LONG = {"vmaf_v1": 216, "cambi": 216}


@dataclass(frozen=True, slots=True)
class ClipScores:
    """What ffmpeg's filters give for one pair of clips.

    Attributes:
        means: by name of `scene.metrics.scores.Scores`, as the filters pool them; beside the metrics that were asked
            for also `vmaf_clipped`, where `vmaf` was among them.
        frames: every frame's own values, by name of `scene.metrics.scores.FRAME_METRICS`.
    """

    means: Mapping[str, float]
    frames: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Where the filters write about one pair of clips; `xpsnr` is written only where XPSNR is asked for."""

    libvmaf: Path
    xpsnr: Path


def too_small(width: int, height: int, metrics: Iterable[str]) -> str | None:
    """The least size that these metrics need, in words, where pictures do not have it, else None."""
    shorter, longer = _LEAST_SHORT, max(_LEAST_LONG.get(name, _LEAST_SHORT) for name in metrics)
    if min(width, height) >= shorter and max(width, height) >= longer:
        return None
    return f"{longer}x{shorter}" if longer == shorter else f"{longer}x{shorter} or {shorter}x{longer}"


def score_graph(logs: Sequence[LogFiles], metrics: Sequence[str], threads: int = 1) -> str:
    """The -lavfi graph that compares inputs 0, 1, ... (distorted), one for each of `logs`, with the input after them.

    Time stamps are replaced by the frame's number, so that frame n meets frame n whatever the containers say.

    Args:
        logs: where the filters write; escaped here for both levels of the graph's syntax.
        metrics: by name, at least one VMAF model among them.
        threads: of libvmaf, for each pair.
    """
    filters = _filters(metrics)
    count = len(logs)
    references = [f"[ref{number}]" for number in range(count * filters)]
    parts = [f"[{count}:v]{_ALIGN},split={len(references)}{''.join(references)}"]
    for index, log in enumerate(logs):
        numbers = range(index * filters, (index + 1) * filters)
        copies = "".join(f"[dis{number}]" for number in numbers)
        parts.append(f"[{index}:v]{_ALIGN},split={filters}{copies}")
        first = numbers[0]
        options = _libvmaf_options(metrics, log.libvmaf, threads)
        parts.append(f"[dis{first}][ref{first}]libvmaf={options}[out{first}]")
        # libvmaf takes the distorted pictures first; xpsnr, which weighs errors by the original's activity, the other.
        for number in numbers[1:]:
            stats = escape_option(str(log.xpsnr))
            parts.append(f"[ref{number}][dis{number}]xpsnr=stats_file={stats}[out{number}]")
    return ";".join(parts)


def score_arguments(
    distorted: Sequence[Path], reference: Path, logs: Sequence[LogFiles], metrics: Sequence[str], threads: int = 1
) -> list[str]:
    """ffmpeg's arguments that run a `score_graph` over files and keep no pictures."""
    inputs = [word for path in (*distorted, reference) for word in ("-threads", "1", "-i", input_name(path))]
    streams = range(len(distorted) * _filters(metrics))
    outputs = [word for number in streams for word in ("-map", f"[out{number}]", "-f", "null", "-")]
    graph = score_graph(logs, metrics, threads)
    return [*inputs, "-filter_complex_threads", "1", "-lavfi", graph, *outputs]


def parse_scores(libvmaf_log: str | bytes, xpsnr_log: str | None, metrics: Sequence[str]) -> ClipScores:
    """Reads libvmaf's JSON log and, where XPSNR is among the metrics, xpsnr's text.

    Identical pictures have an XPSNR of 100.

    Raises:
        InputError: they are not such logs, have no frames or not as many, lack a metric, or hold a value that is not
            finite.
    """
    of_libvmaf = [name for name in metrics if name != _XPSNR]
    try:
        log = json.loads(libvmaf_log)
        entries = log["frames"]
        means = {name: _finite(log["pooled_metrics"][_LIBVMAF[name]]["mean"]) for name in of_libvmaf}
        frames = {name: tuple(_finite(entry["metrics"][_LIBVMAF[name]]) for entry in entries) for name in of_libvmaf}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"libvmaf's log cannot be read ({type(error).__name__}: {error})") from error
    if not entries:
        raise InputError("libvmaf compared no frames")
    if "vmaf" in frames:
        clipped = [min(max(value, 0.0), 100.0) for value in frames["vmaf"]]
        means["vmaf_clipped"] = sum(clipped) / len(clipped)
    if _XPSNR in metrics:
        means[_XPSNR], frames[_XPSNR] = _parse_xpsnr(xpsnr_log or "")
        if len(frames[_XPSNR]) != len(entries):
            raise InputError(f"libvmaf compared {len(entries)} frames and xpsnr {len(frames[_XPSNR])}")
    return ClipScores(means, frames)


def pool(name: str, values: Sequence[float]) -> float:
    """The score of several frames, as ffmpeg's filters pool it: the mean, for XPSNR that of the root of the error."""
    if name != _XPSNR:
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


def _filters(metrics: Sequence[str]) -> int:
    """How many filters compare a pair: libvmaf, and xpsnr beside it."""
    return 2 if _XPSNR in metrics else 1


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
