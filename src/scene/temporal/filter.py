"""A temporal filter along the motion: what neighbouring frames have in common stays, what only one has is noise.

Each filtered frame becomes the weighted mean of itself and of one or two neighbours on either side, moved along the
motion; a neighbour's weight falls, sample by sample, with the squared difference that is left. The design follows the
filter of VTM (JVET-O0549): a strength that grows with the quantiser, and only some frames filtered, since others are
predicted from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from scene.picture import Picture
from scene.temporal.blend import Blend, Neighbour
from scene.temporal.motion import serves
from scene.temporal.opencv_blend import OpenCVBlend
from scene.temporal.shots import KnownShots, ShotDetector, Shots, eight_bit_luma, thumbnail
from scene.temporal.tensor_blend import TensorBlend

# The most neighbours on a side.
REACH = 2
# Weights of neighbours that fit exactly, by how many are looked at on a side and by how far away they are.
_WEIGHTS = {1: (1.0,), 2: (0.6, 0.4)}


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    picture: Picture
    # For the estimation of motion, as the blend has it.
    small: Any
    shot: int
    # Within its shot.
    index: int


class TemporalFilter:
    """Filters every `period`th frame of each shot along the motion; follows one video.

    Frames of another shot are never looked at, and of a shot that has no noise nothing changes.

    Args:
        sigma: how different a neighbour may be, in 8-bit codes: at this difference its weight has fallen to 0.6. More
            filters more.
        strength: how much of the change is applied, from 0 to 1.
        before, after: neighbours looked at, 1 or 2 before a frame and 0 to as many after it, which are waited for. Half
            as many take half the time.
        period: of the frames of a shot, the first and every so many after it are filtered.
        device: where it runs: on the CPU with OpenCV, elsewhere as tensors, whose motion is a little different.

    Raises:
        ValueError: a value out of its range.
    """

    def __init__(
        self,
        sigma: float,
        *,
        strength: float = 1.0,
        before: int = REACH,
        after: int = REACH,
        period: int = 4,
        device: torch.device | None = None,
    ) -> None:
        if not (0 <= sigma < np.inf and 0 <= strength <= 1 and period >= 1):
            raise ValueError("sigma, strength or period out of range")
        if not (1 <= before <= REACH and 0 <= after <= before):
            raise ValueError("before or after out of range")
        self.sigma = sigma
        self._strength = strength
        self._after = after
        self._weights = _WEIGHTS[before]
        self._period = period
        self._blend: Blend[Any] = OpenCVBlend() if device is None or device.type == "cpu" else TensorBlend(device)
        self._shots: Shots = ShotDetector()
        self._shot = self._index = 0
        self._past: deque[_Entry] = deque(maxlen=before)

    def start_shot(self) -> None:
        """The next picture is the first of a shot, whatever it looks like."""
        self._shots = ShotDetector()

    def look_around(self, index: int) -> tuple[int, int]:
        """How many frames before and after one must be given, so that it becomes what it is within the whole video.

        Args:
            index: of the frame within its shot.
        """
        if self.sigma * self._strength == 0:
            return 0, 0
        first = max(0, index - len(self._weights))
        # So that the frame given first is one that is filtered, as the first of a shot is.
        return index - (first - first % self._period), self._after

    def follow(self, begins: Iterable[bool]) -> None:
        """The next pictures are from the middle of the video, as many before them as `look_around` asks for.

        Args:
            begins: of each, whether it is the first of a shot.
        """
        self._shots = KnownShots(begins)
        self._shot, self._index = self._shot + 1, 0

    def stream(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Filters pictures of one format, in order; takes `after` more than it has given.

        Pictures that are left alone are the given ones. What was given may be written over once its result is there:
        what later frames need of it is copied. The next call goes on with the same video.
        """
        if self.sigma * self._strength == 0:
            yield from pictures
            return
        waiting: deque[_Entry] = deque()
        remaining = iter(pictures)
        while True:
            while len(waiting) <= self._after and (picture := next(remaining, None)) is not None:
                waiting.append(self._enter(picture))
            if not waiting:
                return
            entry = waiting.popleft()
            around = [*self._past, *waiting]
            self._past.append(self._kept(entry))
            yield self._filtered(entry, around)

    def _enter(self, picture: Picture) -> _Entry:
        eight = eight_bit_luma(picture)
        if self._shots.begins(thumbnail(eight)):
            self._shot, self._index = self._shot + 1, 0
        entry = _Entry(picture, self._blend.small(eight), self._shot, self._index)
        self._index += 1
        return entry

    def _kept(self, entry: _Entry) -> _Entry:
        """The entry as a neighbour of later frames, with planes of its own if there are such frames."""
        if all((entry.index + distance) % self._period for distance in range(1, len(self._weights) + 1)):
            return entry
        picture = entry.picture
        return replace(entry, picture=Picture(picture.format, tuple(plane.copy() for plane in picture.planes)))

    def _filtered(self, entry: _Entry, around: Sequence[_Entry]) -> Picture:
        """The picture of `entry` after the filter; `around` are its neighbours, of its own shot or not."""
        picture, fmt = entry.picture, entry.picture.format
        neighbours = [other for other in around if other.shot == entry.shot]
        unfiltered = entry.index % self._period or not neighbours
        if unfiltered or not serves(fmt.height, fmt.width):
            return picture
        return self._blend.blended(
            picture,
            entry.small,
            [
                Neighbour(other.picture, other.small, self._weights[abs(other.index - entry.index) - 1])
                for other in neighbours
            ],
            self.sigma,
            self._strength,
        )
