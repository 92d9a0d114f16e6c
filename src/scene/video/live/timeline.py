"""One clock for a live source: over jumps and wraps of the source's own clock, and over its returns."""

from __future__ import annotations

from fractions import Fraction

TICKS = 90_000
LIVE_CLOCK = Fraction(1, TICKS)

# Of all streams' newest time, in ticks. What is further ahead is a jump, or the source was away: the pause is closed.
_AHEAD = round(0.4 * TICKS)
# Of its own stream's last time: what is further back is a jump.
_BACK = round(0.1 * TICKS)


class Timeline:
    """Moves the times of a source's packets so that they go on without a jump, and all streams by the same.

    Streams are interleaved, so that each crosses a jump at another moment. The first that does decides by how much
    times are moved from there on, and the others follow when they come to it: sound stays with its picture.

    Attributes:
        joins: how often the clock was set anew.
    """

    def __init__(self) -> None:
        self.joins = 0
        self._shift: int | None = None
        self._used: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._waiting = True

    def reconnected(self) -> None:
        """The next packets are of a new connection, whose clock may be another one."""
        self._waiting = True

    def shift(self, stream: int, time: int, duration: int, *, begins: bool) -> int | None:
        """By how many ticks a packet is moved; None where it cannot be used.

        After a connection that is all before the first key frame of the video, since nothing is shown with it.

        Args:
            stream: any number that tells streams apart.
            time: when the packet is decoded, in ticks of 1/90000 s of the source's clock.
            duration: of it, in ticks; 0 where that is not known.
            begins: whether it is a key frame of the video.
        """
        front = max(self._ends.values(), default=0)
        if self._waiting:
            if not begins:
                return None
            self._waiting = False
            self._used.clear()
            if self._shift is None or not 0 <= time + self._shift - front <= _AHEAD:
                self._join(front - time)
        assert self._shift is not None
        moved = self._used.get(stream)
        if moved is None:
            moved = self._shift
        elif not self._fits(stream, time + moved, front):
            if moved == self._shift:
                self._join(front - time)
            moved = self._shift
        self._used[stream] = moved
        # Sound may begin before the first picture of all.
        if time + moved < 0:
            return None
        self._ends[stream] = time + moved + duration
        return moved

    def _fits(self, stream: int, time: int, front: int) -> bool:
        return self._ends.get(stream, 0) - _BACK <= time <= front + _AHEAD

    def _join(self, shift: int) -> None:
        self.joins += self._shift is not None
        self._shift = shift
