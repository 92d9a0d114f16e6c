"""When a network's semantic embedding is renewed along a video: at each shot, and now and then within one."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from scene.errors import UsageError

# A shot begins where the thumbnail's mean absolute change is above this share of full scale, and above this multiple of
# the usual change in the shot so far, so that fast motion and flicker do not look like cuts.
_CUT_CHANGE = 0.08
_CUT_RATIO = 4.0
_THUMBNAIL = (18, 32)
# Weight of the newest change in the running mean.
_NEWEST = 0.2

# One embedding a shot: with every renewal kernels change, and what they do to a still picture flickers.
DEFAULT_INTERVAL = 0
# Share of the way to a new embedding that the one in use goes at each renewal within a shot.
SMOOTHING = 0.5


class ShotDetector:
    """Tells where shots begin, frame by frame and without looking ahead.

    The measure is the mean absolute difference of 32x18 thumbnails of luma; see the constants above. Dissolves, and
    cuts right after a shot's first frame, are missed: the next embedding then comes when the interval is over.
    """

    def __init__(self) -> None:
        self._thumbnail: Tensor | None = None
        self._usual: float | None = None

    def begins(self, luma: Tensor) -> bool:
        """Whether this frame, (1, 1, H, W) on any scale where 1 is about white, is the first of a shot."""
        thumbnail = F.adaptive_avg_pool2d(luma.float(), _THUMBNAIL).cpu()
        previous, self._thumbnail = self._thumbnail, thumbnail
        if previous is None:
            return True
        change = float((thumbnail - previous).abs().mean())
        usual = self._usual
        if usual is None:
            # The second frame of a shot: how much it moves is what later changes are held against.
            self._usual = change
            return False
        if change > _CUT_CHANGE and change > _CUT_RATIO * usual:
            self._usual = None
            return True
        self._usual = (1 - _NEWEST) * usual + _NEWEST * change
        return False


class EmbeddingCadence:
    """The embedding for each frame: new at a shot's first frame, moved towards a newer one every `interval` frames.

    Args:
        interval: frames between renewals within a shot, 0 for none.

    Raises:
        UsageError: a negative interval.
    """

    def __init__(self, interval: int = DEFAULT_INTERVAL) -> None:
        if interval < 0:
            raise UsageError(f"semantic interval {interval} makes no sense; give frames, or 0 for once a shot.")
        self._interval = interval
        self._shots = ShotDetector()
        self._age = 0
        self._current: Tensor | None = None

    def begin_shot(self) -> None:
        """The next frame is the first of a shot, whatever it looks like.

        For callers that find the shots themselves, since they do not show every frame.
        """
        self._shots = ShotDetector()
        self._current = None

    def next(self, luma: Tensor, embed: Callable[[], Tensor]) -> Tensor:
        """The embedding of the next frame.

        Args:
            luma: (1, 1, H, W), for the shot detector.
            embed: gives the embedding (1, D, h, w) of this frame; called only where one is due.
        """
        begins = self._shots.begins(luma)
        if begins or self._current is None:
            self._current, self._age = embed(), 1
        elif self._interval and self._age >= self._interval:
            # Exactly the same embedding where the picture has not changed, so that a still clip stays one.
            self._current, self._age = self._current + SMOOTHING * (embed() - self._current), 1
        else:
            self._age += 1
        return self._current
