"""A picture and its neighbours along the motion, as one: the arithmetic of the temporal filter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from scene.picture import Picture, Plane
from scene.temporal.motion import Floats

# Side of the square whose mean squared difference counts beside the sample's own.
SQUARE = 5
# Every so many samples in each direction are looked at for the noise.
_SPARSE = 8
# Sigma is at most so many times the noise: where there is next to none, there is nothing to filter.
_NOISES = 5.0
# The standard deviation of normal noise over its median magnitude; a difference of two frames has it twice.
_MEDIAN_TO_SIGMA = 1.4826 / 2**0.5
# A neighbour that is brighter or darker by more, in 8-bit codes, belongs to a fade or a flash.
_MOST_LIGHT = 1.0
# Below this sigma, in 8-bit codes, next to nothing changes.
_LEAST_SIGMA = 0.3

# Planes of floats, as a way to reckon has them.
A = TypeVar("A", Floats, Tensor)


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """A frame near the one that is filtered.

    Attributes:
        picture: of the same format.
        small: of `Blend.small`.
        weight: where it fits exactly; the frame that is filtered has 1.
    """

    picture: Picture
    small: Any
    weight: float


class Blend(ABC, Generic[A]):
    """Motion, fit and weighted mean; subclasses say how planes are reckoned with."""

    @abstractmethod
    def small(self, luma: npt.NDArray[np.uint8]) -> Any:
        """What motion is estimated on, of 8-bit luma (H, W)."""

    @abstractmethod
    def fit(self, difference: A, sigma: float) -> A:
        """How well each sample of a neighbour fits, 0 to 1, by its own difference and those around it."""

    @abstractmethod
    def _estimate(self, small: Any, other: Any) -> Any:
        """The motion from one picture to another, both of `small`."""

    @abstractmethod
    def _floats(self, plane: Plane) -> A:
        """A plane's codes."""

    @abstractmethod
    def _warp(self, motion: Any, plane: Plane, *, sharp: bool) -> A:
        """A plane of the other picture, moved to where the first one has its content; `sharp` keeps its detail."""

    @abstractmethod
    def _shrunk(self, weight: A, like: A) -> A:
        """A plane of luma's size, averaged to the size of another."""

    @abstractmethod
    def _medians(self, planes: Sequence[A]) -> list[float]:
        """One of each plane."""

    @abstractmethod
    def _codes(self, plane: A, change: A, largest: float, like: Plane) -> Plane:
        """A plane with its change, which is rounded, as codes of the type of `like`."""

    def blended(
        self, picture: Picture, small: Any, neighbours: Sequence[Neighbour], sigma: float, strength: float
    ) -> Picture:
        """The weighted mean of a picture and its neighbours; the picture itself where there is nothing to filter.

        Args:
            small: of `small`.
            sigma: how different a neighbour may be, in 8-bit codes.
            strength: how much of the change is applied, from 0 to 1.
        """
        fmt = picture.format
        unit = float(1 << (fmt.bit_depth - 8))
        own = [self._floats(plane) for plane in picture.planes]

        def difference(other: Neighbour, motion: Any, index: int) -> A:
            # Luma blurred by its interpolation loses more than filtering saves; chroma does not show it.
            difference = self._warp(motion, other.picture.planes[index], sharp=index == 0) - own[index]
            return difference if unit == 1 else difference / unit

        moved: list[tuple[Neighbour, Any, A]] = []
        # The nearest first: where it finds no noise, the others need not be looked at.
        for other in sorted(neighbours, key=lambda other: -other.weight):
            motion = self._estimate(small, other.small)
            luma = difference(other, motion, 0)
            light, noise = self.light_and_noise(luma)
            if abs(light) > _MOST_LIGHT:
                continue
            sigma = min(sigma, _NOISES * noise)
            if sigma < _LEAST_SIGMA:
                return picture
            moved.append((other, motion, luma))
        if not moved:
            return picture
        # Added in the order of time.
        moved.sort(key=lambda one: neighbours.index(one[0]))
        weights = [other.weight * self.fit(luma, sigma) for other, _, luma in moved]
        changes = [_mean_change([luma for _, _, luma in moved], weights)]
        if len(own) > 1:
            weights = [self._shrunk(weight, own[1]) for weight in weights]
        for index in range(1, len(own)):
            # A neighbour counts where its luma and its colour fit.
            differences = [difference(other, motion, index) for other, motion, _ in moved]
            coloured = [weight * self.fit(colour, sigma) for weight, colour in zip(weights, differences, strict=True)]
            changes.append(_mean_change(differences, coloured))
        largest = float((1 << fmt.bit_depth) - 1)
        planes = (
            self._codes(plane, change if unit * strength == 1 else change * (unit * strength), largest, given)
            for plane, change, given in zip(own, changes, picture.planes, strict=True)
        )
        return Picture(fmt, tuple(planes))

    def light_and_noise(self, difference: A) -> tuple[float, float]:
        """How much brighter a neighbour is that was moved along the motion, and the standard deviation of the noise.

        Robust against what moves otherwise or is covered, up to half of the picture. Of several neighbours the one that
        fits best has the frame's noise.
        """
        sparse = difference[..., ::_SPARSE, ::_SPARSE]
        light, spread = self._medians([sparse, abs(sparse)])
        return light, _MEDIAN_TO_SIGMA * spread


def _mean_change(differences: Sequence[A], weights: Sequence[A]) -> A:
    """What the weighted mean with the neighbours changes; a frame itself has the difference 0 and the weight 1."""
    total, change = 1 + weights[0], differences[0] * weights[0]
    for difference, weight in zip(differences[1:], weights[1:], strict=True):
        total += weight
        change += difference * weight
    change /= total
    return change
