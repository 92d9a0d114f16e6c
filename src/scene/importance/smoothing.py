"""Bits moved by the picture itself: what matters is enhanced, the rest is smoothed a little, so that it costs less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from scene.picture import Picture, Plane

# What does not matter becomes by so much, at full focus, what a Gaussian of so many samples leaves of it. More costs
# the rest of the picture more than it gives to what matters.
_SHARE = 0.6
_SIGMA = 0.6
# From this share of a map's white on all matters: an object is rarely white all over.
_ALL = 0.25


@dataclass(frozen=True, slots=True)
class PictureFocus:
    """Smooths what does not matter.

    Attributes:
        strength: 0 to 1.
        look: gives the map of each picture in turn, (h, w) of any size from 0 to 255.
    """

    strength: float
    look: Callable[[Picture], Plane]

    def apply(self, before: Picture, after: Picture) -> Picture:
        """The picture that a model made, with what does not matter as it was before, and smoother.

        Luma alone is touched, of R'G'B' all planes.

        Args:
            before, after: the same picture before a model and after it, of one format.
        """
        importance = self.look(before)
        fmt = before.format
        size = fmt.width, fmt.height
        small = np.clip(1 - importance.astype(np.float32) / (255 * _ALL), 0, 1) * np.float32(_SHARE * self.strength)
        rest = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
        count = 3 if fmt.matrix == "rgb" else 1
        mixed = [_mixed(*pair, rest) for pair in zip(before.planes[:count], after.planes[:count], strict=True)]
        return Picture(fmt, (*mixed, *after.planes[count:]))


def _mixed(before: Plane, after: Plane, rest: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Plane:
    smooth = cv2.GaussianBlur(before, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT_101).astype(np.float32)
    made = after.astype(np.float32)
    return cast(Plane, np.rint(made + rest * (smooth - made)).astype(after.dtype))
