"""Shot by shot, enhancement where it pays and the source's own pictures where it does not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from scene.enhance import Enhancer
from scene.enhance.colour import studio_luma
from scene.enhance.shots import ShotDetector
from scene.errors import SceneError
from scene.metrics.rate_saving import Saving, percent
from scene.metrics.scores import METRICS
from scene.picture import Frame, Picture
from scene.video.source.decode import DecodedFrame, Unit

log = logging.getLogger(__name__)

# With which a shot is judged: enough for references in both directions, few enough to wait in memory.
PROBE_FRAMES = 12

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
        probe: see `scene.jobs.shot_probe.ShotProbe`.
    """

    def __init__(self, enhancer: Enhancer, probe: Probe) -> None:
        self._enhancer = enhancer
        self._probe = probe
        self._detector = ShotDetector()
        self._waiting: list[F] = []
        self._pays: bool | None = None
        self._number = self._first = 0
        self._shots = self._passed = 0
        self._seconds = 0.0
        self._failed = False

    @property
    def report(self) -> GuardReport:
        """What has been done so far."""
        return GuardReport(self._shots, self._passed, self._seconds)

    def take(self, frame: F) -> Iterator[F]:
        """Takes the next frame, and gives those that are ready by now, in order.

        Raises:
            UsageError, InputError: see `Enhancer.check`.
        """
        if self._detector.begins(studio_luma(frame.picture())):
            yield from self.finish()
            self._shots += 1
            self._first, self._pays = self._number, None
            # It sees no more of a shot that is passed through than the first frames, and might miss the cut.
            self._enhancer.start_shot()
        self._number += 1
        if self._pays is False:
            yield frame
            return
        self._waiting.append(frame)
        if len(self._waiting) >= (PROBE_FRAMES if self._pays is None else self._enhancer.batch):
            yield from self.finish()

    def finish(self) -> Iterator[F]:
        """Gives the frames that are still waiting; errors as for `take`."""
        frames, self._waiting = self._waiting, []
        if frames:
            plain = [frame.picture() for frame in frames]
            enhanced = list(self._enhancer.stream(plain))
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
    for unit in units:
        if unit.packets:
            yield Unit(unit.packets)
        if unit.frame is not None:
            for frame in guard.take(unit.frame):
                yield Unit(frame=frame)
    for frame in guard.finish():
        yield Unit(frame=frame)


def _in_words(saving: Saving) -> str:
    if not saving.by_metric:
        return "no metric tells"
    return "saves " + ", ".join(f"{_TITLES[name]} {percent(value):+.1f} %" for name, value in saving.by_metric.items())
