"""Flicker: how much the difference to the source changes over time where the source itself does not change.

An observer forgives a constant difference sooner than one that comes and goes. Over a region that stands still, any
change of `distorted - source` from one frame to the next was added by the pre-processor or the encoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scene.picture import Plane

BLOCK = 8
STILL = 1.0
MIN_STILL = 0.001


@dataclass(frozen=True, slots=True)
class Flicker:
    """A measurement of flicker.

    Attributes:
        value: mean absolute change of the difference per pixel and frame over still blocks, in 8-bit code values;
            None where fewer than one block in a thousand stands still.
        still: share of blocks that stand still, in [0, 1].
    """

    value: float | None
    still: float


def flicker(pairs: Iterable[tuple[Plane, Plane]], bit_depth: int) -> Flicker:
    """Measures flicker over the frames of a clip.

    A block of 8x8 luma samples stands still between two frames if the source's mean absolute change over it is at most
    one 8-bit code value. Rows and columns beyond whole blocks are left out.

    Args:
        pairs: (source, distorted) luma planes of each frame, (H, W), in order.
        bit_depth: of the planes; values are scaled to 8 bit.
    """
    scale = 1 / (1 << (bit_depth - 8))
    total, still, blocks = 0.0, 0, 0
    previous: tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]] | None = None
    for source, distorted in pairs:
        # Differences of differences of 10 bit are within 2046: 16 bit hold them, in half the time of 32.
        own = source.astype(np.int16)
        difference = distorted.astype(np.int16) - own
        if previous is not None:
            moved = _block_means(np.abs(own - previous[0])) * scale
            changed = _block_means(np.abs(difference - previous[1])) * scale
            mask = moved <= STILL
            total += float(changed[mask].sum())
            still += int(mask.sum())
            blocks += mask.size
        previous = own, difference
    share = still / blocks if blocks else 0.0
    return Flicker(total / still if share >= MIN_STILL else None, share)


def _block_means(plane: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    rows, columns = (side // BLOCK for side in plane.shape)
    strips = plane[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns * BLOCK)
    # Rows first: whole lines are added up much faster than squares.
    sums = strips.sum(axis=1, dtype=np.int32).reshape(rows, columns, BLOCK).sum(axis=2)
    means: npt.NDArray[np.float64] = sums / BLOCK**2
    return means
