"""Where shots begin, frame by frame and without looking ahead."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

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
