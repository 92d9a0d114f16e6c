"""The rule that finds a CRF, on made curves: no encoder, no video."""

import math
import random

import pytest

from scene.metrics.crf_rule import MAX_POINTS, Point, Scale, bracket, crossing, next_position

SCALE = Scale(0, 51, 0.5)


def search(*margins, scale=SCALE, start=23.0, first_step=4.0):
    """All points of a search over curves, position to margin."""
    points = []
    while (position := next_position(points, scale, start, first_step)) is not None:
        assert scale.low <= position <= scale.high
        assert (position - scale.low) / scale.step == round((position - scale.low) / scale.step)
        assert position not in [point.position for point in points]
        points.append(Point(position, tuple(margin(position) for margin in margins)))
        assert len(points) <= MAX_POINTS
    return points


def found(*margins, **options):
    below, _ = bracket(search(*margins, **options))
    return None if below is None else below.position


def vmaf(position, middle=38.0, slope=0.16):
    """A curve like an encoder's."""
    return 100 / (1 + math.exp((position - middle) * slope))


@pytest.mark.parametrize("target", [30, 60, 75, 85, 93, 96.5, 99])
@pytest.mark.parametrize("start", [14, 18, 23, 28])
def test_the_coarsest_that_meets_is_found_in_few_readings(target, start):
    best = max(p / 2 for p in range(103) if vmaf(p / 2) >= target)
    points = search(lambda p: vmaf(p) - target, start=start)
    below, above = bracket(points)
    assert below.position == best
    assert above.position == best + 0.5
    assert len(points) <= 8


def test_near_the_start_four_readings_are_enough():
    for answer in (22.7, 23.2, 23.7, 24.2, 24.7, 25.2):
        assert len(search(lambda p, answer=answer: vmaf(p) - vmaf(answer), start=23, first_step=2)) <= 4


def test_all_demands_must_hold():
    coarse, fine = (lambda p: vmaf(p) - 60), (lambda p: (vmaf(p, 33) - 93) / 100)
    assert found(coarse) > found(fine) == found(coarse, fine) == found(fine, coarse)


def test_demands_that_cross_each_other_between_two_readings():
    # At 23 the second has less room, but the first falls faster.
    points = search(lambda p: 20 - 2 * (p - 20), lambda p: 9 - 0.6 * (p - 20))
    assert bracket(points)[0].position == 30


def test_a_demand_that_nothing_meets_ends_at_the_finest():
    points = search(lambda p: vmaf(p) - 99.9)
    assert bracket(points)[0] is None
    assert min(point.position for point in points) == 0


def test_a_demand_that_everything_meets_ends_at_the_coarsest():
    points = search(lambda p: vmaf(p) + 1)
    below, above = bracket(points)
    assert below.position == 51 and above is None


def test_only_the_ends_of_the_scale_meet():
    assert found(lambda p: 0.0 if p == 0 else -1.0) == 0
    assert found(lambda p: 1.0 if p <= 50.5 else -1.0) == 50.5


@pytest.mark.parametrize("value,expected", [(1.0, 51), (-1.0, None)])
def test_a_flat_curve_leads_to_an_end(value, expected):
    points = search(lambda p: value)
    below, _ = bracket(points)
    assert (below and below.position) == expected
    assert {0: 51, 1: 0}[value < 0] in [point.position for point in points]


def test_a_cliff_is_found_by_halving():
    assert found(lambda p: 5.0 if p <= 31 else -40.0) == pytest.approx(31, abs=1)


def test_noise_gives_a_place_that_was_measured_to_meet():
    for seed in range(200):
        noise = random.Random(seed)
        curve = {p / 2: vmaf(p / 2) + noise.gauss(0, 1.5) for p in range(103)}
        points = search(lambda p, curve=curve: curve[p] - 85)
        below, _ = bracket(points)
        assert below is not None and curve[below.position] >= 85
        assert vmaf(below.position) == pytest.approx(85, abs=6)
        # All that was measured beyond it fails.
        assert all(not r.meets for r in points if r.position > below.position)


def test_a_scale_of_negative_places_finds_the_finest_within_a_rate():
    kbps = lambda crf: 8000 * 2 ** (-crf / 6)  # noqa: E731
    position = found(lambda p: math.log(1001 / kbps(-p)), scale=Scale(-51, 0, 0.5), start=-23.0)
    assert position == -18


def test_whole_steps_and_a_start_between_two_places():
    scale = Scale(1, 63, 1)
    points = search(lambda p: vmaf(p, 50, 0.1) - 90, scale=scale, start=35.7)
    assert points[0].position == 35
    assert bracket(points)[0].position == max(p for p in range(1, 64) if vmaf(p, 50, 0.1) >= 90)


def test_crossing_is_that_of_the_first_demand_to_fail():
    points = [Point(24, (-4.0, -3.0, 0.25)), Point(20, (4.0, 1.0, 0.5))]
    assert crossing(points) == pytest.approx(21)
    assert crossing([Point(20, (0.0,)), Point(21, (-1.0,))]) == pytest.approx(20)


def test_crossing_follows_the_bend_that_other_readings_show():
    points = [Point(p, (vmaf(p) - 93,)) for p in (14, 18, 23)]
    exact = 38 - math.log(93 / 7) / 0.16
    assert crossing(points) == pytest.approx(exact, abs=0.15)
    assert abs(crossing(points[1:]) - exact) > 0.3
