"""A picture and its neighbours along the motion, as one: the arithmetic of the temporal filter, with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from scene.picture import Picture, Plane
from scene.temporal.motion import Floats, MotionEstimator, MotionField

# Weight of a neighbour that fits exactly, by its distance; the frame itself has 1.
WEIGHTS = (0.6, 0.4)
# Side of the square whose mean squared difference counts beside the sample's own.
SQUARE = 5
# Sigma is at most so many times the noise: where there is next to none, there is nothing to filter.
NOISES = 5.0
# The standard deviation of normal noise over its median magnitude; a difference of two frames has it twice.
MEDIAN_TO_SIGMA = 1.4826 / 2**0.5
# Every so many samples in each direction are looked at for the noise.
SPARSE = 4
# A neighbour that is brighter or darker by more, in 8-bit codes, belongs to a fade or a flash.
MOST_LIGHT = 1.0
# Below this sigma, in 8-bit codes, next to nothing changes.
LEAST_SIGMA = 0.3

S = TypeVar("S")


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour(Generic[S]):
    """A frame near the one that is filtered.

    Attributes:
        picture: of the same format.
        small: of `small`.
        distance: in frames, 1 or 2.
    """

    picture: Picture
    small: S
    distance: int


class Blend:
    """Motion, fit and weighted mean on the CPU."""

    def __init__(self) -> None:
        self._motion = MotionEstimator()

    def small(self, luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What motion is estimated on, of 8-bit luma (H, W)."""
        return self._motion.halved(luma)

    def blended(
        self,
        picture: Picture,
        small: npt.NDArray[np.uint8],
        neighbours: Sequence[Neighbour[npt.NDArray[np.uint8]]],
        sigma: float,
        strength: float,
    ) -> Picture:
        """The weighted mean of a picture and its neighbours; the picture itself where there is nothing to filter.

        Args:
            sigma: how different a neighbour may be, in 8-bit codes.
            strength: how much of the change is applied, from 0 to 1.
        """
        fmt = picture.format
        unit = np.float32(1 << (fmt.bit_depth - 8))
        own = [plane.astype(np.float32) for plane in picture.planes]

        def difference(other: Neighbour[npt.NDArray[np.uint8]], motion: MotionField, index: int) -> Floats:
            difference = cast(Floats, cv2.subtract(motion.warp(other.picture.planes[index]), own[index]))
            return difference if unit == 1 else cast(Floats, difference / unit)

        motions = [self._motion.estimate(small, other.small) for other in neighbours]
        moved = [(*pair, difference(*pair, 0)) for pair in zip(neighbours, motions, strict=True)]
        moved = [one for one in moved if abs(_median(one[2])) <= MOST_LIGHT]
        if not moved:
            return picture
        sigma = min(sigma, NOISES * noise([luma for _, _, luma in moved]))
        if sigma < LEAST_SIGMA:
            return picture
        weights = [WEIGHTS[other.distance - 1] * fit(luma, sigma) for other, _, luma in moved]
        changes = [_mean_change([luma for _, _, luma in moved], weights)]
        if len(own) > 1:
            size = own[1].shape[::-1]
            weights = [cast(Floats, cv2.resize(weight, size, interpolation=cv2.INTER_AREA)) for weight in weights]
        for index in range(1, len(own)):
            # A neighbour counts where its luma and its colour fit.
            differences = [difference(other, motion, index) for other, motion, _ in moved]
            coloured = [weight * fit(colour, sigma) for weight, colour in zip(weights, differences, strict=True)]
            changes.append(_mean_change(differences, coloured))
        scale, largest = unit * np.float32(strength), np.float32((1 << fmt.bit_depth) - 1)
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
    return MEDIAN_TO_SIGMA * min(medians)


def fit(difference: Floats, sigma: float) -> Floats:
    """How well each sample of a neighbour fits, 0 to 1, by its own difference and those around it."""
    squared = cv2.multiply(difference, difference)
    around = cv2.boxFilter(squared, -1, (SQUARE, SQUARE), borderType=cv2.BORDER_REPLICATE)
    weighted = cv2.addWeighted(squared, -0.25 / sigma**2, around, -0.25 / sigma**2, 0)
    return cast(Floats, cv2.exp(weighted))


def _median(plane: Floats) -> float:
    return float(np.median(plane[::SPARSE, ::SPARSE]))


def _mean_change(differences: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    """What the weighted mean with the neighbours changes; a frame itself has the difference 0 and the weight 1."""
    total = np.ones_like(differences[0])
    change = np.zeros_like(differences[0])
    for difference, weight in zip(differences, weights, strict=True):
        total += weight
        change += cv2.multiply(difference, weight)
    return cast(Floats, change / total)
