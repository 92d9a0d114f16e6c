"""Where shots begin, frame by frame and without looking ahead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from scene.picture import Picture, Plane

# A frame's content value is the mean absolute difference of its thumbnail from the one before. A cut has one above this
# share of full scale, and an adaptive ratio (to the shot's usual content value) above this, so that fast motion and
# flicker do not look like cuts.
_LEAST_CONTENT_VALUE = 0.08
_LEAST_ADAPTIVE_RATIO = 4.0
# Height and width.
THUMBNAIL = (18, 32)
# Weight of the newest content value in the running mean.
_NEWEST = 0.2
# Frames within which the picture is back after a flash.
_FLASH_FRAMES = 3


class Shots(Protocol):
    """Says of the frames of a video, one after the other, which begin a shot."""

    def begins(self, luma: Tensor) -> bool:
        """Whether this frame, (1, 1, H, W) on any scale where 1 is about white, is the first of a shot."""


def eight_bit_luma(picture: Picture) -> npt.NDArray[np.uint8]:
    """The first plane (H, W) of a picture in 8 bits."""
    luma = picture.planes[0]
    if picture.format.bit_depth > 8:
        luma = cast(Plane, luma >> (picture.format.bit_depth - 8))
    return luma.astype(np.uint8, copy=False)


def thumbnail(luma: npt.NDArray[np.uint8]) -> Tensor:
    """8-bit luma (H, W) as what `Shots` looks at, in a fraction of its own time."""
    small = cv2.resize(luma, THUMBNAIL[::-1], interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small)[None, None] / 255


class KnownShots:
    """Shots that were found before, for whoever sees only a part of a video.

    Args:
        begins: of each frame to come, whether it is the first of a shot.
    """

    def __init__(self, begins: Iterable[bool]) -> None:
        self._begins = iter(begins)

    def begins(self, luma: Tensor) -> bool:
        """As `Shots` has it, whatever the frame looks like. Raises StopIteration after the last."""
        return next(self._begins)


class ShotDetector:
    """Cuts by an adaptive threshold on 32x18 thumbnails of luma; see the constants above.

    The first frame of a flash looks like that of a shot, so it begins one; the frame that is back at the picture before
    begins another, with the content value that was usual before the flash. Dissolves, and cuts right after a shot's
    first frame, are missed.
    """

    def __init__(self) -> None:
        self._thumbnail: Tensor | None = None
        self._usual: float | None = None
        # Of the shot before the last cut: its last thumbnail and its usual content value.
        self._before: tuple[Tensor, float] | None = None
        self._age = 0

    def begins(self, luma: Tensor) -> bool:
        """Whether this frame, (1, 1, H, W) on any scale where 1 is about white, is the first of a shot."""
        thumbnail = F.adaptive_avg_pool2d(luma.float(), THUMBNAIL).cpu()
        previous, self._thumbnail = self._thumbnail, thumbnail
        if previous is None:
            return True
        content = _difference(thumbnail, previous)
        self._age += 1
        if self._is_back(thumbnail, content):
            assert self._before is not None
            self._usual, self._before = self._before[1], None
            return True
        usual = self._usual
        if usual is None:
            # The second frame of a shot: how much it moves is what later frames are held against.
            self._usual = content
            return False
        if content > _LEAST_CONTENT_VALUE and content > _LEAST_ADAPTIVE_RATIO * usual:
            self._before, self._usual, self._age = (previous, usual), None, 0
            return True
        self._usual = (1 - _NEWEST) * usual + _NEWEST * content
        return False

    def _is_back(self, thumbnail: Tensor, content: float) -> bool:
        """Whether a flash is over: after a jump the picture is the one before the last cut."""
        if self._before is None or self._age > _FLASH_FRAMES or content <= _LEAST_CONTENT_VALUE:
            return False
        return _difference(thumbnail, self._before[0]) <= _LEAST_CONTENT_VALUE


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean())
