"""What enhancement won: short windows of a video are put aside while it is encoded, and tried without the model too."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scene.errors import MissingError, SceneError, UsageError
from scene.jobs.guard import ShotProbe, window_of
from scene.measure.score import require_ffmpeg
from scene.metrics.gain_sentence import BESIDE, HONEST
from scene.metrics.rate_saving import BOUND, RatePoint, judge, percent
from scene.picture import Picture, cut_out
from scene.video.encoders.params import FIXED_QUALITY, parse_encoder_args
from scene.video.encoders.settings import EncoderSettings
from scene.video.source.decode import Unit
from scene.video.source.probe import SourceInfo

log = logging.getLogger(__name__)

# Frames of a window, and how many windows there are of all but the shortest videos.
FRAMES = 12
_WINDOWS = 3
# Where they begin if nothing says how long the video is.
_STARTS = (0, 240, 2400)


@dataclass(frozen=True, slots=True)
class Gain:
    """Enhanced pictures held against the source's own, both encoded with the settings of the video.

    Attributes:
        frames: that were tried, of the middle of the picture.
        rate_percent: change of the rate at the same CRF.
        changes: of the scores at the same CRF, by metric.
        equal_score_percent: change of the rate at equal score by metric, negative where enhancement saves; without
            those where the encoder's own slope cannot be told, or does not reach so far.
    """

    frames: int
    rate_percent: float
    changes: Mapping[str, float]
    equal_score_percent: Mapping[str, float]


@dataclass(slots=True)
class _Window:
    plain: list[Picture] = field(default_factory=list)
    enhanced: list[Picture] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)


class GainProbe:
    """Takes windows of frames as they pass before and after enhancement.

    Args:
        probe: for pictures as large as `window_of` gives.
        info: of the source.
    """

    def __init__(self, probe: ShotProbe, info: SourceInfo) -> None:
        self._probe = probe
        self._part = window_of(info.format)
        self._windows = {start: _Window() for start in window_starts(info.frames)}

    def before(self, units: Iterator[Unit]) -> Iterator[Unit]:
        """The same units; copies of the windows' pictures are kept."""
        number = 0
        for unit in units:
            if unit.frame is not None:
                if (window := self._window(number)) is not None:
                    window.plain.append(cut_out(unit.frame.picture(), self._part))
                    window.stamps.append(unit.frame.pts)
                number += 1
            yield unit

    def after(self, units: Iterator[Unit]) -> Iterator[Unit]:
        """The same for enhanced pictures."""
        number = 0
        for unit in units:
            if unit.frame is not None:
                if (window := self._window(number)) is not None:
                    window.enhanced.append(cut_out(unit.frame.picture(), self._part))
                number += 1
            yield unit

    def gain(self) -> Gain | None:
        """Encodes and measures the windows; None where that fails or says nothing."""
        windows = [window for window in self._windows.values() if len(window.enhanced) > 1]
        try:
            points = [self._probe.points(window.plain, window.enhanced, window.stamps) for window in windows]
        except (SceneError, OSError) as error:
            log.warning("what was won could not be measured: %s", error)
            return None
        if not points:
            return None
        sizes = [len(window.stamps) for window in windows]
        changed, plain, beside = (pooled([point[index] for point in points], sizes) for index in range(3))
        if min(changed.rate, plain.rate, beside.rate) <= 0:
            return None
        return Gain(
            frames=sum(sizes),
            rate_percent=100 * (changed.rate / plain.rate - 1),
            changes={name: changed.scores[name] - plain.scores[name] for name in plain.scores},
            equal_score_percent={
                name: -percent(saving)
                for name, saving in judge(changed, plain, beside).by_metric.items()
                if abs(saving) < BOUND
            },
        )

    def _window(self, number: int) -> _Window | None:
        return next((w for start, w in self._windows.items() if start <= number < start + FRAMES), None)


def open_gain_probe(settings: EncoderSettings, info: SourceInfo) -> GainProbe | None:
    """A probe for the video of these settings, which have no bitrate; None where nothing can be tried or measured."""
    metrics = (HONEST, *BESIDE)
    if any(name in FIXED_QUALITY for name, _ in parse_encoder_args(settings.encoder_args)):
        return None
    try:
        ffmpeg = require_ffmpeg(metrics, "comparing")
        rows, columns = window_of(info.format)
        small = replace(info.format, width=columns.stop - columns.start, height=rows.stop - rows.start)
        probe = ShotProbe(ffmpeg, settings, replace(info, format=small), metrics)
    except (MissingError, UsageError) as error:
        log.debug("what is won is not measured: %s", error)
        return None
    return GainProbe(probe, info) if HONEST in probe.metrics else None


def window_starts(frames: int | None) -> tuple[int, ...]:
    """The first frames of the windows: in the middle of equal parts of the video.

    Args:
        frames: of the video, None where nothing says.
    """
    if frames is None:
        return _STARTS
    count = _WINDOWS if frames >= 4 * FRAMES * _WINDOWS else 1
    return tuple(max(0, frames * (2 * index + 1) // (2 * count) - FRAMES // 2) for index in range(count))


def pooled(points: Sequence[RatePoint], frames: Sequence[int]) -> RatePoint:
    """Windows as one encode: bytes are added, and each frame's scores count alike."""
    scores = {
        name: statistics.fmean((point.scores[name] for point in points), weights=frames) for name in points[0].scores
    }
    return RatePoint(math.fsum(point.rate for point in points), scores)
