"""From points to BD-rates: per clip first, then their mean. Never the BD-rate of a mean curve."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scene.evaluation.grid import Measured, Point
from scene.metrics.bjontegaard import bd_rate
from scene.metrics.scores import BD_METRICS


@dataclass(frozen=True, slots=True)
class ClipRow:
    """BD-rate of one method on one clip.

    Attributes:
        percent: negative is a saving; None where it is not defined.
        overlap, note: see `scene.metrics.bjontegaard.BDRate`.
    """

    clip: str
    codec: str
    method: str
    anchor: str
    metric: str
    percent: float | None
    overlap: float
    note: str


@dataclass(frozen=True, slots=True)
class MeanRow:
    """Per-clip BD-rates of one method taken together.

    Attributes:
        percent, median: over the clips where it is defined; None if there are none.
        worst, worst_clip: the largest value and whose it is.
        clips, of_clips: how many clips are defined, of how many.
        overlap: the smallest of those clips.
        note: which clips are left out, and how many need care.
    """

    codec: str
    method: str
    anchor: str
    metric: str
    percent: float | None
    median: float | None
    worst: float | None
    worst_clip: str | None
    clips: int
    of_clips: int
    overlap: float
    note: str


def clip_rows(measured: Measured, *, anchor: str = "none") -> list[ClipRow]:
    """BD-rate of every method but the anchor, for each clip, codec and metric.

    Args:
        anchor: the method to compare with, by label; another than `none` compares two methods directly.
    """
    curves: dict[tuple[str, str, str], list[Point]] = {}
    for point in measured.points:
        curves.setdefault((point.clip.name, point.run.codec.name, point.method.label), []).append(point)
    rows = []
    for (clip, codec, method), points in curves.items():
        if method == anchor:
            continue
        base = curves.get((clip, codec, anchor), [])
        lost = [f for f in measured.failures if (f.clip, f.codec) == (clip, codec)]
        lost = [f for f in lost if f.method in (method, anchor)]
        for metric in BD_METRICS:
            result = bd_rate(_curve(base, metric), _curve(points, metric))
            note = result.note
            if lost:
                note = "; ".join(filter(None, [f"{len(lost)} points could not be measured", note]))
            rows.append(ClipRow(clip, codec, method, anchor, metric, result.percent, result.overlap, note))
    return rows


def mean_rows(rows: Sequence[ClipRow]) -> list[MeanRow]:
    """One row for each codec, method and metric, in the order of the given rows."""
    groups: dict[tuple[str, str, str, str], list[ClipRow]] = {}
    for row in rows:
        groups.setdefault((row.codec, row.method, row.anchor, row.metric), []).append(row)
    return [_mean_row(*key, group) for key, group in groups.items()]


def _mean_row(codec: str, method: str, anchor: str, metric: str, group: Sequence[ClipRow]) -> MeanRow:
    defined = {row.clip: row.percent for row in group if row.percent is not None}
    notes = [f"{row.clip}: {row.note}" for row in group if row.percent is None]
    care = sum(1 for row in group if row.percent is not None and row.note)
    if care:
        notes.append(f"{care} clips have a note")
    worst = max(defined, key=lambda clip: defined[clip]) if defined else None
    return MeanRow(
        *(codec, method, anchor, metric),
        percent=statistics.fmean(defined.values()) if defined else None,
        median=statistics.median(defined.values()) if defined else None,
        worst=defined[worst] if worst is not None else None,
        worst_clip=worst,
        clips=len(defined),
        of_clips=len(group),
        overlap=min((row.overlap for row in group if row.clip in defined), default=0.0),
        note="; ".join(notes),
    )


def _curve(points: Sequence[Point], metric: str) -> list[tuple[float, float]]:
    return [(point.kbps, getattr(point.measurement.scores, metric)) for point in points]
