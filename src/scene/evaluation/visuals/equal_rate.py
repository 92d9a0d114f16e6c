"""The CRF at which a method needs a given bitrate, from its measured points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scene.evaluation.grid.grid import Point


def crf_of_equal_rate(anchor: Sequence[Point], test: Sequence[Point], crf: float, step: float = 0.1) -> float:
    """The CRF at which `test` has the rate that `anchor` has at `crf`; without points it is `crf`.

    Args:
        anchor, test: one clip's points of one codec.
        step: the result is a multiple of this.
    """
    target = [point.kbps for point in anchor if point.crf == crf]
    return crf_at_rate(test, target[0], step) if target and test else crf


def crf_at_rate(points: Sequence[Point], kbps: float, step: float = 0.1) -> float:
    """The CRF at which points of one clip, method and codec have a rate, kept within their own CRFs.

    The CRF is interpolated over the logarithm of the rate.

    Args:
        points: at least one.
        kbps: the rate.
        step: the result is the nearest multiple of this.
    """
    curve = sorted((math.log(point.kbps), point.crf) for point in points)
    wanted = min(max(math.log(kbps), curve[0][0]), curve[-1][0])
    found = curve[-1][1]
    for (low, low_crf), (high, high_crf) in pairwise(curve):
        if low <= wanted < high:
            found = low_crf + (high_crf - low_crf) * (wanted - low) / (high - low)
            break
    # Rounded again, since a multiple of 0.1 is seldom the number that one would write down.
    return round(round(found / step) * step, 4)
