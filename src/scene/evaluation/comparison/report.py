"""What `scene compare` leaves: the documents of an evaluation, with files in the place of methods."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict

from scene import __version__
from scene.evaluation.comparison.files import ComparedFile, ComparedFiles
from scene.evaluation.report.results import FORMAT, Document
from scene.metrics.scores import METRICS
from scene.video.ffmpeg import FFmpeg


def results_document(compared: ComparedFiles, ffmpeg: FFmpeg, command: str) -> Document:
    """The content of results.json (format 1; see docs/evaluating.md).

    Args:
        command: the command line that repeats it.
    """
    reference = compared.reference
    return {
        "format": FORMAT,
        "environment": {
            "scene": __version__,
            "ffmpeg": ffmpeg.version,
            "platform": platform.platform(),
            "command": command,
            "recipe": {"frames": compared.recipe.frames, "halve_above": None, "gop_seconds": None},
            "clips": [
                {
                    "clip": reference.name,
                    "sha256": reference.sha256,
                    "fps": float(reference.rate),
                    "source_size": [reference.width, reference.height],
                    "measured_size": [compared.width, compared.height],
                }
            ],
            "methods": [{"method": file.clip.name, "identity": f"file:{file.clip.sha256}"} for file in compared.files],
            "codecs": [],
        },
        "points": [_point(file, compared) for file in compared.files],
        "bd_rate": [],
        "equal_crf": [],
        "treatments": [],
        "failures": [],
        "timing": None,
    }


def frames_document(compared: ComparedFiles) -> Document:
    """The content of frames.json: every frame's scores."""
    entries = [
        {
            "clip": compared.reference.name,
            "codec": file.video.codec,
            "method": file.clip.name,
            "crf": None,
            "scores": {name: list(values) for name, values in file.comparison.frames.items()},
        }
        for file in compared.files
    ]
    return {"format": FORMAT, "frames": entries}


def table_text(document: Document) -> str:
    """The text of table.md: one row for each file.

    Args:
        document: of `results_document`.
    """
    environment = document["environment"]
    (clip,) = environment["clips"]
    header = ["File", "Codec", "kbit/s"]
    header += [f"{metric.title} ({metric.unit})" if metric.unit else metric.title for metric in METRICS]
    rows = [
        [_escape(point["method"]), point["codec"], f"{point['kbps']:.0f}", *_scores(point)]
        for point in document["points"]
    ]
    size = "x".join(map(str, clip["measured_size"]))
    depth, frames = (document["points"][0][name] for name in ("bit_depth", "frames"))
    lines = [
        f"# Against {_escape(clip['clip'])}",
        "",
        f"{frames} frames of {size} at {depth} bit, {clip['fps']:g} frames/s; means over frames, VMAF is unclipped "
        "v0.6.1. Higher is better, but for CAMBI and flicker. The rate is that of the video stream alone.",
        "",
        *_table(header, rows),
        "",
        f"ffmpeg {_escape(environment['ffmpeg'])}. To repeat:",
        "",
        # Four spaces, not a fence: nothing in a file name can end such a block.
        f"    {environment['command']}",
    ]
    return "\n".join(lines) + "\n"


def _point(file: ComparedFile, compared: ComparedFiles) -> Document:
    return {
        "clip": compared.reference.name,
        "codec": file.video.codec,
        "method": file.clip.name,
        "crf": None,
        "preset": None,
        "bytes": file.video.bytes,
        "kbps": round(file.kbps(compared.reference.rate), 3),
        "fps": float(compared.reference.rate),
        "width": compared.width,
        "height": compared.height,
        "bit_depth": compared.bit_depth,
        **asdict(file.comparison.scores),
    }


def _scores(point: Document) -> list[str]:
    values = ((point[metric.name], metric.decimals) for metric in METRICS)
    return ["N/A" if value is None else f"{value:.{decimals}f}" for value, decimals in values]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose columns also line up on a terminal: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width if number < 2 else "-" * (width - 1) + ":" for number, width in enumerate(widths)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    return [line(header), line(rule), *map(line, rows)]


def _escape(text: str) -> str:
    for special in "\\`*_|<>[]":
        text = text.replace(special, f"\\{special}")
    return text
