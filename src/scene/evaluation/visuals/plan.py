"""Which side-by-side pictures an evaluation gets, and at which CRF every method is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scene.evaluation.grid.grid import Grid, Point
from scene.evaluation.grid.methods import Method
from scene.evaluation.report.results import Report
from scene.evaluation.visuals.equal_rate import crf_at_rate
from scene.measure.clip import Clip, reference_key
from scene.measure.encode import CodecRun, encoder_settings, key_frame_interval, settings_key
from scene.measure.libvmaf import METRICS_VERSION
from scene.video.encoders import find_encoder
from scene.video.encoders.settings import EncoderSettings
from scene.video.ffmpeg import FFmpeg

# To be raised whenever the same points would give another side-by-side picture than before.
_VERSION = 4
_MOST = 24
# Each is some hundred kilobytes of the report.
_MOST_MOVING = 8
_MIDDLE_VMAF = 75.0


@dataclass(frozen=True, slots=True)
class PlannedView:
    """A method on a side-by-side picture.

    Attributes:
        method: which one.
        curve: its measured points of the side-by-side picture's clip and codec.
        crf: where it is expected to have the rate of the side-by-side picture.
    """

    method: Method
    curve: tuple[Point, ...]
    crf: float


@dataclass(frozen=True, slots=True)
class SideBySidePlan:
    """A side-by-side picture to be made.

    Attributes:
        clip, run: whose it is.
        views: the codec alone, at a measured point that sets the rate, then the methods.
        moving: whether it is also shown in motion.
        key: all that the side-by-side picture depends on.
    """

    clip: Clip
    run: CodecRun
    views: tuple[PlannedView, ...]
    moving: bool
    key: dict[str, Any]

    def crf_at_rate(self, view: PlannedView, kbps: float) -> float:
        """The CRF, as finely as the encoder takes it, at which a view is expected to have a rate."""
        return crf_at_rate(view.curve, kbps, _step(self.run))

    def settings(self, view: PlannedView, crf: float) -> EncoderSettings:
        """The encoder's settings for a view as in the grid, at any CRF that the encoder takes."""
        return encoder_settings(self.run, crf, key_frame_interval(self.clip.rate), view.method.parameters)


def plan_side_by_sides(report: Report, ffmpeg: FFmpeg) -> list[SideBySidePlan]:
    """The side-by-side pictures of a measured grid, 24 at most, in the grid's order.

    The rate is that of the codec alone at the measured point whose VMAF is closest to 75. Pairs of clip and codec
    without such a point are left out, and so are methods without points.
    """
    grid = report.grid
    plans = []
    moving = choose_pairs(len(grid.clips), len(grid.codecs), _MOST_MOVING)
    for clip_number, codec_number in choose_pairs(len(grid.clips), len(grid.codecs), _MOST):
        clip, run = grid.clips[clip_number], grid.codecs[codec_number]
        curves = {
            method.label: tuple(
                point
                for point in report.measured.points
                if (point.clip.name, point.run.codec.name, point.method.label)
                == (clip.name, run.codec.name, method.label)
            )
            for method in grid.methods
        }
        anchors = curves[grid.methods[0].label]
        if not anchors:
            continue
        middle = min(anchors, key=lambda point: abs(point.measurement.scores.vmaf - _MIDDLE_VMAF))
        views = [PlannedView(grid.methods[0], anchors, middle.crf)]
        for method in grid.methods[1:]:
            if method.serves(run.codec.name) and curves[method.label]:
                curve = curves[method.label]
                views.append(PlannedView(method, curve, crf_at_rate(curve, middle.kbps, _step(run))))
        moves = (clip_number, codec_number) in moving
        plan = SideBySidePlan(clip, run, tuple(views), moves, {})
        key = {
            "slide": _VERSION,
            "clip": clip.name,
            "codec": run.codec.name,
            "reference": reference_key(clip, grid.recipe),
            "encoder": report.measured.encoders[run.codec.name],
            "shots": [
                [
                    view.method.label,
                    view.method.identity_at(view.method.step(run.codec.name, view.crf)),
                    settings_key(plan.settings(view, view.crf)),
                ]
                for view in views
            ],
            "crfs": list(run.crfs),
            **_told(grid, clip, views),
            "moving": moves,
            "ffmpeg": ffmpeg.build,
            "metrics": METRICS_VERSION,
        }
        plans.append(SideBySidePlan(clip, run, tuple(views), moves, key))
    return plans


def _told(grid: Grid, clip: Clip, views: Sequence[PlannedView]) -> dict[str, str]:
    """The mask, where a method's encodes depend on it."""
    needed = any(view.method.focus is not None and view.method.focus.needs_mask for view in views)
    return {"focus": grid.masks[clip.sha256].sha256} if needed else {}


def choose_pairs(clips: int, codecs: int, most: int) -> list[tuple[int, int]]:
    """Indices of clip and codec, at most so many, in order.

    Where there are more, every clip comes once before any comes twice, with the codecs in turn; clips are left out
    evenly where even that is too many.
    """
    if clips * codecs <= most:
        return [(clip, codec) for clip in range(clips) for codec in range(codecs)]
    kept = [number * clips // most for number in range(most)] if clips > most else list(range(clips))
    turns = [(clip, (place + turn) % codecs) for turn in range(codecs) for place, clip in enumerate(kept)]
    return sorted(turns[:most])


def _step(run: CodecRun) -> float:
    return find_encoder(run.codec.name).crf_step
