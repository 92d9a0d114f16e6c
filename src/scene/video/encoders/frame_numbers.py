"""Time stamps for an encoder that only counts frames: put back onto its packets, exactly."""

from __future__ import annotations

from fractions import Fraction


class FrameNumbers:
    """Turns an encoder's numbers of frames into the times of those frames.

    Args:
        time_base: the unit of the times in seconds.
        rate: frames per second, by which decoding begins before the first frame.
    """

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self._stamps: list[int] = []
        self._step = max(1, round(1 / (rate * time_base)))

    def add(self, stamp: int) -> None:
        """Notes the time of the next frame, which is later than the one before."""
        self._stamps.append(stamp)

    def time(self, number: int) -> int:
        """The time of a frame; decoding begins before the first one, with negative numbers.

        Raises:
            IndexError: there has been no such frame.
        """
        if number < 0:
            return self._stamps[0] + number * self._step
        return self._stamps[number]
