"""Where chunks begin."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from scene.jobs.chunks.borders import chunk_starts, least_frames


def test_a_chunk_begins_with_the_first_shot_that_leaves_the_least_before_it() -> None:
    assert chunk_starts(890, [0, 90, 110, 250, 260, 500, 880], 100, 250) == [0, 110, 250, 500]


def test_the_last_chunk_is_no_shorter_than_the_others() -> None:
    # 950 would leave 50 frames, and 900 does not.
    assert chunk_starts(1000, [0, 700, 900, 950], 100, 250)[-1] == 900
    assert chunk_starts(199, [0, 50, 100, 150], 100, 250) == [0]
    assert chunk_starts(200, [0, 50, 100, 150], 100, 250) == [0, 100]
    assert chunk_starts(1, [0], 100, 250) == [0]


def test_a_long_shot_is_divided_where_the_encoder_would_put_a_key_frame() -> None:
    assert chunk_starts(2000, [0], 100, 250) == [0, 250, 500, 750, 1000, 1250, 1500, 1750]
    # As far as it can be: the beat of the shot that begins at 30.
    assert chunk_starts(900, [0, 30], 100, 250) == [0, 280, 530]
    # Without a key frame in reach, and with no more than one in the video.
    assert chunk_starts(1000, [0], 100, 600)[:2] == [0, 400]
    assert chunk_starts(1000, [0], 100, math.inf)[:2] == [0, 400]


@pytest.mark.parametrize("seed", range(20))
def test_every_chunk_has_a_length_within_bounds(seed: int) -> None:
    random = np.random.default_rng(seed)
    frames = int(random.integers(1, 5000))
    shots = sorted({0, *map(int, random.integers(0, frames, random.integers(0, 60)))})
    least = int(random.integers(8, 300))
    interval = float(random.choice([24, 250, 600, math.inf]))
    starts = chunk_starts(frames, shots, least, interval)
    assert starts[0] == 0
    lengths = np.diff([*starts, frames])
    if len(starts) > 1:
        assert lengths.min() >= least
    # The last may take in what is too short for a chunk of its own, or hold no place to be divided at.
    assert lengths.max() <= max(4 * least, 2 * least - 1)


def test_the_least_length_in_frames() -> None:
    assert least_frames(10, Fraction(24000, 1001)) == 240
    assert least_frames(0.01, Fraction(25)) == 8
