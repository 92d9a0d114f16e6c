"""What a calibration is judged by: savings of rate at equal score on the encoder's own curve. Pure: numbers only."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scene.metrics.rate_saving import BOUND, RatePoint, linear_score

AimName = Literal["perceptual", "faithful"]


@dataclass(frozen=True, slots=True)
class Aim:
    """What counts.

    Attributes:
        weights: by metric, points for a percent saved.
        loss: further points for each percent that a clip loses, over the metric's own.
        may_lose: metrics by which clips may lose.
        start: how much of the bank's change an evolution begins with.
    """

    weights: Mapping[str, float]
    loss: float
    may_lose: frozenset[str] = frozenset()
    start: float = 1.0

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that have to be measured."""
        return tuple(self.weights)


AIMS: Mapping[AimName, Aim] = {
    # Metrics that a higher contrast fools count least.
    "perceptual": Aim(
        {"vmaf": 0.25, "vmaf_neg": 1.0, "vmaf_v1": 1.0, "ms_ssim": 1.5, "psnr_y": 0.5}, 1.5, frozenset({"vmaf"})
    ),
    "faithful": Aim({"vmaf_neg": 0.5, "vmaf_v1": 0.5, "ms_ssim": 1.0, "psnr_y": 1.0, "xpsnr_y": 1.0}, 4.0, start=0.5),
}


def saving_on_curve(point: RatePoint, curve: Sequence[RatePoint], metric: str) -> float:
    """The logarithm of the rate that `point` saves at its score, against a curve; positive is a saving.

    The curve is interpolated linearly between score and the logarithm of the rate. A score beyond its ends counts as
    that of the end, since what lies there is not known. Within +-BOUND.

    Args:
        curve: the unprocessed clip at several CRFs, at least two.
    """
    ladder = sorted((linear_score(metric, other.scores[metric]), math.log(other.rate)) for other in curve)
    score = min(max(linear_score(metric, point.scores[metric]), ladder[0][0]), ladder[-1][0])
    for (low, low_rate), (high, high_rate) in itertools.pairwise(ladder):
        if score <= high:
            share = (score - low) / (high - low) if high > low else 0.0
            rate = low_rate + share * (high_rate - low_rate)
            break
    return min(max(rate - math.log(point.rate), -BOUND), BOUND)


def objective(savings: Mapping[str, Sequence[float]], aim: Aim) -> float:
    """One number for a candidate, the higher the better.

    Args:
        savings: by metric, one value a clip, in percent of the rate.
    """
    total = 0.0
    for metric, weight in aim.weights.items():
        values = savings[metric]
        total += weight * statistics.fmean(values)
        if metric not in aim.may_lose:
            total -= weight * aim.loss * statistics.fmean(max(0.0, -value) for value in values)
    return total
