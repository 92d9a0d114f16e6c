"""What a change of the pictures saves at equal score, judged by an encoder's own slope. Pure: numbers in, numbers out.

The unprocessed pictures at two qualities say what a point of each metric is worth, in the logarithm of the rate. With
that the gain of the changed pictures becomes a saving of rate. `scene.training.rate_saving` trains by the same measure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

# About half or twice the rate: one metric near its top, where its slope is next to nothing, must not decide alone.
BOUND = 0.7
# Of 1 - MS-SSIM, for identical pictures.
_STRUCTURE_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class RatePoint:
    """One encode.

    Attributes:
        rate: in any unit, the same for all points; positive.
        scores: by name of `scene.metrics.scores.Scores`; all better the higher.
    """

    rate: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Saving:
    """A change of the pictures held against the encoder's own curve.

    Attributes:
        by_metric: savings at equal score as logarithms of a rate, within +-BOUND, 0.1 being about 10 %; only of metrics
            that have a slope.
        pays: whether the change is worth having.
    """

    by_metric: Mapping[str, float]
    pays: bool


def judge(changed: RatePoint, plain: RatePoint, other: RatePoint) -> Saving:
    """Holds `changed` against `plain`, an encode at the same quality setting, with `other` for the slope.

    The change pays where the mean of its savings is above 0. Where no metric has a slope (nothing in the pictures to
    code, or a lossless encode) it pays if no score falls and the rate does not rise, or if every score rises.

    Args:
        other: the unprocessed pictures at a setting nearby, coarser or finer.
    """
    savings = {}
    gains = []
    for name in plain.scores:
        after, before, beside = (linear_score(name, reading.scores[name]) for reading in (changed, plain, other))
        gains.append(after - before)
        slope = _slope(beside - before, math.log(other.rate / plain.rate))
        if slope is not None:
            saving = (after - before) / slope - math.log(changed.rate / plain.rate)
            savings[name] = min(max(saving, -BOUND), BOUND)
    if savings:
        return Saving(savings, statistics.fmean(savings.values()) > 0)
    cheaper = changed.rate <= plain.rate and min(gains) >= 0
    return Saving(savings, cheaper or min(gains) > 0)


def percent(saving: float) -> float:
    """A saving, the logarithm of a rate, in percent of the rate."""
    return 100 * (1 - math.exp(-saving))


def rate_difference(anchor: Sequence[RatePoint], test: Sequence[RatePoint], metric: str, score: float) -> float | None:
    """By how many percent `test` needs more rate than `anchor` for a score, negative where it needs less.

    Between two points that lie on either side of the score it is taken to change in proportion with the logarithm of
    the rate; None where one of the two has neither these nor a point that has it.
    """
    before, after = (_rate_at(points, metric, score) for points in (anchor, test))
    return None if before is None or after is None else 100 * (after / before - 1)


def _rate_at(points: Sequence[RatePoint], metric: str, score: float) -> float | None:
    ordered = sorted(points, key=lambda point: point.rate)
    for point in ordered:
        if point.scores[metric] == score:
            return point.rate
    for low, high in pairwise(ordered):
        before, after = low.scores[metric], high.scores[metric]
        if before < score < after:
            share = (score - before) / (after - before)
            return low.rate * math.exp(share * math.log(high.rate / low.rate))
    return None


def _slope(score: float, log_rate: float) -> float | None:
    """Points for a unit of the logarithm of the rate; None where there is no telling."""
    if log_rate == 0:
        return None
    slope = score / log_rate
    return slope if 0 < slope < math.inf else None


def linear_score(name: str, score: float) -> float:
    """A score on a scale that is about linear in the logarithm of the rate."""
    return -10 * math.log10(max(1 - score, _STRUCTURE_FLOOR)) if name == "ms_ssim" else score
