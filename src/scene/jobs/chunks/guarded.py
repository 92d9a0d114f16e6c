"""A guard in the middle of a video: the verdicts on a chunk's shots are those that it has in one go."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scene.jobs.chunks.journal import JobPlan
from scene.picture import Picture
from scene.video.source.decode import DecodedFrame

if TYPE_CHECKING:
    from scene.jobs.guard import Guard

Filtered = Iterator[tuple[DecodedFrame, Picture]]


class GuardedPart:
    """What a guard judges of a part of a video. The frames around it have the verdict that is nearest.

    Args:
        plan: of the job, with the shots that a guard finds.
        guard: new.
        first, end: of the part.

    Attributes:
        earlier: the first frame, and the one after the last, by which the shot is judged that begins before the part
            and goes on in it; None where the part begins with a shot.
        seen_until: the frame after the last by which its last shot is judged.
    """

    def __init__(self, plan: JobPlan, guard: Guard[DecodedFrame], first: int, end: int) -> None:
        self._shots, self._frames = plan.guard_shots, plan.frames
        self._guard, self._first, self._end = guard, first, end
        self._own = {shot for shot in self._shots if first <= shot < end}
        place = bisect.bisect_right(self._shots, first) - 1
        self.earlier = None if first in self._own else self._probed(place)
        last = bisect.bisect_left(self._shots, end) - 1
        self.seen_until = self._probed(last)[1]

    def judge_earlier(self, frames: Filtered) -> None:
        """Takes the frames of `earlier`, with what the temporal filter makes of them."""
        assert self.earlier is not None
        first, end = self.earlier
        self._guard.follow((number == first for number in range(first, end)), first)
        for frame, picture in frames:
            for _ in self._guard.take(frame, picture):
                pass
        for _ in self._guard.finish():
            pass

    def guarded(self, first: int, frames: Filtered) -> Iterator[DecodedFrame]:
        """Takes the frames of the part and those around it, from number `first` on; gives them guarded."""
        guard = self._guard
        own = self._own
        guard.follow((number in own for number in range(first, self._frames)), first, pays=guard.pays)
        for number, (frame, picture) in enumerate(frames, first):
            if number == self._end and number in self._shots:
                yield from guard.finish()
            yield from guard.take(frame, picture)
        yield from guard.finish()

    def _probed(self, place: int) -> tuple[int, int]:
        from scene.jobs.guard import PROBE_FRAMES  # loads torch

        shot = self._shots[place]
        following = (*self._shots, self._frames)[place + 1]
        return shot, min(shot + PROBE_FRAMES, following)
