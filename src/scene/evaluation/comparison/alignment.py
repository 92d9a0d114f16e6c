"""Whether a clip is a frame early or late against its reference."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from scene.measure.raw_video import RawVideo, read_lumas

_BLOCK = 16
_FRAMES = 250
# A shift is believed where it leaves less than this share of the difference, and takes away this many code values.
_SHARE = 0.5
_CODES = 0.25


def frame_shift(reference: RawVideo, distorted: RawVideo) -> int:
    """By how many frames `distorted` seems to come late: 1, 0, or -1 where it comes early.

    Frame n is compared with the reference's frames n - 1, n and n + 1 by the mean absolute difference of luma over
    blocks of 16x16, which hardly sees what encoders do. Only the first 250 frames are looked at; where nothing moves
    the answer is 0.

    Args:
        reference, distorted: of one size; their bit depths may differ.
    """
    own, other = (_small(video) for video in (reference, distorted))
    count = min(len(own), len(other))
    if count < 3:
        return 0
    inner = other[1 : count - 1]
    apart = {shift: float(np.abs(inner - own[1 - shift : count - 1 - shift]).mean()) for shift in (0, 1, -1)}
    best = min(apart, key=lambda shift: apart[shift])
    gained = apart[0] - apart[best]
    return best if apart[best] < _SHARE * apart[0] and gained > _CODES else 0


def _small(video: RawVideo) -> npt.NDArray[np.float32]:
    """Means over blocks of the first frames, (frames, rows, columns), in 8-bit code values."""
    scale = 1 << (video.header.format.bit_depth - 8)
    frames = []
    for luma in itertools.islice(read_lumas(video), _FRAMES):
        rows, columns = (side // _BLOCK for side in luma.shape)
        # Every fourth row is enough for a mean.
        blocks = luma[: rows * _BLOCK : 4, : columns * _BLOCK].reshape(rows, _BLOCK // 4, columns, _BLOCK)
        frames.append(blocks.mean(axis=(1, 3), dtype=np.float32) / scale)
    return np.stack(frames)
