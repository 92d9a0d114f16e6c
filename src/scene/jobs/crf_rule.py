"""The rule by which a search finds the last place on a scale where all demands are met. Pure: no encoder, no video.

The scale is a CRF, on which quality falls; or its negative, on which the rate rises. The rule asks for one place after
another, never answers with one that was not measured, and does not trust curves to be monotone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.interpolate import PchipInterpolator

# Places that are asked for at most; 3 to 5 are usual.
MAX_READINGS = 9
# By how much steps in an unknown direction grow where no slope tells how far to go, and how far they go at most.
_GROWTH = 1.5
_LONGEST_WAY = 16.0
# Of an interval between two places, when a crossing is sought: to a millionth of it.
_HALVINGS = 20
# Readings, after which the interval is halved: a curve that needs more is no smooth one.
_INTERPOLATIONS = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """The places that can be asked for: `low`, `low + step`, ..., `high`."""

    low: float
    high: float
    step: float

    def at_most(self, place: float) -> float:
        """The last place that is not beyond this one, kept within the scale."""
        # A little is added, since 0.5 * 47 may come out of an interpolation as 23.499999.
        steps = math.floor((place - self.low) / self.step + 1e-6)
        return min(max(self.low + steps * self.step, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured at a place.

    Attributes:
        place: on the scale.
        margins: by how much each demand is exceeded, negative where it is missed; in any units, the same everywhere.
    """

    place: float
    margins: tuple[float, ...]

    @property
    def meets(self) -> bool:
        """Whether every demand is met."""
        return min(self.margins) >= 0


def next_place(readings: Sequence[Reading], scale: Scale, start: float, way: float) -> float | None:
    """Where to measure next; None where the search is over.

    It is over where the last place that meets and the first beyond it that does not are neighbours, at either end of
    the scale, and after `MAX_READINGS`.

    Args:
        readings: so far, in any order.
        start: where to begin.
        way: how far from there the second place is.
    """
    if not readings:
        return scale.at_most(start)
    if len(readings) >= MAX_READINGS:
        return None
    below, above = bracket(readings)
    if below is not None and above is not None:
        return _between(readings, below.place, above.place, scale)
    if below is None and above is not None:
        return None if above.place <= scale.low else scale.at_most(max(_beyond(readings, -1, scale, way), scale.low))
    assert below is not None
    return None if below.place >= scale.high else scale.at_most(_beyond(readings, 1, scale, way))


def bracket(readings: Sequence[Reading]) -> tuple[Reading | None, Reading | None]:
    """The last reading that meets every demand, and the first beyond it that does not.

    Without the former the latter is the first of all, without the latter all are met as far as was measured.
    """
    below = max((r for r in readings if r.meets), key=lambda r: r.place, default=None)
    beyond = (r for r in readings if not r.meets and (below is None or r.place > below.place))
    return below, min(beyond, key=lambda r: r.place, default=None)


def crossing(readings: Sequence[Reading]) -> float:
    """The place between the two readings of `bracket`, which must both be there, where the first demand fails.

    Each margin is interpolated over the places of all readings with PCHIP, which keeps the shape: between two readings
    it goes straight from one to the other, without turning.
    """
    below, above = bracket(readings)
    assert below is not None and above is not None
    ordered = sorted(readings, key=lambda r: r.place)
    places = [r.place for r in ordered]
    curves = [
        PchipInterpolator(places, [r.margins[index] for r in ordered])
        for index, margin in enumerate(above.margins)
        if margin < 0
    ]
    near, far = below.place, above.place
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        if all(curve(middle) >= 0 for curve in curves):
            near = middle
        else:
            far = middle
    return near


def _between(readings: Sequence[Reading], below: float, above: float, scale: Scale) -> float | None:
    steps = round((above - below) / scale.step)
    if steps <= 1:
        return None
    expected = (below + above) / 2 if len(readings) >= _INTERPOLATIONS else crossing(readings)
    return scale.at_most(min(max(expected, below + scale.step), above - scale.step))


def _beyond(readings: Sequence[Reading], direction: int, scale: Scale, way: float) -> float:
    """A place beyond the outermost reading, where what holds there should no longer do so."""
    outward = sorted(readings, key=lambda r: direction * r.place)
    last = outward[-1]
    if len(outward) == 1:
        return last.place + direction * max(way, scale.step)
    before = outward[-2]
    gap = abs(last.place - before.place)
    away = _GROWTH * gap
    # On the way up the first demand that fails counts, on the way down the last that is still missed.
    ways = []
    for here, there in zip(last.margins, before.margins, strict=True):
        slope = (here - there) / (last.place - before.place)
        if direction > 0 or here < 0:
            ways.append(-direction * here / slope if slope < 0 else math.inf)
    expected = min(ways) if direction > 0 else max(ways)
    if math.isfinite(expected):
        # A little further, so that the place is on the other side; readings that fall short again grow apart.
        away = max(expected + 2 * scale.step, gap if len(outward) > 2 else 0)
    return last.place + direction * min(away, max(_LONGEST_WAY, scale.step))
