"""Bjontegaard deltas: how much rate a method saves at equal quality, and how much quality it gains at equal rate.

G. Bjontegaard, VCEG-M33 and VCEG-AI11, with piecewise cubic Hermite (PCHIP) interpolation in place of one
cubic polynomial. See docs/evaluating.md for the rules on overlap and on curves that are not monotonic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MIN_POINTS = 4
MIN_OVERLAP = 0.5
GOOD_OVERLAP = 0.75

Curve = Sequence[tuple[float, float]]
_Axis = Literal["quality", "rate"]


@dataclass(frozen=True, slots=True)
class BDRate:
    """A comparison of two rate-quality curves at equal quality.

    Attributes:
        percent: mean difference of rate at equal quality, negative where the test needs less; None where it
            is not defined.
        overlap: length of the quality interval that both curves cover over the length of the interval that
            either covers, in [0, 1].
        note: why there is no value, or what to bear in mind about it; empty if all is well.
    """

    percent: float | None
    overlap: float
    note: str


@dataclass(frozen=True, slots=True)
class BDQuality:
    """A comparison of two rate-quality curves at equal rate.

    Attributes:
        difference: mean difference of quality at equal rate, in the metric's unit, positive where the test scores
            more; None where it is not defined.
        overlap: as for `BDRate`, of the intervals of the logarithm of the rate.
        note: as for `BDRate`.
    """

    difference: float | None
    overlap: float
    note: str


def bd_rate(anchor: Curve, test: Curve, *, hull: bool = False) -> BDRate:
    """BD-rate of `test` against `anchor`, each a sequence of (rate, quality) in any order.

    100 * (10 ** mean(log10 rate_test(q) - log10 rate_anchor(q)) - 1), the mean taken over the qualities q that
    both curves cover, each log-rate interpolated over quality with PCHIP. Rates may have any unit, the same in
    both. Points that cost more than another without being better are left out first.

    Args:
        hull: leave out all points below the curves' upper convex hulls as well (`upper_hull`).
    """
    difference, overlap, note = _compare(anchor, test, "quality", hull)
    return BDRate(None if difference is None else 100 * (10**difference - 1), overlap, note)


def bd_quality(anchor: Curve, test: Curve, *, hull: bool = False) -> BDQuality:
    """The mean difference of quality over the logarithms of the rates that both curves cover.

    Curves, `hull` and what is left out are as for `bd_rate`, each quality interpolated over log-rate with PCHIP.
    """
    return BDQuality(*_compare(anchor, test, "rate", hull))


def pareto_front(curve: Curve) -> list[tuple[float, float]]:
    """The points that no other beats at no more rate, by rising rate and rising quality.

    Points with a rate that is not positive, or with a value that is not finite, are left out.
    """
    usable = ((rate, quality) for rate, quality in curve if math.isfinite(rate) and math.isfinite(quality) and rate > 0)
    front: list[tuple[float, float]] = []
    for rate, quality in sorted(usable, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((rate, quality))
    return front


def upper_hull(curve: Curve) -> list[tuple[float, float]]:
    """The front's points on the upper convex hull of quality over the logarithm of the rate, both rising.

    It is what a ladder of several resolutions or presets offers, since whoever encodes may choose among them. The
    points of one encoder at one setting may lie below it for good: quality over log-rate is often S-shaped.
    """
    hull: list[tuple[float, float]] = []
    for point in pareto_front(curve):
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _slope(start: tuple[float, float], end: tuple[float, float]) -> float:
    return (end[1] - start[1]) / (math.log10(end[0]) - math.log10(start[0]))


def _compare(anchor: Curve, test: Curve, over: _Axis, hull: bool) -> tuple[float | None, float, str]:
    """The mean of test less anchor over an axis, the overlap along it, and the note.

    Over quality it is the difference of log10 rate, over the rate the difference of quality.
    """
    curves, notes = [], []
    for name, curve in (("anchor", anchor), ("test", test)):
        used = pareto_front(curve)
        if dropped := len(curve) - len(used):
            notes.append(f"{dropped} of {len(curve)} {name} points cost more without being better")
        if hull:
            front, used = used, upper_hull(used)
            if dropped := len(front) - len(used):
                notes.append(f"{dropped} of {len(curve)} {name} points lie below the convex hull")
        pairs = [(math.log10(rate), quality) for rate, quality in used]
        curves.append([(y, x) for x, y in pairs] if over == "quality" else pairs)
    overlap = _overlap(*curves)
    for name, usable in zip(("anchor", "test"), curves, strict=True):
        if len(usable) < MIN_POINTS:
            return None, overlap, _join(f"the {name} has {len(usable)} usable points of {MIN_POINTS}", *notes)
    if overlap == 0:
        return None, 0.0, _join(f"no overlapping {over} interval", *notes)
    if overlap < MIN_OVERLAP:
        return None, overlap, _join(f"overlap {overlap:.2f} is below {MIN_OVERLAP}", *notes)
    if overlap < GOOD_OVERLAP:
        notes.insert(0, f"overlap {overlap:.2f} is below {GOOD_OVERLAP}: read with care")
    low, high = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    means = [_mean(curve, low, high) for curve in curves]
    return means[1] - means[0], overlap, _join(*notes)


def _overlap(first: Curve, second: Curve) -> float:
    """Of the first coordinates, by which both curves are sorted."""
    if not first or not second:
        return 0.0
    common = min(first[-1][0], second[-1][0]) - max(first[0][0], second[0][0])
    either = max(first[-1][0], second[-1][0]) - min(first[0][0], second[0][0])
    return max(common, 0.0) / either if either > 0 else 0.0


def _mean(curve: Curve, low: float, high: float) -> float:
    """The mean of the second coordinate over an interval of the first."""
    # Loaded where a curve is computed; comparing files and training without an encoder need none.
    from scipy.interpolate import PchipInterpolator

    xs, ys = zip(*curve, strict=True)
    return float(PchipInterpolator(xs, ys).integrate(low, high)) / (high - low)


def _join(*notes: str) -> str:
    return "; ".join(notes)
