"""BD-rate against known answers and against the `bjontegaard` package."""

import math

import bjontegaard
import pytest

from scene.metrics.bjontegaard import bd_rate, pareto_front

# A clip of 360 lines, x264 medium, CRF 42 to 18, as this program measured it: kbit/s and VMAF.
RATES = [61.2, 95.8, 152.7, 247.3, 405.1, 671.4, 1135.0]
SCORES = [38.91, 54.17, 67.83, 78.64, 86.75, 92.93, 97.52]
ANCHOR = list(zip(RATES, SCORES, strict=True))


def scaled(rate: float = 1.0, score: float = 0.0) -> list[tuple[float, float]]:
    return [(r * rate, q + score) for r, q in ANCHOR]


@pytest.mark.parametrize(
    "test",
    [
        scaled(0.9),
        scaled(1.1, 3.0),
        scaled(1.02, -4.0),
        [(r * (0.8 + 0.004 * q), q + 60 / q) for r, q in ANCHOR],
    ],
)
def test_agrees_with_the_bjontegaard_package(test: list[tuple[float, float]]) -> None:
    theirs = bjontegaard.bd_rate(RATES, SCORES, *map(list, zip(*test, strict=True)), method="pchip", min_overlap=0)
    percent = bd_rate(ANCHOR, test).percent
    assert percent == pytest.approx(theirs, abs=1e-6)


def test_a_tenth_less_rate_is_minus_ten_percent() -> None:
    result = bd_rate(ANCHOR, scaled(0.9))
    assert result.percent == pytest.approx(-10, abs=1e-9)
    assert (result.overlap, result.note) == (1.0, "")


def test_order_and_unit_of_the_points_do_not_matter() -> None:
    shuffled = [scaled(900.0)[i] for i in (3, 0, 6, 1, 5, 2, 4)]
    assert bd_rate([(r * 1000, q) for r, q in ANCHOR], shuffled).percent == pytest.approx(-10, abs=1e-9)


def test_swapping_the_curves_inverts_the_ratio() -> None:
    there, back = bd_rate(ANCHOR, scaled(0.8, 2.0)).percent, bd_rate(scaled(0.8, 2.0), ANCHOR).percent
    assert there is not None and back is not None
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


def test_without_a_common_interval_there_is_none_and_the_reason() -> None:
    result = bd_rate(ANCHOR, scaled(score=100.0))
    assert result.percent is None
    assert result.overlap == 0
    assert "no overlapping" in result.note


@pytest.mark.parametrize(("shift", "defined", "word"), [(25.0, False, "below 0.5"), (12.0, True, "care")])
def test_small_overlaps_are_refused_or_flagged(shift: float, defined: bool, word: str) -> None:
    span = SCORES[-1] - SCORES[0]
    result = bd_rate(ANCHOR, scaled(score=shift))
    assert result.overlap == pytest.approx((span - shift) / (span + shift))
    assert (result.percent is not None) is defined
    assert word in result.note


def test_scores_that_stick_at_the_top_are_left_out() -> None:
    clipped = [(r, min(q + 15, 100.0)) for r, q in ANCHOR]
    result = bd_rate(ANCHOR, clipped)
    assert result.percent is not None and math.isfinite(result.percent)
    assert "2 of 7 test points" in result.note


def test_too_few_points_are_refused() -> None:
    result = bd_rate(ANCHOR, scaled(0.9)[:3])
    assert result.percent is None
    assert "3 usable points of 4" in result.note


def test_nothing_at_all_is_refused() -> None:
    assert bd_rate([], []).percent is None


def test_the_front_drops_points_that_cost_more_without_being_better() -> None:
    curve = [(100.0, 50.0), (200.0, 49.0), (200.0, 60.0), (300.0, 60.0), (400.0, 70.0)]
    assert pareto_front(curve) == [(100.0, 50.0), (200.0, 60.0), (400.0, 70.0)]
    assert pareto_front([(0.0, 1.0), (1.0, math.nan), (math.inf, 2.0), (2.0, 3.0)]) == [(2.0, 3.0)]
