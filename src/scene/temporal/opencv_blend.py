"""The temporal filter's arithmetic on the CPU, with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from scene.picture import Plane
from scene.temporal.blend import SQUARE, Blend
from scene.temporal.motion import Floats, MotionEstimator, MotionField

Small = npt.NDArray[np.uint8]


class OpenCVBlend(Blend[Floats]):
    """See `Blend`; planes are (H, W)."""

    def __init__(self) -> None:
        self._motion = MotionEstimator()

    def small(self, luma: npt.NDArray[np.uint8]) -> Small:
        """As `Blend` has it, (H / 2, W / 2)."""
        return self._motion.halved(luma)

    def fit(self, difference: Floats, sigma: float) -> Floats:
        """As `Blend` has it."""
        squared = cv2.multiply(difference, difference)
        around = cv2.boxFilter(squared, -1, (SQUARE, SQUARE), borderType=cv2.BORDER_REPLICATE)
        weighted = cv2.addWeighted(squared, -0.25 / sigma**2, around, -0.25 / sigma**2, 0)
        return cast(Floats, cv2.exp(weighted))

    def _estimate(self, small: Small, other: Small) -> MotionField:
        return self._motion.estimate(small, other)

    def _floats(self, plane: Plane) -> Floats:
        return plane.astype(np.float32)

    def _warp(self, motion: MotionField, plane: Plane, *, sharp: bool) -> Floats:
        return motion.warp(plane, sharp=sharp)

    def _shrunk(self, weight: Floats, like: Floats) -> Floats:
        return cast(Floats, cv2.resize(weight, like.shape[::-1], interpolation=cv2.INTER_AREA))

    def _medians(self, planes: Sequence[Floats]) -> list[float]:
        return [float(np.median(plane)) for plane in planes]

    def _codes(self, plane: Floats, change: Floats, largest: float, like: Plane) -> Plane:
        codes = cv2.add(like, change, dtype=cv2.CV_8U if like.dtype == np.uint8 else cv2.CV_16U)
        return cast(Plane, np.minimum(codes, like.dtype.type(largest)) if largest < np.iinfo(like.dtype).max else codes)
