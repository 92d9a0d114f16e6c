"""Where two versions of a clip differ most: the frame, and the part of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scene.measure.raw_video import RawVideo, read_lumas

_ALIGNMENT = 8
_SMALLEST = 64

Crop = tuple[int, int, int, int]
Difference = npt.NDArray[np.uint16]


def most_different_frame(first: RawVideo, second: RawVideo) -> tuple[int, Difference]:
    """The frame with the largest mean absolute difference of luma, and that difference, (H, W).

    The very first frame, where encoders are still finding their rate, counts only if there is no other.

    Args:
        first, second: of one size, bit depth and length.
    """
    best: tuple[float, int, Difference] | None = None
    for number, (one, other) in enumerate(zip(read_lumas(first), read_lumas(second), strict=True)):
        if number == 0 and first.frames > 1:
            continue
        difference = np.maximum(one, other).astype(np.uint16) - np.minimum(one, other)
        mean = float(difference.mean())
        if best is None or mean > best[0]:
            best = mean, number, difference
    assert best is not None
    return best[1], best[2]


def most_different_crop(difference: npt.NDArray[np.unsignedinteger]) -> Crop:
    """Left, top, width and height of the part with the largest sum of `difference`, (H, W).

    It is a quarter of the picture wide, 4:3, at least 64 samples where the picture has as many; its place and size
    are multiples of 8.
    """
    rows, columns = difference.shape
    width = min(max(_aligned(columns / 4), _SMALLEST), columns)
    height = min(max(_aligned(width * 3 / 4), _SMALLEST * 3 // 4), rows)
    table = np.zeros((rows + 1, columns + 1), np.int64)
    table[1:, 1:] = difference.astype(np.int64).cumsum(axis=0).cumsum(axis=1)
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    places = sums[::_ALIGNMENT, ::_ALIGNMENT]
    top, left = (int(index) * _ALIGNMENT for index in np.unravel_index(int(places.argmax()), places.shape))
    return left, top, width, height


def _aligned(length: float) -> int:
    return round(length / _ALIGNMENT) * _ALIGNMENT
