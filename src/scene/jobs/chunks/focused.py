"""What matters in the frames of a chunk: the maps that they have in an encode in one go."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from scene.jobs.chunks.journal import JobPlan
from scene.jobs.focus import open_map
from scene.picture import Plane
from scene.video.source.decode import DecodedFrame

if TYPE_CHECKING:
    from scene.importance.smoothing import PictureFocus


class FocusedPart:
    """Gives the frames of a part of a video their maps, which move with the picture from the first of a shot on.

    Args:
        plan: of the job, with the shots that the maps have.
        given: the first of the frames that are to come.
        first: of the part; those before it are the encoder's alone, and may have maps of their own.

    Attributes:
        earlier: the first frame, and the one after the last, that have to be seen before; None where none has to.
        smoothing: what smooths the rest of the pictures, in their order; None where the encoder alone is told.
    """

    def __init__(self, plan: JobPlan, given: int, first: int) -> None:
        place = bisect.bisect_right(plan.focus_shots, first) - 1
        begin = min(given, plan.focus_shots[place]) if plan.focus_shots else given
        shots = {begin, *plan.focus_shots}
        self._look = open_map(plan.request, (number in shots for number in range(begin, plan.frames)))
        self._waiting: deque[Plane] = deque()
        self.earlier = (begin, given) if begin < given else None
        self.smoothing: PictureFocus | None = None
        if plan.request.focus.smoothed:
            from scene.importance.smoothing import PictureFocus

            self.smoothing = PictureFocus(plan.request.focus.smoothed, lambda picture: self._waiting.popleft())

    def see(self, frames: Iterable[DecodedFrame]) -> None:
        """Takes the frames of `earlier`."""
        for frame in frames:
            self._look(frame)

    def told(self, frame: DecodedFrame) -> DecodedFrame:
        """The next frame, with its map."""
        frame.importance = self._look(frame)
        if self.smoothing is not None:
            self._waiting.append(frame.importance)
        return frame
