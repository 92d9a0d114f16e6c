"""Flicker on made-up planes, where its value can be worked out by hand."""

import numpy as np
import pytest

from scene.metrics.flicker import BLOCK, flicker
from scene.picture import Plane

RNG = np.random.default_rng(3)
STILL = RNG.integers(60, 200, (24, 32)).astype(np.uint8)


def frames(*planes: Plane) -> list[tuple[Plane, Plane]]:
    """Pairs of one still source with each of the distorted planes."""
    return [(STILL, plane) for plane in planes]


def test_a_constant_difference_does_not_flicker() -> None:
    measured = flicker(frames(*[STILL + 9] * 5), 8)
    assert (measured.value, measured.still) == (0, 1)


def test_a_difference_that_alternates_counts_its_whole_change() -> None:
    up, down = STILL + 1, STILL - 1
    assert flicker(frames(up, down, up, down), 8).value == pytest.approx(2)
    # The sign of each pixel's change plays no part.
    pattern = np.where(np.indices(STILL.shape).sum(axis=0) % 2, 1, -1)
    checks = [(STILL + sign * pattern).astype(np.uint8) for sign in (1, -1, 1)]
    assert flicker(frames(*checks), 8).value == pytest.approx(2)


def test_a_change_once_in_three_steps_counts_a_third() -> None:
    assert flicker(frames(STILL, STILL, STILL + 6, STILL + 6), 8).value == pytest.approx(2)


def test_where_all_moves_there_is_no_value() -> None:
    moving = [np.roll(STILL, step, axis=1) for step in range(4)]
    measured = flicker([(plane, plane) for plane in moving], 8)
    assert measured.value is None
    assert measured.still < 0.001


def test_only_still_blocks_count() -> None:
    source = [STILL.copy() for _ in range(3)]
    distorted = [STILL.astype(np.int32) for _ in range(3)]
    for number in range(3):
        # The left half changes in the source and flickers by 20; the right half stands still and flickers by 4.
        source[number][:, :16] = RNG.integers(60, 200, (24, 16))
        distorted[number] = source[number].astype(np.int32)
        distorted[number][:, :16] += 20 * (number % 2)
        distorted[number][:, 16:] += 4 * (number % 2)
    measured = flicker([(s, d.astype(np.uint8)) for s, d in zip(source, distorted, strict=True)], 8)
    assert measured.value == pytest.approx(4)
    assert measured.still == pytest.approx(0.5)


def test_a_source_that_changes_by_one_code_still_stands_still() -> None:
    one, two = STILL, STILL + 1
    assert flicker([(one, one), (two, two)], 8).still == 1
    assert flicker([(one, one), (STILL + 2, STILL + 2)], 8).value is None


def test_deep_video_is_measured_in_codes_of_8_bit() -> None:
    deep = STILL.astype(np.uint16) * 4
    assert flicker([(deep, deep + 4), (deep, deep - 4), (deep, deep + 4)], 10).value == pytest.approx(2)
    # A source that changes by 4 of 1023 changes by one of 255.
    assert flicker([(deep, deep), (deep + 4, deep + 4)], 10).still == 1
    assert flicker([(deep, deep), (deep + 5, deep + 5)], 10).still == 0


def test_rows_and_columns_beyond_whole_blocks_are_left_out() -> None:
    source = np.full((BLOCK + 7, BLOCK + 7), 100, np.uint8)
    edge = source.copy()
    edge[BLOCK:] = edge[:, BLOCK:] = 200
    measured = flicker([(source, source), (source, edge)], 8)
    assert (measured.value, measured.still) == (0, 1)


def test_one_frame_has_no_flicker() -> None:
    assert flicker(frames(STILL), 8).value is None
    assert flicker([], 8).value is None


def test_codes_near_the_ends_do_not_wrap_around() -> None:
    black, white = np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
    assert flicker([(black, black), (black, white)], 8).value == pytest.approx(255)
