"""When enhancement pays: the rule on numbers, without pictures."""

from __future__ import annotations

import math

import pytest

from scene.metrics.rate_saving import BOUND, RatePoint, judge, percent

# Ten points for a unit of the logarithm of the rate, of both metrics.
PLAIN = RatePoint(1000, {"vmaf_neg": 80.0, "vmaf_v1": 70.0})
COARSER = RatePoint(1000 * math.exp(-0.3), {"vmaf_neg": 77.0, "vmaf_v1": 67.0})
FINER = RatePoint(1000 * math.exp(0.3), {"vmaf_neg": 83.0, "vmaf_v1": 73.0})


def changed(neg: float, v1: float, log_rate: float = 0.0) -> RatePoint:
    return RatePoint(1000 * math.exp(log_rate), {"vmaf_neg": 80.0 + neg, "vmaf_v1": 70.0 + v1})


@pytest.mark.parametrize("other", [COARSER, FINER])
@pytest.mark.parametrize(
    "reading,savings,pays",
    [
        (changed(1, 1), (0.1, 0.1), True),
        (changed(0, 0, -0.05), (0.05, 0.05), True),
        # Two points are worth 0.2, and cost 0.25.
        (changed(2, 2, 0.25), (-0.05, -0.05), False),
        # The mean decides.
        (changed(3, -2), (0.3, -0.2), True),
        (changed(2, -3), (0.2, -0.3), False),
        (changed(0, 0), (0.0, 0.0), False),
    ],
)
def test_the_mean_of_the_savings_at_equal_score_decides(
    reading: RatePoint, savings: tuple[float, float], pays: bool, other: RatePoint
) -> None:
    verdict = judge(reading, PLAIN, other)
    assert tuple(verdict.by_metric.values()) == pytest.approx(savings)
    assert verdict.pays is pays


def test_no_metric_decides_alone() -> None:
    flat = RatePoint(COARSER.rate, {"vmaf_neg": 79.9999, "vmaf_v1": 67.0})
    verdict = judge(changed(1, -8), PLAIN, flat)
    assert verdict.by_metric == {"vmaf_neg": BOUND, "vmaf_v1": -BOUND}


def test_a_metric_without_a_slope_is_left_out() -> None:
    for score in (80.0, 80.5):
        top = RatePoint(COARSER.rate, {"vmaf_neg": score, "vmaf_v1": 67.0})
        assert judge(changed(-5, 1), PLAIN, top).by_metric == pytest.approx({"vmaf_v1": 0.1})


@pytest.mark.parametrize("other", [RatePoint(1000, {"vmaf_neg": 77, "vmaf_v1": 67}), RatePoint(700, PLAIN.scores)])
@pytest.mark.parametrize(
    "reading,pays",
    [
        (changed(0, 0), True),
        (changed(0, 0, -0.1), True),
        (changed(1, 1, 0.1), True),
        (changed(1, 0, 0.1), False),
        (changed(1, -1, -0.1), False),
        (changed(-1, -1, 0.1), False),
    ],
)
def test_without_any_slope_it_must_be_plainly_better(reading: RatePoint, pays: bool, other: RatePoint) -> None:
    verdict = judge(reading, PLAIN, other)
    assert verdict.by_metric == {} and verdict.pays is pays


def test_ms_ssim_counts_by_what_is_missing_to_one() -> None:
    plain, coarser, better = (RatePoint(rate, {"ms_ssim": score}) for rate, score in ((8, 0.9), (4, 0.8), (8, 0.95)))
    # Half of what is missing to one is worth half the rate.
    assert judge(better, plain, coarser).by_metric["ms_ssim"] == pytest.approx(math.log(2))
    # Identical pictures have no logarithm.
    assert judge(RatePoint(8, {"ms_ssim": 1.0}), plain, coarser).by_metric["ms_ssim"] == BOUND


def test_a_saving_in_percent() -> None:
    assert percent(math.log(2)) == pytest.approx(50)
    assert percent(-math.log(2)) == pytest.approx(-100)
