"""results.json: every point and every BD-rate, with what is needed to repeat them."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass
from typing import Any

from scene import __version__
from scene.evaluation.clip import Recipe
from scene.evaluation.grid import Grid, Measured, Point
from scene.evaluation.summary import ClipRow, MeanRow, clip_rows, mean_rows
from scene.video.ffmpeg import FFmpeg

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation as it is reported.

    Attributes:
        grid: what was asked for.
        measured: what came of it.
        rows, means: BD-rates against `none`.
        ffmpeg: version of the program.
        command: the command line that repeats it, empty if there is none.
    """

    grid: Grid
    measured: Measured
    rows: tuple[ClipRow, ...]
    means: tuple[MeanRow, ...]
    ffmpeg: str
    command: str


def make_report(grid: Grid, measured: Measured, ffmpeg: FFmpeg, *, command: str = "") -> Report:
    """Computes the BD-rates of a measured grid."""
    rows = clip_rows(measured)
    return Report(grid, measured, tuple(rows), tuple(mean_rows(rows)), ffmpeg.version, command)


def results_json(report: Report) -> str:
    """The text of results.json (format 1; see docs/measuring.md)."""
    document = {
        "format": FORMAT,
        "environment": _environment(report),
        "points": [_point(point) for point in report.measured.points],
        "bd_rate": [*map(_row, report.rows), *map(_row, report.means)],
        "failures": [asdict(failure) for failure in report.measured.failures],
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _environment(report: Report) -> dict[str, Any]:
    grid = report.grid
    return {
        "scene": __version__,
        "ffmpeg": report.ffmpeg,
        "platform": platform.platform(),
        "command": report.command,
        "recipe": _recipe(grid.recipe),
        "clips": [
            {
                "clip": clip.name,
                "sha256": clip.sha256,
                "fps": float(clip.rate),
                "source_size": [clip.width, clip.height],
                "measured_size": list(grid.recipe.size(clip)),
            }
            for clip in grid.clips
        ],
        "methods": [{"method": method.label, "identity": method.identity} for method in grid.methods],
        "codecs": [
            {
                "codec": run.codec.name,
                "encoder": run.codec.encoder,
                "version": report.measured.encoders[run.codec.name],
                "preset": run.preset,
                "crf": [_number(crf) for crf in run.crfs],
            }
            for run in grid.codecs
        ],
    }


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {"frames": recipe.frames, "halve_above": recipe.halve_above, "gop_seconds": 2}


def _point(point: Point) -> dict[str, Any]:
    measurement = point.measurement
    return {
        "clip": point.clip.name,
        "codec": point.run.codec.name,
        "method": point.method.label,
        "crf": _number(point.crf),
        "preset": point.run.preset,
        "bytes": measurement.bytes,
        "kbps": round(point.kbps, 3),
        "fps": float(point.clip.rate),
        "width": measurement.width,
        "height": measurement.height,
        "bit_depth": measurement.bit_depth,
        **asdict(measurement.scores),
    }


def _row(row: ClipRow | MeanRow) -> dict[str, Any]:
    fields = asdict(row)
    if isinstance(row, MeanRow):
        fields = {"clip": "mean", **fields}
    return {
        name: round(value, 4) if isinstance(value, float) and math.isfinite(value) else value
        for name, value in fields.items()
    }


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value
