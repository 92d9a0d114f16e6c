"""When a network's semantic embedding is renewed along a video: at each shot, and now and then within one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from scene.errors import UsageError
from scene.options import DEFAULT_SEMANTIC_INTERVAL
from scene.temporal.shots import KnownShots, ShotDetector, Shots

# Share of the way to a new embedding that the one in use goes at each renewal within a shot.
SMOOTHING = 0.5


class EmbeddingCadence:
    """The embedding for each frame: new at a shot's first frame, moved towards a newer one every `interval` frames.

    Args:
        interval: frames between renewals within a shot, 0 for none.

    Raises:
        UsageError: a negative interval.
    """

    def __init__(self, interval: int = DEFAULT_SEMANTIC_INTERVAL) -> None:
        if interval < 0:
            raise UsageError(f"semantic interval {interval} makes no sense; give frames, or 0 for once a shot.")
        self._interval = interval
        self._shots: Shots = ShotDetector()
        self._age = 0
        self._current: Tensor | None = None

    def start_shot(self) -> None:
        """The next frame is the first of a shot, whatever it looks like.

        For callers that find the shots themselves, since they do not show every frame.
        """
        self._shots = ShotDetector()
        self._current = None

    def follow(self, begins: Iterable[bool]) -> None:
        """The next frames' shots are known: of each, whether it is the first of one."""
        self._shots = KnownShots(begins)

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
