"""A map of importance along a video: made anew at each shot, moved with the picture in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch

from scene.errors import UsageError
from scene.picture import Plane
from scene.temporal.motion import MotionEstimator, serves
from scene.temporal.shots import KnownShots, ShotDetector, Shots

Floats = npt.NDArray[np.float32]
# Pictures this wide say well enough where a map of some dozen places goes, in a millisecond or two.
_WIDTH = 320
# Share of the way to a newer map that the one in use goes at each renewal within a shot.
_NEWEST = 0.5
# What luma of 8 bits has as white, for the shot detector.
_WHITE = 255.0


class ImportanceTracker:
    """The map for each frame of one video, in order.

    Args:
        interval: frames between renewals within a shot; 0 for none.

    Raises:
        UsageError: a negative interval.
    """

    def __init__(self, interval: int = 0) -> None:
        if interval < 0:
            raise UsageError(f"an interval of {interval} makes no sense; give frames, or 0 for one map a shot.")
        self._interval = interval
        self._shots: Shots = ShotDetector()
        self._motion = MotionEstimator()
        self._before: npt.NDArray[np.uint8] | None = None
        self._map: Floats | None = None
        self._age = 0

    def follow(self, shots: Iterable[bool]) -> None:
        """The next frames are from the middle of a video: of each, whether it is the first of a shot."""
        self._shots = KnownShots(shots)

    def next(self, luma: npt.NDArray[np.uint8], look: Callable[[], Floats]) -> Plane:
        """The map of the next frame, (h, w) of a small picture's size, from 0 to 255.

        A frame that is the one before sample by sample keeps its map.

        Args:
            luma: (H, W), in 8 bit.
            look: gives the map of this frame from nothing but the frame, (h, w) from 0 to 1; called only where one is
                due.
        """
        small = _small(luma)
        begins = self._shots.begins(_for_shots(small))
        if begins or self._map is None or self._before is None:
            self._map, self._age = _fitted(look(), small), 1
        elif not np.array_equal(small, self._before):
            self._map = self._moved(small)
            if self._interval and self._age >= self._interval:
                self._map, self._age = self._map + _NEWEST * (_fitted(look(), small) - self._map), 1
            else:
                self._age += 1
        self._before = small
        return np.rint(self._map * 255).clip(0, 255).astype(np.uint8)

    def _moved(self, small: npt.NDArray[np.uint8]) -> Floats:
        assert self._map is not None and self._before is not None
        if not serves(*small.shape):
            return self._map
        halved = [self._motion.halved(picture) for picture in (small, self._before)]
        return self._motion.estimate(*halved).warp(self._map, sharp=False)


def luma_for_shots(luma: npt.NDArray[np.uint8]) -> torch.Tensor:
    """What an `ImportanceTracker` looks at to find shots, of luma (H, W) in 8 bit."""
    return _for_shots(_small(luma))


def _for_shots(small: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(small)[None, None] / _WHITE


def _small(luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = luma.shape
    if width <= _WIDTH:
        return luma.copy()
    size = _WIDTH, max(1, round(height * _WIDTH / width))
    return cast("npt.NDArray[np.uint8]", cv2.resize(luma, size, interpolation=cv2.INTER_AREA))


def _fitted(found: Floats, small: npt.NDArray[np.uint8]) -> Floats:
    """A map at the size of the small picture, smoothly."""
    height, width = small.shape
    return cast(Floats, cv2.resize(found, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1))
