"""From points to figures: per clip first, then their mean. Never the BD-rate of a mean curve."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scene.evaluation.grid.grid import Measured, Point
from scene.metrics.bjontegaard import bd_quality, bd_rate
from scene.metrics.scores import METRICS, REGION_METRICS, Metric

# Clip, codec and method: methods for different codecs may share a label.
_Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One method against the anchor on one clip, by one metric.

    Attributes:
        percent: BD-rate, negative is a saving; None where it is not defined.
        overlap, note: see `scene.metrics.bjontegaard.BDRate`.
        hull_percent: BD-rate over the curves' upper convex hulls; None where these have too few points.
        bd_quality: mean difference of the score at equal rate; None where it is not defined.
        rate_overlap, rate_note: see `scene.metrics.bjontegaard.BDQuality`.
    """

    clip: str
    codec: str
    method: str
    anchor: str
    metric: str
    percent: float | None
    overlap: float
    note: str
    hull_percent: float | None
    bd_quality: float | None
    rate_overlap: float
    rate_note: str


@dataclass(frozen=True, slots=True)
class MeanRow:
    """Per-clip figures of one method taken together.

    Attributes:
        percent, median: of BD-rate over the clips where it is defined; None if there are none.
        worst, worst_clip: the largest BD-rate and whose it is.
        clips, of_clips: how many clips have a BD-rate, of how many.
        overlap: the smallest of those clips.
        note: which clips are left out, and how many need care.
        bd_quality: the mean over the clips where it is defined; None if there are none.
        bd_quality_clips: how many these are.
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
    bd_quality: float | None
    bd_quality_clips: int


@dataclass(frozen=True, slots=True)
class EqualCRF:
    """What a method changes where the encoder's setting stays as it is; defined for every pair of curves.

    Attributes:
        clip: None for the mean over clips.
        rate_percent: change of the rate, from the geometric mean over CRFs of its ratio.
        changes: mean change over CRFs by name of `scene.metrics.scores.METRICS`; None where a score is not defined.
    """

    clip: str | None
    codec: str
    method: str
    anchor: str
    rate_percent: float
    changes: Mapping[str, float | None]


def clip_rows(measured: Measured, *, anchor: str = "none") -> list[ClipRow]:
    """BD-rate and BD-quality of every method but the anchor, for each clip, codec and metric.

    Args:
        anchor: the method to compare with, by label; another than `none` compares methods directly. A codec
            that it does not serve has no rows.
    """
    curves = _curves(measured)
    served = {codec for _, codec, method in curves if method == anchor}
    metrics = measured_metrics(measured)
    rows = []
    for (clip, codec, method), points in curves.items():
        if method == anchor or codec not in served:
            continue
        base = curves.get((clip, codec, anchor), [])
        lost = [f for f in measured.failures if (f.clip, f.codec) == (clip, codec) and f.method in (method, anchor)]
        lost_note = f"{len(lost)} points could not be measured" if lost else ""
        for metric in (metric.name for metric in metrics if metric.bd_rate):
            pair = _curve(base, metric), _curve(points, metric)
            rate, quality = bd_rate(*pair), bd_quality(*pair)
            rows.append(
                ClipRow(
                    *(clip, codec, method, anchor, metric),
                    percent=rate.percent,
                    overlap=rate.overlap,
                    note=_join(lost_note, rate.note),
                    hull_percent=bd_rate(*pair, hull=True).percent,
                    bd_quality=quality.difference,
                    rate_overlap=quality.overlap,
                    rate_note=_join(lost_note, quality.note),
                )
            )
    return rows


def mean_rows(rows: Sequence[ClipRow]) -> list[MeanRow]:
    """One row for each codec, method and metric, in the order of the given rows."""
    groups: dict[tuple[str, str, str, str], list[ClipRow]] = {}
    for row in rows:
        groups.setdefault((row.codec, row.method, row.anchor, row.metric), []).append(row)
    return [_mean_row(*key, group) for key, group in groups.items()]


def equal_crf_rows(measured: Measured, *, anchor: str = "none") -> list[EqualCRF]:
    """Every method but the anchor at the anchor's own CRFs, for each clip and codec, then their means over clips.

    A CRF that one of the two lacks does not count; a pair without a common CRF has no row.
    """
    curves, metrics = _curves(measured), measured_metrics(measured)
    rows: dict[tuple[str, str], list[EqualCRF]] = {}
    for (clip, codec, method), points in curves.items():
        base = {point.crf: point for point in curves.get((clip, codec, anchor), [])}
        pairs = [(base[point.crf], point) for point in points if point.crf in base]
        if method == anchor or not pairs:
            continue
        ratio = math.exp(statistics.fmean(math.log(test.kbps / own.kbps) for own, test in pairs))
        changes = {metric.name: _mean(_changes(pairs, metric.name)) for metric in metrics}
        row = EqualCRF(clip, codec, method, anchor, 100 * (ratio - 1), changes)
        rows.setdefault((codec, method), []).append(row)
    means = [
        EqualCRF(
            *(None, codec, method, anchor),
            rate_percent=statistics.fmean(row.rate_percent for row in group),
            changes={metric.name: _mean(row.changes[metric.name] for row in group) for metric in metrics},
        )
        for (codec, method), group in rows.items()
    ]
    return [*(row for group in rows.values() for row in group), *means]


def _curves(measured: Measured) -> dict[_Place, list[Point]]:
    """The points of each clip, codec and method; an empty list where every one of them failed."""
    curves: dict[_Place, list[Point]] = {}
    for point in measured.points:
        curves.setdefault((point.clip.name, point.run.codec.name, point.method.label), []).append(point)
    for failure in measured.failures:
        curves.setdefault((failure.clip, failure.codec, failure.method), [])
    return curves


def _mean_row(codec: str, method: str, anchor: str, metric: str, group: Sequence[ClipRow]) -> MeanRow:
    defined = {row.clip: row.percent for row in group if row.percent is not None}
    gains = [row.bd_quality for row in group if row.bd_quality is not None]
    notes = [f"{row.clip}: {row.note}" for row in group if row.percent is None]
    care = sum(1 for row in group if row.percent is not None and row.note)
    if care:
        notes.append(f"{care} clips have a note")
    worst = max(defined, key=lambda clip: defined[clip]) if defined else None
    return MeanRow(
        *(codec, method, anchor, metric),
        percent=_mean(defined.values()),
        median=statistics.median(defined.values()) if defined else None,
        worst=defined[worst] if worst is not None else None,
        worst_clip=worst,
        clips=len(defined),
        of_clips=len(group),
        overlap=min((row.overlap for row in group if row.clip in defined), default=0.0),
        note=_join(*notes),
        bd_quality=_mean(gains),
        bd_quality_clips=len(gains),
    )


def measured_metrics(measured: Measured) -> tuple[Metric, ...]:
    """What was measured: all metrics, and those of regions where there were masks."""
    masked = any(point.measurement.regions is not None for point in measured.points)
    return (*METRICS, *REGION_METRICS) if masked else METRICS


def _score(point: Point, metric: str) -> float | None:
    scores = point.measurement.scores
    value: float | None = getattr(scores if hasattr(scores, metric) else point.measurement.regions, metric)
    return value


def _curve(points: Sequence[Point], metric: str) -> list[tuple[float, float]]:
    """Points without a score (of a region that is nowhere) are left out."""
    return [(point.kbps, score) for point in points if (score := _score(point, metric)) is not None]


def _changes(pairs: Sequence[tuple[Point, Point]], metric: str) -> list[float | None]:
    scores = [(_score(own, metric), _score(test, metric)) for own, test in pairs]
    return [None if before is None or after is None else after - before for before, after in scores]


def _mean(values: Iterable[float | None]) -> float | None:
    """Over the values that are defined, if there are any."""
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
