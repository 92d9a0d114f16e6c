"""Bjontegaard delta rate: how much less (negative) or more rate a method needs for equal quality, in percent.

G. Bjontegaard, VCEG-M33 and VCEG-AI11, with piecewise cubic Hermite (PCHIP) interpolation in place of one
cubic polynomial. See docs/measuring.md for the rules on overlap and on curves that are not monotonic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.interpolate import PchipInterpolator

MIN_POINTS = 4
MIN_OVERLAP = 0.5
GOOD_OVERLAP = 0.75

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class BDRate:
    """A comparison of two rate-quality curves.

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


def bd_rate(anchor: Curve, test: Curve) -> BDRate:
    """BD-rate of `test` against `anchor`, each a sequence of (rate, quality) in any order.

    100 * (10 ** mean(log10 rate_test(q) - log10 rate_anchor(q)) - 1), the mean taken over the qualities q that
    both curves cover, each log-rate interpolated over quality with PCHIP. Rates may have any unit, the same in
    both. Points that cost more than another without being better are left out first.
    """
    fronts, notes = [], []
    for name, curve in (("anchor", anchor), ("test", test)):
        front = pareto_front(curve)
        dropped = len(curve) - len(front)
        if dropped:
            notes.append(f"{dropped} of {len(curve)} {name} points cost more without being better")
        fronts.append(front)
    overlap = _overlap(*fronts)
    for name, front in zip(("anchor", "test"), fronts, strict=True):
        if len(front) < MIN_POINTS:
            return BDRate(None, overlap, _join(f"the {name} has {len(front)} usable points of {MIN_POINTS}", *notes))
    if overlap == 0:
        return BDRate(None, 0.0, _join("no overlapping quality interval", *notes))
    if overlap < MIN_OVERLAP:
        return BDRate(None, overlap, _join(f"overlap {overlap:.2f} is below {MIN_OVERLAP}", *notes))
    if overlap < GOOD_OVERLAP:
        notes.insert(0, f"overlap {overlap:.2f} is below {GOOD_OVERLAP}: read with care")
    low, high = max(front[0][1] for front in fronts), min(front[-1][1] for front in fronts)
    mean_log_rate = [_mean_log_rate(front, low, high) for front in fronts]
    percent = 100 * (10 ** (mean_log_rate[1] - mean_log_rate[0]) - 1)
    return BDRate(percent, overlap, _join(*notes))


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


def _overlap(first: Curve, second: Curve) -> float:
    if not first or not second:
        return 0.0
    common = min(first[-1][1], second[-1][1]) - max(first[0][1], second[0][1])
    either = max(first[-1][1], second[-1][1]) - min(first[0][1], second[0][1])
    return max(common, 0.0) / either if either > 0 else 0.0


def _mean_log_rate(front: Curve, low: float, high: float) -> float:
    qualities = [quality for _, quality in front]
    log_rates = [math.log10(rate) for rate, _ in front]
    return float(PchipInterpolator(qualities, log_rates).integrate(low, high)) / (high - low)


def _join(*notes: str) -> str:
    return "; ".join(notes)
