"""A temporal filter along the motion: what neighbouring frames have in common stays, what only one has is noise.

Each filtered frame becomes the weighted mean of itself and of up to two neighbours on either side, moved along the
motion; a neighbour's weight falls, sample by sample, with the squared difference that is left. The design follows the
filter of VTM (JVET-O0549): a strength that grows with the quantiser, and only some frames filtered, since others are
predicted from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch

from scene.picture import Picture, Plane
from scene.temporal.motion import Floats, MotionEstimator, MotionField
from scene.temporal.shots import ShotDetector

# Neighbours on either side.
REACH = 2
# Weight of a neighbour that fits exactly, by its distance; the frame itself has 1.
_WEIGHTS = (0.6, 0.4)
# Side of the square whose mean squared difference counts beside the sample's own.
_SQUARE = (5, 5)
# Sigma is at most so many times the noise: where there is next to none, there is nothing to filter.
_NOISES = 5.0
# The standard deviation of normal noise over its median magnitude; a difference of two frames has it twice.
_MEDIAN_TO_SIGMA = 1.4826 / 2**0.5
# Every so many samples in each direction are looked at for the noise.
_SPARSE = 4
# A neighbour that is brighter or darker by more, in 8-bit codes, belongs to a fade or a flash.
_MOST_LIGHT = 1.0
# Below this sigma, in 8-bit codes, next to nothing changes.
_LEAST_SIGMA = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    picture: Picture
    small: npt.NDArray[np.uint8]
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
        lookahead: frames after the current one that are waited for, 0 to 2.
        period: of the frames of a shot, the first and every so many after it are filtered.

    Raises:
        ValueError: a value out of its range.
    """

    def __init__(self, sigma: float, *, strength: float = 1.0, lookahead: int = REACH, period: int = 4) -> None:
        if not (0 <= sigma < np.inf and 0 <= strength <= 1 and 0 <= lookahead <= REACH and period >= 1):
            raise ValueError("sigma, strength, lookahead or period out of range")
        self.sigma = sigma
        self._strength = strength
        self._lookahead = lookahead
        self._period = period
        self._motion = MotionEstimator()
        self._shots = ShotDetector()
        self._shot = self._index = 0
        self._past: deque[_Entry] = deque(maxlen=REACH)

    def start_shot(self) -> None:
        """The next picture is the first of a shot, whatever it looks like."""
        self._shots = ShotDetector()

    def stream(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Filters pictures of one format, in order; takes `lookahead` more than it has given.

        Pictures that are left alone are the given ones. What was given may be written over once its result is there:
        what later frames need of it is copied. The next call goes on with the same video.
        """
        if self.sigma * self._strength == 0:
            yield from pictures
            return
        waiting: deque[_Entry] = deque()
        remaining = iter(pictures)
        while True:
            while len(waiting) <= self._lookahead and (picture := next(remaining, None)) is not None:
                waiting.append(self._enter(picture))
            if not waiting:
                return
            entry = waiting.popleft()
            around = [*self._past, *waiting]
            self._past.append(self._kept(entry))
            yield self._filtered(entry, around)

    def _enter(self, picture: Picture) -> _Entry:
        luma = picture.planes[0]
        if picture.format.bit_depth > 8:
            luma = cast(Plane, luma >> (picture.format.bit_depth - 8))
        eight = luma.astype(np.uint8, copy=False)
        if self._shots.begins(torch.from_numpy(np.ascontiguousarray(eight))[None, None] / 255):
            self._shot, self._index = self._shot + 1, 0
        entry = _Entry(picture, self._motion.halved(eight), self._shot, self._index)
        self._index += 1
        return entry

    def _kept(self, entry: _Entry) -> _Entry:
        """The entry as a neighbour of later frames, with planes of its own if there are such frames."""
        if all((entry.index + distance) % self._period for distance in range(1, REACH + 1)):
            return entry
        picture = entry.picture
        return replace(entry, picture=Picture(picture.format, tuple(plane.copy() for plane in picture.planes)))

    def _filtered(self, entry: _Entry, around: Sequence[_Entry]) -> Picture:
        """The picture of `entry` after the filter; `around` are its neighbours, of its own shot or not."""
        picture, fmt = entry.picture, entry.picture.format
        neighbours = [other for other in around if other.shot == entry.shot]
        unfiltered = entry.index % self._period or not neighbours
        if unfiltered or not self._motion.serves(fmt.height, fmt.width):
            return picture
        unit = np.float32(1 << (fmt.bit_depth - 8))
        own = [plane.astype(np.float32) for plane in picture.planes]

        def difference(other: _Entry, motion: MotionField, index: int) -> Floats:
            return cast(Floats, (motion.warp(other.picture.planes[index]) - own[index]) / unit)

        motions = [self._motion.estimate(entry.small, other.small) for other in neighbours]
        moved = [(*pair, difference(*pair, 0)) for pair in zip(neighbours, motions, strict=True)]
        moved = [one for one in moved if abs(_median(one[2])) <= _MOST_LIGHT]
        if not moved:
            return picture
        sigma = min(self.sigma, _NOISES * noise([luma for _, _, luma in moved]))
        if sigma < _LEAST_SIGMA:
            return picture
        weights = [_WEIGHTS[abs(other.index - entry.index) - 1] * fit(luma, sigma) for other, _, luma in moved]
        changes = [_mean_change([luma for _, _, luma in moved], weights)]
        if len(own) > 1:
            size = own[1].shape[::-1]
            weights = [cast(Floats, cv2.resize(weight, size, interpolation=cv2.INTER_AREA)) for weight in weights]
        for index in range(1, len(own)):
            # A neighbour counts where its luma and its colour fit.
            differences = [difference(other, motion, index) for other, motion, _ in moved]
            coloured = [weight * fit(colour, sigma) for weight, colour in zip(weights, differences, strict=True)]
            changes.append(_mean_change(differences, coloured))
        scale, largest = unit * np.float32(self._strength), np.float32((1 << fmt.bit_depth) - 1)
        planes = (
            np.clip(plane + np.rint(change * scale), 0, largest).astype(given.dtype)
            for plane, change, given in zip(own, changes, picture.planes, strict=True)
        )
        return Picture(fmt, tuple(cast(Plane, plane) for plane in planes))


def noise(differences: Sequence[Floats]) -> float:
    """The standard deviation of a frame's noise, from its differences (H, W) to neighbours moved along the motion.

    Robust against what moves otherwise or is covered, up to half of the picture; the neighbour that fits best counts.
    """
    medians = (_median(np.abs(plane)) for plane in differences)
    return _MEDIAN_TO_SIGMA * min(medians)


def fit(difference: Floats, sigma: float) -> Floats:
    """How well each sample of a neighbour fits, 0 to 1, by its own difference and those around it."""
    squared = cv2.multiply(difference, difference)
    around = cv2.boxFilter(squared, -1, _SQUARE, borderType=cv2.BORDER_REPLICATE)
    weighted = cv2.addWeighted(squared, -0.25 / sigma**2, around, -0.25 / sigma**2, 0)
    return cast(Floats, cv2.exp(weighted))


def _median(plane: Floats) -> float:
    return float(np.median(plane[::_SPARSE, ::_SPARSE]))


def _mean_change(differences: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    """What the weighted mean with the neighbours changes; a frame itself has the difference 0 and the weight 1."""
    total = np.ones_like(differences[0])
    change = np.zeros_like(differences[0])
    for difference, weight in zip(differences, weights, strict=True):
        total += weight
        change += cv2.multiply(difference, weight)
    return cast(Floats, change / total)
