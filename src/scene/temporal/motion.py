"""Dense motion from one picture to another, and pictures moved along it."""

from __future__ import annotations

import functools
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
# Motion is estimated at half size, which takes an eighth of the time.
_SCALE = 2
# Over which motion is averaged, and how often: OpenCV has no fast average over a larger square.
_SMOOTH = (5, 5)
_TIMES_SMOOTHED = 2
# Below this a side has too few patches for the search.
_LEAST_SIDE = 32


def serves(height: int, width: int) -> bool:
    """Whether pictures of this size are large enough for their motion to be estimated."""
    return min(height, width) // _SCALE >= _LEAST_SIDE


class MotionField:
    """Motion at every sample of one picture, from it to another.

    Args:
        field: (h, w, 2), horizontal and vertical displacement in samples of the field's own size.
    """

    def __init__(self, field: Floats) -> None:
        self._field = field
        self._places: dict[tuple[int, ...], Floats] = {}

    def warp(self, plane: npt.NDArray[np.generic], *, sharp: bool) -> Floats:
        """A plane (H, W) of the other picture, of any size, moved to where the first one has its content.

        Beyond the border the last line is repeated.

        Args:
            sharp: interpolates bicubically, else bilinearly, which takes a third of the time.
        """
        if plane.shape not in self._places:
            self._places[plane.shape] = self._places_at(*plane.shape)
        places, none = self._places[plane.shape], cast(Any, None)
        interpolation = cv2.INTER_CUBIC if sharp else cv2.INTER_LINEAR
        moved = cv2.remap(
            plane.astype(np.float32), places, none, interpolation=interpolation, borderMode=cv2.BORDER_REPLICATE
        )
        return cast(Floats, moved)

    def _places_at(self, height: int, width: int) -> Floats:
        """Where each sample of a plane comes from, (H, W, 2), horizontally and vertically."""
        rows, columns = self._field.shape[:2]
        field = cv2.transform(self._field, np.diag([width / columns, height / rows]))
        resized = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        return cast(Floats, cv2.add(resized, _grid(height, width)))


@functools.lru_cache(maxsize=4)
def _grid(height: int, width: int) -> Floats:
    """The place of every sample, (H, W, 2)."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width, dtype=np.float32)
    grid[..., 1] = np.arange(height, dtype=np.float32)[:, None]
    return grid


class MotionEstimator:
    """Dense inverse search (Kroeger and others, ECCV 2016) as OpenCV has it, on halved luma."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        # Down to single samples of the halved picture: half of them lose a fifth of the savings.
        self._search.setFinestScale(0)
        # Averaging motion over a square serves as well as OpenCV's variational refinement, and leaves an eighth of the
        # time with patches side by side.
        self._search.setVariationalRefinementIterations(0)
        self._search.setPatchStride(8)
        self._search.setGradientDescentIterations(8)

    @staticmethod
    def halved(luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What `estimate` takes, (H / 2, W / 2), of 8-bit luma (H, W)."""
        height, width = luma.shape
        small = cv2.resize(luma, (width // _SCALE, height // _SCALE), interpolation=cv2.INTER_AREA)
        return cast("npt.NDArray[np.uint8]", small)

    def estimate(self, picture: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> MotionField:
        """The motion from one picture to another, both of `halved`."""
        field = self._search.calc(picture, other, cast("npt.NDArray[np.float32]", None))
        for _ in range(_TIMES_SMOOTHED):
            field = cv2.blur(field, _SMOOTH, borderType=cv2.BORDER_REPLICATE)
        return MotionField(cast(Floats, field))
