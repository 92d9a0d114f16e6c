"""The rule that finds a CRF, on made curves: no encoder, no video."""

import math
import random

import pytest

from scene.jobs.crf_rule import MAX_READINGS, Reading, Scale, bracket, crossing, next_place

SCALE = Scale(0, 51, 0.5)


def search(*margins, scale=SCALE, start=23.0, way=4.0):
    """All readings of a search over curves, place to margin."""
    readings = []
    while (place := next_place(readings, scale, start, way)) is not None:
        assert scale.low <= place <= scale.high
        assert (place - scale.low) / scale.step == round((place - scale.low) / scale.step)
        assert place not in [reading.place for reading in readings]
        readings.append(Reading(place, tuple(margin(place) for margin in margins)))
        assert len(readings) <= MAX_READINGS
    return readings


def found(*margins, **options):
    below, _ = bracket(search(*margins, **options))
    return None if below is None else below.place


def vmaf(place, middle=38.0, slope=0.16):
    """A curve like an encoder's."""
    return 100 / (1 + math.exp((place - middle) * slope))


@pytest.mark.parametrize("target", [30, 60, 75, 85, 93, 96.5, 99])
@pytest.mark.parametrize("start", [14, 18, 23, 28])
def test_the_coarsest_that_meets_is_found_in_few_readings(target, start):
    best = max(p / 2 for p in range(103) if vmaf(p / 2) >= target)
    readings = search(lambda p: vmaf(p) - target, start=start)
    below, above = bracket(readings)
    assert below.place == best
    assert above.place == best + 0.5
    assert len(readings) <= 8


def test_near_the_start_four_readings_are_enough():
    for answer in (22.7, 23.2, 23.7, 24.2, 24.7, 25.2):
        assert len(search(lambda p, answer=answer: vmaf(p) - vmaf(answer), start=23, way=2)) <= 4


def test_all_demands_must_hold():
    coarse, fine = (lambda p: vmaf(p) - 60), (lambda p: (vmaf(p, 33) - 93) / 100)
    assert found(coarse) > found(fine) == found(coarse, fine) == found(fine, coarse)


def test_demands_that_cross_each_other_between_two_readings():
    # At 23 the second has less room, but the first falls faster.
    readings = search(lambda p: 20 - 2 * (p - 20), lambda p: 9 - 0.6 * (p - 20))
    assert bracket(readings)[0].place == 30


def test_a_demand_that_nothing_meets_ends_at_the_finest():
    readings = search(lambda p: vmaf(p) - 99.9)
    assert bracket(readings)[0] is None
    assert min(reading.place for reading in readings) == 0


def test_a_demand_that_everything_meets_ends_at_the_coarsest():
    readings = search(lambda p: vmaf(p) + 1)
    below, above = bracket(readings)
    assert below.place == 51 and above is None


def test_only_the_ends_of_the_scale_meet():
    assert found(lambda p: 0.0 if p == 0 else -1.0) == 0
    assert found(lambda p: 1.0 if p <= 50.5 else -1.0) == 50.5


@pytest.mark.parametrize("value,expected", [(1.0, 51), (-1.0, None)])
def test_a_flat_curve_leads_to_an_end(value, expected):
    readings = search(lambda p: value)
    below, _ = bracket(readings)
    assert (below and below.place) == expected
    assert {0: 51, 1: 0}[value < 0] in [reading.place for reading in readings]


def test_a_cliff_is_found_by_halving():
    assert found(lambda p: 5.0 if p <= 31 else -40.0) == pytest.approx(31, abs=1)


def test_noise_gives_a_place_that_was_measured_to_meet():
    for seed in range(200):
        noise = random.Random(seed)
        curve = {p / 2: vmaf(p / 2) + noise.gauss(0, 1.5) for p in range(103)}
        readings = search(lambda p, curve=curve: curve[p] - 85)
        below, _ = bracket(readings)
        assert below is not None and curve[below.place] >= 85
        assert vmaf(below.place) == pytest.approx(85, abs=6)
        # All that was measured beyond it fails.
        assert all(not r.meets for r in readings if r.place > below.place)


def test_a_scale_of_negative_places_finds_the_finest_within_a_rate():
    kbps = lambda crf: 8000 * 2 ** (-crf / 6)  # noqa: E731
    place = found(lambda p: math.log(1001 / kbps(-p)), scale=Scale(-51, 0, 0.5), start=-23.0)
    assert place == -18


def test_whole_steps_and_a_start_between_two_places():
    scale = Scale(1, 63, 1)
    readings = search(lambda p: vmaf(p, 50, 0.1) - 90, scale=scale, start=35.7)
    assert readings[0].place == 35
    assert bracket(readings)[0].place == max(p for p in range(1, 64) if vmaf(p, 50, 0.1) >= 90)


def test_crossing_is_that_of_the_first_demand_to_fail():
    readings = [Reading(24, (-4.0, -3.0, 0.25)), Reading(20, (4.0, 1.0, 0.5))]
    assert crossing(readings) == pytest.approx(21)
    assert crossing([Reading(20, (0.0,)), Reading(21, (-1.0,))]) == pytest.approx(20)


def test_crossing_follows_the_bend_that_other_readings_show():
    readings = [Reading(p, (vmaf(p) - 93,)) for p in (14, 18, 23)]
    exact = 38 - math.log(93 / 7) / 0.16
    assert crossing(readings) == pytest.approx(exact, abs=0.15)
    assert abs(crossing(readings[1:]) - exact) > 0.3
