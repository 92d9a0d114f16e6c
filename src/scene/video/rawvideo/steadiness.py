"""Whether time stamps are those that a constant frame rate gives: all that YUV4MPEG2 can say of time."""

from __future__ import annotations

import logging
from fractions import Fraction

log = logging.getLogger(__name__)


class ConstantRateCheck:
    """Watches time stamps go by on their way into a form that has one frame rate, and warns where that loses them.

    A frame is off where it comes more than a tick earlier or later after the one before it than the rate says; ticks
    are those of the source, so that Matroska's milliseconds do no harm.

    Args:
        name: of the source.
        time_base: the unit of the time stamps in seconds.
        rate: frames per second.
    """

    def __init__(self, name: str, time_base: Fraction, rate: Fraction) -> None:
        self._name = name
        self._time_base = time_base
        self._rate = rate
        self._last: int | None = None
        self._frames = self._off = 0

    def add(self, pts: int) -> None:
        """Notes a frame's time stamp."""
        self._frames += 1
        if self._last is None:
            start = pts * self._time_base
            if abs(start) > self._time_base:
                log.warning("%s starts at %.3f s, and y4m can only start at 0.", self._name, float(start))
        elif abs((pts - self._last) * self._time_base - 1 / self._rate) > self._time_base:
            if not self._off:
                log.warning(
                    "%s has a variable frame rate (first at %.3f s), and y4m has one: frames keep their order but not "
                    "their times; nut keeps them (`format` nut).",
                    self._name,
                    float(self._last * self._time_base),
                )
            self._off += 1
        self._last = pts

    def finish(self) -> None:
        """Says how many frames were off."""
        if self._off:
            log.warning(
                "%s: %d of %d frames lost their duration, all are shown at %.3f frames/s.",
                self._name,
                self._off,
                self._frames,
                float(self._rate),
            )
