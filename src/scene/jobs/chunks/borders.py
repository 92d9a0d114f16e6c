"""Where chunks begin."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from fractions import Fraction

# A chunk is at most so many times as long as it is at least.
_MOST = 4
# Encoders need some frames to know how far they reorder them.
_LEAST_FRAMES = 8


def least_frames(seconds: float, rate: Fraction) -> int:
    """Frames of the shortest chunk, of a least length in seconds at a rate in frames a second."""
    return max(_LEAST_FRAMES, math.ceil(seconds * rate))


def chunk_starts(frames: int, shots: Sequence[int], least: int, interval: float) -> list[int]:
    """The first frame of each chunk.

    A chunk begins with a shot, where the encoder would begin anew by itself. In a shot that is too long it begins
    where the encoder would put a key frame since the last one is so long ago.

    Args:
        frames: of the video, at least 1.
        shots: the first frame of each shot, increasing, from 0 on.
        least: frames of a chunk, but for a video that is shorter; at most four times as many.
        interval: most frames from one key frame to the next, infinite where a video has but one.
    """
    starts = [0]
    most = _MOST * least
    while frames - starts[-1] >= 2 * least:
        low, high = starts[-1] + least, min(starts[-1] + most, frames - least)
        place = bisect.bisect_left(shots, low)
        if place < len(shots) and shots[place] <= high:
            starts.append(shots[place])
        elif frames - starts[-1] <= most:
            break
        else:
            starts.append(_within_shot(shots[place - 1], low, high, interval))
    return starts


def _within_shot(shot: int, low: int, high: int, interval: float) -> int:
    if math.isinf(interval):
        return high
    step = max(1, int(interval))
    last = high - (high - shot) % step
    return last if last >= low else high
