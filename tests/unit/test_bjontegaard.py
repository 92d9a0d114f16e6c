"""BD-rate and BD-quality against known answers and, on measured curves, against the `bjontegaard` package."""

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import bjontegaard
import pytest

from scene.metrics.bjontegaard import bd_quality, bd_rate, pareto_front, upper_hull

# A clip of 360 lines, x264 medium, CRF 42 to 18, as this program measured it: kbit/s and VMAF.
RATES = [61.2, 95.8, 152.7, 247.3, 405.1, 671.4, 1135.0]
SCORES = [38.91, 54.17, 67.83, 78.64, 86.75, 92.93, 97.52]
ANCHOR = list(zip(RATES, SCORES, strict=True))
Curve = list[tuple[float, float]]

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "clips" / "results.json"
METRICS = ("vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y")


def scaled(rate: float = 1.0, score: float = 0.0) -> Curve:
    return [(r * rate, q + score) for r, q in ANCHOR]


def measured_pairs() -> Iterator[tuple[Curve, Curve]]:
    """Every method's curve and its anchor's, for each clip, codec and metric of the published results."""
    curves: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for point in json.loads(RESULTS.read_text(encoding="utf-8"))["points"]:
        curves.setdefault((point["clip"], point["codec"], point["method"]), []).append(point)
    for (clip, codec, method), points in curves.items():
        if method != "none":
            for metric in METRICS:
                anchor, test = (
                    sorted((p["kbps"], p[metric]) for p in curve) for curve in (curves[clip, codec, "none"], points)
                )
                yield anchor, test


def theirs(what: str, anchor: Curve, test: Curve) -> float:
    function = {"rate": bjontegaard.bd_rate, "quality": bjontegaard.bd_psnr}[what]
    lists = (list(values) for curve in (anchor, test) for values in zip(*curve, strict=True))
    return float(function(*lists, method="pchip", min_overlap=0))


def test_both_agree_with_the_bjontegaard_package_on_measured_curves() -> None:
    rates = qualities = 0
    for anchor, test in measured_pairs():
        if pareto_front(anchor) != anchor or pareto_front(test) != test:
            continue
        rate, quality = bd_rate(anchor, test), bd_quality(anchor, test)
        if rate.percent is not None:
            assert rate.percent == pytest.approx(theirs("rate", anchor, test), rel=1e-6, abs=1e-9)
            rates += 1
        if quality.difference is not None:
            assert quality.difference == pytest.approx(theirs("quality", anchor, test), rel=1e-6, abs=1e-9)
            qualities += 1
    assert rates > 300
    assert qualities > 300


def test_what_is_refused_the_package_does_not_know_either_or_guesses() -> None:
    refused = [pair for pair in measured_pairs() if bd_rate(*pair).percent is None]
    assert refused
    for anchor, test in refused:
        result = bd_rate(anchor, test)
        assert result.note
        if result.overlap == 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert math.isnan(theirs("rate", anchor, test))


@pytest.mark.parametrize(
    "test",
    [
        scaled(0.9),
        scaled(1.1, 3.0),
        scaled(1.02, -4.0),
        [(r * (0.8 + 0.004 * q), q + 60 / q) for r, q in ANCHOR],
    ],
)
def test_agrees_with_the_bjontegaard_package(test: Curve) -> None:
    assert bd_rate(ANCHOR, test).percent == pytest.approx(theirs("rate", ANCHOR, test), rel=1e-6)
    assert bd_quality(ANCHOR, test).difference == pytest.approx(theirs("quality", ANCHOR, test), rel=1e-6)


def test_a_tenth_less_rate_is_minus_ten_percent() -> None:
    result = bd_rate(ANCHOR, scaled(0.9))
    assert result.percent == pytest.approx(-10, abs=1e-9)
    assert (result.overlap, result.note) == (1.0, "")


def test_two_points_more_at_every_rate_are_two_points() -> None:
    result = bd_quality(ANCHOR, scaled(score=2.0))
    assert result.difference == pytest.approx(2, abs=1e-9)
    assert (result.overlap, result.note) == (1.0, "")


def test_order_and_unit_of_the_points_do_not_matter() -> None:
    shuffled = [scaled(900.0, 1.0)[i] for i in (3, 0, 6, 1, 5, 2, 4)]
    bits = [(r * 1000, q) for r, q in ANCHOR]
    assert bd_rate(bits, shuffled).percent == pytest.approx(bd_rate(ANCHOR, scaled(0.9, 1.0)).percent)
    assert bd_quality(bits, shuffled).difference == pytest.approx(bd_quality(ANCHOR, scaled(0.9, 1.0)).difference)


def test_swapping_the_curves_inverts_the_ratio() -> None:
    there, back = bd_rate(ANCHOR, scaled(0.8, 2.0)).percent, bd_rate(scaled(0.8, 2.0), ANCHOR).percent
    assert there is not None and back is not None
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)
    gain, loss = bd_quality(ANCHOR, scaled(0.8, 2.0)).difference, bd_quality(scaled(0.8, 2.0), ANCHOR).difference
    assert gain is not None and loss == pytest.approx(-gain)


def test_without_a_common_interval_there_is_none_and_the_reason() -> None:
    result = bd_rate(ANCHOR, scaled(score=100.0))
    assert (result.percent, result.overlap) == (None, 0)
    assert "no overlapping quality" in result.note
    other = bd_quality(ANCHOR, scaled(rate=1000.0))
    assert (other.difference, other.overlap) == (None, 0)
    assert "no overlapping rate" in other.note


def test_where_no_score_is_common_there_is_still_a_bd_quality() -> None:
    result = bd_quality(ANCHOR, scaled(score=100.0))
    assert result.difference == pytest.approx(100)
    assert result.overlap == 1


@pytest.mark.parametrize(("shift", "defined", "word"), [(25.0, False, "below 0.5"), (12.0, True, "care")])
def test_small_overlaps_are_refused_or_flagged(shift: float, defined: bool, word: str) -> None:
    span = SCORES[-1] - SCORES[0]
    result = bd_rate(ANCHOR, scaled(score=shift))
    assert result.overlap == pytest.approx((span - shift) / (span + shift))
    assert (result.percent is not None) is defined
    assert word in result.note


@pytest.mark.parametrize(("factor", "defined", "word"), [(4.0, False, "below 0.5"), (2.0, True, "care")])
def test_overlap_of_rates_is_that_of_their_logarithms(factor: float, defined: bool, word: str) -> None:
    span, shift = math.log10(RATES[-1] / RATES[0]), math.log10(factor)
    result = bd_quality(ANCHOR, scaled(rate=factor))
    assert result.overlap == pytest.approx((span - shift) / (span + shift))
    assert (result.difference is not None) is defined
    assert word in result.note


def test_scores_that_stick_at_the_top_are_left_out() -> None:
    clipped = [(r, min(q + 15, 100.0)) for r, q in ANCHOR]
    result = bd_rate(ANCHOR, clipped)
    assert result.percent is not None and math.isfinite(result.percent)
    assert "2 of 7 test points" in result.note


def test_a_point_that_costs_more_and_scores_less_does_not_count() -> None:
    dented = [*scaled(0.9), (500.0, 60.0)]
    result = bd_rate(ANCHOR, dented)
    assert result.percent == pytest.approx(-10, abs=1e-9)
    assert result.note == "1 of 8 test points cost more without being better"
    assert bd_quality(ANCHOR, dented).difference == bd_quality(ANCHOR, scaled(0.9)).difference


def test_too_few_points_are_refused() -> None:
    result = bd_rate(ANCHOR, scaled(0.9)[:3])
    assert result.percent is None
    assert "3 usable points of 4" in result.note


def test_nothing_at_all_is_refused() -> None:
    assert bd_rate([], []).percent is None
    assert bd_quality([], []).difference is None


def test_the_front_drops_points_that_cost_more_without_being_better() -> None:
    curve = [(100.0, 50.0), (200.0, 49.0), (200.0, 60.0), (300.0, 60.0), (400.0, 70.0)]
    assert pareto_front(curve) == [(100.0, 50.0), (200.0, 60.0), (400.0, 70.0)]
    assert pareto_front([(0.0, 1.0), (1.0, math.nan), (math.inf, 2.0), (2.0, 3.0)]) == [(2.0, 3.0)]


def test_the_hull_drops_what_lies_below_a_chord_over_log_rate() -> None:
    # On the logarithm of the rate 100, 1000, 10000 are as far apart as each other.
    assert upper_hull([(100.0, 10.0), (1000.0, 19.0), (10000.0, 30.0)]) == [(100.0, 10.0), (10000.0, 30.0)]
    bent = [(100.0, 10.0), (1000.0, 21.0), (10000.0, 30.0)]
    assert upper_hull(bent) == bent
    # Dropping one point may bare another.
    curve = [(1.0, 0.0), (10.0, 9.0), (100.0, 17.0), (1000.0, 19.0), (10000.0, 100.0)]
    assert upper_hull(curve) == [(1.0, 0.0), (10000.0, 100.0)]
    assert upper_hull([(1.0, 5.0), (2.0, 4.0)]) == [(1.0, 5.0)]


def test_the_hull_changes_nothing_on_a_concave_curve() -> None:
    assert upper_hull(ANCHOR) == ANCHOR
    assert bd_rate(ANCHOR, scaled(0.9, 1.0), hull=True) == bd_rate(ANCHOR, scaled(0.9, 1.0))


def test_the_hull_is_what_a_ladder_of_two_resolutions_offers() -> None:
    # The larger picture is the worse one at low rates: below the hull of both.
    large = [(r * 1.3, q - 8000 / r) for r, q in ANCHOR]
    both = sorted(ANCHOR[:3] + large[4:])
    dented = sorted([*both, large[2], (RATES[2] * 1.05, SCORES[2] + 0.01)])
    result = bd_rate(both, dented, hull=True)
    assert result.percent == pytest.approx(bd_rate(both, both, hull=True).percent, abs=1e-9)
    assert "below the convex hull" in result.note
    assert bd_rate(both, dented).percent != pytest.approx(result.percent, abs=1e-3)
