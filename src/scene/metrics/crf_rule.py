"""The rule by which a search finds the last position on a scale where all constraints are met.

Pure: no encoder, no video. The scale is a CRF, on which quality falls; or its negative, on which the rate rises. The
rule asks for one position after another, never answers with one that was not measured, and does not trust curves to be
monotone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Positions that are asked for at most; 3 to 5 are usual.
MAX_POINTS = 9
# By how much steps in an unknown direction grow where no slope tells how far to go, and how far they go at most.
_GROWTH = 1.5
_LONGEST_STEP = 16.0
# Of an interval between two positions, when a crossing is sought: to a millionth of it.
_HALVINGS = 20
# Points after which the interval is halved: a curve that needs more is no smooth one.
_INTERPOLATIONS = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """The positions that can be asked for: `low`, `low + step`, ..., `high`."""

    low: float
    high: float
    step: float

    def at_most(self, position: float) -> float:
        """The last position that is not beyond this one, kept within the scale."""
        # A little is added, since 0.5 * 47 may come out of an interpolation as 23.499999.
        steps = math.floor((position - self.low) / self.step + 1e-6)
        return min(max(self.low + steps * self.step, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at a position.

    Attributes:
        position: on the scale.
        margins: by how much each constraint is exceeded, negative where it is missed; in any units, the same
            everywhere.
    """

    position: float
    margins: tuple[float, ...]

    @property
    def meets(self) -> bool:
        """Whether every constraint is met."""
        return min(self.margins) >= 0


def next_position(points: Sequence[Point], scale: Scale, start: float, first_step: float) -> float | None:
    """Where to measure next; None where the search is over.

    It is over where the last position that meets and the first beyond it that does not are neighbours, at either end of
    the scale, and after `MAX_POINTS`.

    Args:
        points: so far, in any order.
        start: where to begin.
        first_step: how far from there the second position is.
    """
    if not points:
        return scale.at_most(start)
    if len(points) >= MAX_POINTS:
        return None
    below, above = bracket(points)
    if below is not None and above is not None:
        return _between(points, below.position, above.position, scale)
    if below is None and above is not None:
        if above.position <= scale.low:
            return None
        return scale.at_most(max(_beyond(points, -1, scale, first_step), scale.low))
    assert below is not None
    return None if below.position >= scale.high else scale.at_most(_beyond(points, 1, scale, first_step))


def bracket(points: Sequence[Point]) -> tuple[Point | None, Point | None]:
    """The last point that meets every constraint, and the first beyond it that does not.

    Without the former the latter is the first of all, without the latter all are met as far as was measured.
    """
    below = max((point for point in points if point.meets), key=lambda point: point.position, default=None)
    beyond = (point for point in points if not point.meets and (below is None or point.position > below.position))
    return below, min(beyond, key=lambda point: point.position, default=None)


def crossing(points: Sequence[Point]) -> float:
    """The position between the two points of `bracket`, which must both be there, where the first constraint fails.

    Each margin is interpolated over the positions of all points with PCHIP, which keeps the shape: between two points
    it goes straight from one to the other, without turning.
    """
    # Loaded where a curve is computed, so that an encode does not wait for it.
    from scipy.interpolate import PchipInterpolator

    below, above = bracket(points)
    assert below is not None and above is not None
    ordered = sorted(points, key=lambda point: point.position)
    positions = [point.position for point in ordered]
    curves = [
        PchipInterpolator(positions, [point.margins[index] for point in ordered])
        for index, margin in enumerate(above.margins)
        if margin < 0
    ]
    near, far = below.position, above.position
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        if all(curve(middle) >= 0 for curve in curves):
            near = middle
        else:
            far = middle
    return near


def _between(points: Sequence[Point], below: float, above: float, scale: Scale) -> float | None:
    steps = round((above - below) / scale.step)
    if steps <= 1:
        return None
    expected = (below + above) / 2 if len(points) >= _INTERPOLATIONS else crossing(points)
    return scale.at_most(min(max(expected, below + scale.step), above - scale.step))


def _beyond(points: Sequence[Point], direction: int, scale: Scale, first_step: float) -> float:
    """A position beyond the outermost point, where what holds there should no longer do so."""
    outward = sorted(points, key=lambda point: direction * point.position)
    last = outward[-1]
    if len(outward) == 1:
        return last.position + direction * max(first_step, scale.step)
    before = outward[-2]
    gap = abs(last.position - before.position)
    away = _GROWTH * gap
    # Upwards the first constraint that fails counts, downwards the last that is still missed.
    distances = []
    for here, there in zip(last.margins, before.margins, strict=True):
        slope = (here - there) / (last.position - before.position)
        if direction > 0 or here < 0:
            distances.append(-direction * here / slope if slope < 0 else math.inf)
    expected = min(distances) if direction > 0 else max(distances)
    if math.isfinite(expected):
        # A little further, so that the position is on the other side; points that fall short again grow apart.
        away = max(expected + 2 * scale.step, gap if len(outward) > 2 else 0)
    return last.position + direction * min(away, max(_LONGEST_STEP, scale.step))
