"""results.json and frames.json: every point, every frame and every comparison, with what is needed to repeat them."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from scene import __version__
from scene.errors import UsageError
from scene.evaluation.grid.grid import ClipEffect, Grid, Measured, Point
from scene.evaluation.report.summary import ClipRow, EqualCRF, MeanRow, clip_rows, equal_crf_rows, mean_rows
from scene.measure.clip import Clip, Recipe
from scene.measure.encode import GOP_SECONDS, CodecRun
from scene.measure.libvmaf import METRICS_VERSION
from scene.measure.regions import Mask
from scene.video.encoding.elementary import pyav_version
from scene.video.ffmpeg import FFmpeg

FORMAT = 1

# Parsed results.json or frames.json. Whatever shows an evaluation works from these, so that it can do so from files.
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation as it is reported.

    Attributes:
        grid: what was asked for.
        measured: what came of it.
        rows, means: comparisons with `none`, then with the second anchor if one was asked for.
        equal_crf: against `none`.
        ffmpeg: version of the program.
        command: the command line that repeats it, empty if there is none.
    """

    grid: Grid
    measured: Measured
    rows: tuple[ClipRow, ...]
    means: tuple[MeanRow, ...]
    equal_crf: tuple[EqualCRF, ...]
    ffmpeg: str
    command: str


def make_report(
    grid: Grid, measured: Measured, ffmpeg: FFmpeg, *, command: str = "", against: str | None = None
) -> Report:
    """Computes the comparisons of a measured grid.

    Args:
        against: a second anchor, by label: the other methods are compared with it as well.

    Raises:
        UsageError: no method has that label.
    """
    labels = [method.label for method in grid.methods]
    if against is not None and against not in labels:
        raise UsageError(f"{against!r}, to compare with, is not among the methods {', '.join(dict.fromkeys(labels))}.")
    rows = clip_rows(measured)
    if against not in (None, "none"):
        rows += [row for row in clip_rows(measured, anchor=against) if row.method != "none"]
    means, equal_crf = mean_rows(rows), equal_crf_rows(measured)
    return Report(grid, measured, tuple(rows), tuple(means), tuple(equal_crf), ffmpeg.version, command)


def results_document(report: Report) -> Document:
    """results.json as JSON types (format 1; see docs/evaluating.md)."""
    measured = report.measured
    return {
        "format": FORMAT,
        "environment": _environment(report),
        "points": [_point(point) for point in measured.points],
        "bd_rate": [*map(_row, report.rows), *map(_row, report.means)],
        "equal_crf": [_equal_crf(row) for row in report.equal_crf],
        "treatments": [_treatment(effect) for effect in measured.effects],
        "timing": None if measured.timing is None else _rounded(asdict(measured.timing)),
        "failures": [asdict(failure) for failure in measured.failures],
    }


def frames_document(report: Report) -> Document:
    """frames.json as JSON types: the scores of every frame of every point."""
    return {
        "format": FORMAT,
        "frames": [
            {
                **_place(point),
                "scores": {
                    name: [round(score, 6) for score in scores] for name, scores in point.measurement.frames.items()
                },
            }
            for point in report.measured.points
        ],
    }


def results_json(report: Report) -> str:
    """The text of results.json."""
    return json_text(results_document(report))


def json_text(document: Document) -> str:
    """A document as it is written."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def frames_json(report: Report) -> str:
    """The text of frames.json, one line for each point."""
    document = frames_document(report)
    lines = ",\n".join(json.dumps(entry, separators=(",", ":"), allow_nan=False) for entry in document["frames"])
    return f'{{"format": {document["format"]}, "frames": [\n{lines}\n]}}\n'


def _environment(report: Report) -> Document:
    grid = report.grid
    return {
        "scene": __version__,
        "pyav": pyav_version(),
        "ffmpeg": report.ffmpeg,
        "platform": platform.platform(),
        "command": report.command,
        "metrics": METRICS_VERSION,
        "recipe": _recipe(grid.recipe),
        "clips": [{**clip_entry(clip, grid.recipe), **_mask_entry(grid.masks.get(clip.sha256))} for clip in grid.clips],
        "methods": [
            {
                "method": method.label,
                "identity": method.identity,
                "codecs": None if method.codecs is None else list(method.codecs),
                "parameters": list(method.parameters),
                # As the user asked for it; the identity has what that came to with the codecs.
                "strength": None if method.network is None else method.strength,
            }
            for method in grid.methods
        ],
        "codecs": [_codec(run, report.measured.encoders[run.codec.name]) for run in grid.codecs],
    }


def clip_entry(clip: Clip, recipe: Recipe) -> Document:
    """A clip as `environment` names it."""
    return {
        "clip": clip.name,
        "sha256": clip.sha256,
        "fps": float(clip.rate),
        "source_size": [clip.width, clip.height],
        "measured_size": list(recipe.size(clip)),
    }


def _mask_entry(mask: Mask | None) -> Document:
    return {} if mask is None else {"mask": mask.sha256}


def _recipe(recipe: Recipe) -> Document:
    return {"frames": recipe.frames, "halve_above": recipe.halve_above, "gop_seconds": GOP_SECONDS}


def _codec(run: CodecRun, version: str) -> Document:
    return {
        "codec": run.codec.name,
        "encoder": run.codec.ffmpeg_name,
        "version": version,
        "preset": run.preset,
        "quality": run.codec.quality_name,
        "crf": [_number(crf) for crf in run.crfs],
        "encoder_args": run.encoder_args,
    }


def _place(point: Point) -> Document:
    return {
        "clip": point.clip.name,
        "codec": point.run.codec.name,
        "method": point.method.label,
        "crf": _number(point.crf),
    }


def _point(point: Point) -> Document:
    measurement = point.measurement
    return {
        **_place(point),
        "preset": point.run.preset,
        "encoder_args": point.encoder_args,
        "bytes": measurement.bytes,
        "kbps": round(point.kbps, 3),
        "fps": float(point.clip.rate),
        "width": measurement.width,
        "height": measurement.height,
        "bit_depth": measurement.bit_depth,
        **asdict(measurement.scores),
        **({} if measurement.regions is None else _rounded(asdict(measurement.regions))),
    }


def _row(row: ClipRow | MeanRow) -> Document:
    return _rounded({"clip": "mean", **asdict(row)} if isinstance(row, MeanRow) else asdict(row))


def _equal_crf(row: EqualCRF) -> Document:
    fields = asdict(row)
    changes = fields.pop("changes")
    return _rounded({**fields, "clip": "mean" if row.clip is None else row.clip, **changes})


def _treatment(effect: ClipEffect) -> Document:
    method = effect.method
    place = {
        "clip": effect.clip.name,
        "method": method.label,
        "codecs": None if method.codecs is None else list(method.codecs),
    }
    return {**place, **_rounded(msgspec.to_builtins(effect.effect))}


def _rounded(fields: Document) -> Document:
    """Numbers to six places, more than anything here is good for."""
    return {
        name: round(value, 6) if isinstance(value, float) and math.isfinite(value) else value
        for name, value in fields.items()
    }


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value
