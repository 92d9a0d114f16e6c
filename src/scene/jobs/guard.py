"""Shot by shot, enhancement where it pays and the source's own pictures where it does not.

Whether it pays is judged by trial encodes of the middle of a shot's first frames, with enhancement and without.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Generic, TypeVar, cast

from scene.enhance import Enhancer
from scene.enhance.colour import studio_luma
from scene.errors import SceneError
from scene.measure.libvmaf import too_small
from scene.measure.score import score_all, scored_depth, write_lumas
from scene.metrics.rate_saving import RatePoint, Saving, judge, percent
from scene.metrics.scores import METRICS
from scene.picture import Frame, Picture, PictureFormat, Plane, crop, middle_window
from scene.temporal.shots import KnownShots, ShotDetector, Shots
from scene.video.encoders import ENCODERS
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.trial import Trial, check_part, try_encode
from scene.video.ffmpeg import FFmpeg
from scene.video.source.decode import DecodedFrame, Unit
from scene.video.source.probe import SourceInfo

log = logging.getLogger(__name__)

# With which a shot is judged: enough for references in both directions, few enough to wait in memory.
PROBE_FRAMES = 12

# The window's longer and shorter side at most.
_LONG, _SHORT = 640, 360
# Where a row is no multiple of eight macroblocks, x264's lookahead depends on what is left in memory: the same pictures
# then have another rate each time, by up to 3 %. Below two such rows nothing is cut off: libvmaf needs the width.
_ROW = 128
# All three look at luma only, and none is easily pleased by contrast alone.
GUARD_METRICS = ("vmaf_neg", "vmaf_v1", "ms_ssim")

_TITLES = {metric.name: metric.title for metric in METRICS}


# Pictures without and with enhancement, and their time stamps.
Probe = Callable[[Sequence[Picture], Sequence[Picture], Sequence[int]], Saving]
F = TypeVar("F", bound=Frame)


@dataclass(frozen=True, slots=True)
class GuardReport:
    """What a guard did.

    Attributes:
        shots: of the video.
        passed: shots that were left as they are.
        seconds: that the probes took, without the enhancement of their frames.
    """

    shots: int
    passed: int
    seconds: float


class Guard(Generic[F]):
    """Enhances the frames of a video, but for the shots that a probe of their first frames finds not worth it.

    At most `PROBE_FRAMES` frames wait for a verdict; a shot that is shorter is judged by all that it has. Each shot's
    embedding, where the network takes one, is the one that it has without a guard. A probe that fails counts as a
    favourable one, with a warning the first time.

    Args:
        enhancer: at the beginning of the video.
        probe: see `ShotProbe`.
    """

    def __init__(self, enhancer: Enhancer, probe: Probe) -> None:
        self._enhancer = enhancer
        self._probe = probe
        self._detector: Shots = ShotDetector()
        self._waiting: list[tuple[F, Picture]] = []
        self._pays: bool | None = None
        self._number = self._first = 0
        self._shots = self._passed = 0
        self._seconds = 0.0
        self._failed = False

    @property
    def report(self) -> GuardReport:
        """What has been done so far."""
        return GuardReport(self._shots, self._passed, self._seconds)

    @property
    def pays(self) -> bool:
        """The verdict on the shot of the last frames that were given."""
        return self._pays is not False

    def follow(self, shots: Iterable[bool], first: int, *, pays: bool = True) -> None:
        """The next frames are from the middle of a video whose shots are known; the report begins anew.

        Args:
            shots: of each frame, whether it is the first of a shot.
            first: number of the next frame.
            pays: the verdict on the shot that it is in.
        """
        self._detector = KnownShots(shots)
        self._number, self._pays = first, pays
        self._shots = self._passed = 0
        self._seconds = 0.0

    def filter_in_time(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """See `Enhancer.filter_in_time`."""
        return self._enhancer.filter_in_time(pictures)

    def take(self, frame: F, filtered: Picture) -> Iterator[F]:
        """Takes the next frame, and that after the temporal filter; gives those that are ready by now, in order.

        Raises:
            UsageError, InputError: see `Enhancer.check`.
        """
        if self._detector.begins(studio_luma(frame.picture())):
            yield from self.finish()
            self._shots += 1
            self._first, self._pays = self._number, None
            # It sees no more of a shot that is passed through than the first frames, and might miss the cut.
            self._enhancer.renew_embedding()
        self._number += 1
        if self._pays is False:
            yield frame
            return
        self._waiting.append((frame, filtered))
        if len(self._waiting) >= (PROBE_FRAMES if self._pays is None else self._enhancer.batch):
            yield from self.finish()

    def finish(self) -> Iterator[F]:
        """Gives the frames that are still waiting; errors as for `take`."""
        waiting, self._waiting = self._waiting, []
        frames = [frame for frame, _ in waiting]
        if frames:
            plain = [frame.picture() for frame in frames]
            enhanced = list(self._enhancer.enhance_filtered(filtered for _, filtered in waiting))
            if self._pays is None:
                self._pays = self._judge(plain, enhanced, [frame.pts for frame in frames])
                self._passed += not self._pays
            if self._pays:
                for frame, picture in zip(frames, enhanced, strict=True):
                    frame.replace(picture)
        yield from frames

    def _judge(self, plain: Sequence[Picture], enhanced: Sequence[Picture], stamps: Sequence[int]) -> bool:
        began = time.monotonic()
        try:
            saving = self._probe(plain, enhanced, stamps)
        except (SceneError, OSError) as error:
            level = logging.DEBUG if self._failed else logging.WARNING
            log.log(level, "the shot at frame %d is enhanced without a probe, which failed: %s", self._first, error)
            self._failed = True
            return True
        finally:
            self._seconds += time.monotonic() - began
        verdict = "enhanced" if saving.pays else "passed through"
        log.info("shot at frame %d: %s (%s)", self._first, verdict, _in_words(saving))
        return saving.pays


def guarded(units: Iterator[Unit], guard: Guard[DecodedFrame]) -> Iterator[Unit]:
    """A source's units with its frames after a guard. Packets do not wait with the frames, but keep their order."""
    # Two views of one iterator: what is filtered, with frames to come, and what waits for it.
    units, read = tee(units)
    pictures = guard.filter_in_time(unit.frame.picture() for unit in read if unit.frame is not None)
    for unit in units:
        if unit.packets:
            yield Unit(unit.packets)
        if unit.frame is not None:
            for frame in guard.take(unit.frame, next(pictures)):
                yield Unit(frame=frame)
    for frame in guard.finish():
        yield Unit(frame=frame)


class ShotProbe:
    """Encodes a window of some frames as the whole video will be encoded, to see whether enhancement pays there.

    The encoder is the video's own with all its settings, the preset too, on one thread.

    Args:
        ffmpeg: of `scene.measure.score.require_ffmpeg`, for `GUARD_METRICS`.
        settings: of the video.
        info: of its source.
        metrics: to measure.

    Attributes:
        metrics: those that can be measured on pictures of this size; none on small ones, which cannot be probed.

    Raises:
        UsageError: encoder parameters with which no part of a video can be encoded by itself.
    """

    def __init__(
        self, ffmpeg: FFmpeg, settings: EncoderSettings, info: SourceInfo, metrics: Sequence[str] = GUARD_METRICS
    ) -> None:
        check_part(settings)
        codec = ENCODERS[settings.codec]
        crf = codec.crf_of(settings)
        step = codec.next_rate_step
        self._ffmpeg = ffmpeg
        self._settings = replace(settings, crf=crf)
        self._beside = replace(settings, crf=crf + step if crf + step <= codec.max_crf else crf - step)
        self._info = info
        self._window = window_of(info.format)
        rows, columns = (part.stop - part.start for part in self._window)
        self.metrics = tuple(name for name in metrics if too_small(columns, rows, [name]) is None)

    def __call__(self, plain: Sequence[Picture], enhanced: Sequence[Picture], stamps: Sequence[int]) -> Saving:
        """The verdict on frames of one shot; arguments and errors as of `points`."""
        return judge(*self.points(plain, enhanced, stamps))

    def points(
        self, plain: Sequence[Picture], enhanced: Sequence[Picture], stamps: Sequence[int]
    ) -> tuple[RatePoint, RatePoint, RatePoint]:
        """The enhanced pictures, the plain ones, and the plain ones at a CRF nearby, as `judge` takes them.

        Args:
            plain, enhanced: whole pictures, as many of both.
            stamps: when each is shown, in the source's time base.

        Raises:
            SceneError: an encoder or libvmaf failed.
            OSError: there is no room for temporary files.
        """
        sources, changed = ([crop(picture, self._window) for picture in pictures] for pictures in (plain, enhanced))
        trials = [
            try_encode(pictures, stamps, settings, self._info)
            for pictures, settings in (
                (changed, self._settings),
                (sources, self._settings),
                (sources, self._beside),
            )
        ]
        changed_point, plain_point, beside = self._compare([picture.planes[0] for picture in sources], trials)
        return changed_point, plain_point, beside

    def _compare(self, reference: Sequence[Plane], trials: Sequence[Trial]) -> list[RatePoint]:
        with tempfile.TemporaryDirectory(prefix="scene-guard-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            pictures = [folder / f"{index}.y4m" for index in range(len(trials))]
            for path, trial in zip(pictures, trials, strict=True):
                _write_lumas(path, trial.lumas, trial.bit_depth)
            source = folder / "reference.y4m"
            _write_lumas(source, reference, self._info.format.bit_depth)
            scores = score_all(self._ffmpeg, pictures, source, self.metrics, folder=folder)
        return [RatePoint(trial.bytes, scored.means) for trial, scored in zip(trials, scores, strict=True)]


def window_of(fmt: PictureFormat) -> tuple[slice, slice]:
    """Rows and columns of the middle of a picture, at most 640x360 or 360x640.

    Offsets and sides are even, and the width is a multiple of 128 from 256 upwards.
    """
    tallest, widest = (_SHORT, _LONG) if fmt.width >= fmt.height else (_LONG, _SHORT)
    height, width = min(fmt.height - fmt.height % 2, tallest), min(fmt.width - fmt.width % 2, widest)
    if width >= 2 * _ROW:
        width -= width % _ROW
    return middle_window(fmt, width, height)


def _write_lumas(path: Path, lumas: Sequence[Plane], bit_depth: int) -> None:
    """Luma for scoring, shifted to 8 or 10 bit.

    Codes stay what they are in full range too: both sides of a comparison are treated alike, and under the tag of
    limited range ffmpeg has no reason to convert one of them.
    """
    depth = scored_depth(bit_depth)
    write_lumas(path, (_at_depth(luma, bit_depth, depth) for luma in lumas), depth)


def _at_depth(plane: Plane, bit_depth: int, wanted: int) -> Plane:
    deeper = wanted - bit_depth
    return cast(Plane, plane << deeper if deeper > 0 else plane >> -deeper)


def _in_words(saving: Saving) -> str:
    if not saving.by_metric:
        return "no metric tells"
    # Negative is a saving, as everywhere.
    changes = (f"{_TITLES[name]} {-percent(value):+.1f} %" for name, value in saving.by_metric.items())
    return f"rate at equal {', '.join(changes)}"
