"""Pictures from the middle of a video become what they become within all of it."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from tiny_guided import CountingEncoder, guided, semantic_enhancer

from scene.enhance import Enhancer
from scene.model import Calibration
from scene.picture import Picture, PictureFormat
from scene.temporal import TemporalFilter
from scene.temporal.shots import ShotDetector, eight_bit_luma, thumbnail

SIZE = (96, 128)
FORMAT = PictureFormat(SIZE[1], SIZE[0])
# Lengths of shots: as long as the filter's reach, its period, and neither; the flash of one frame is two cuts.
LENGTHS = (3, 9, 1, 14, 8, 2, 11)


@pytest.fixture(scope="module")
def video() -> list[Picture]:
    """Shots of noisy pictures that move; of two that follow one another every second is bright."""
    random = np.random.default_rng(3)
    pictures = []
    for number, length in enumerate(LENGTHS):
        base = np.kron(random.integers(0, 2, (6, 8)) * 60, np.ones((SIZE[0] // 6, SIZE[1] // 8))) + 40
        for index in range(length):
            moved = np.roll(base, index, axis=1) + (80 if number % 2 else 0) + random.normal(0, 4, SIZE)
            luma = moved.round().clip(0, 255).astype(np.uint8)
            chroma = [np.full(shape, 128, np.uint8) for shape in FORMAT.plane_shapes[1:]]
            pictures.append(Picture(FORMAT, (luma, *chroma)))
    return pictures


@pytest.fixture(scope="module")
def shots(video: list[Picture]) -> list[bool]:
    detector = ShotDetector()
    found = [detector.begins(thumbnail(eight_bit_luma(picture))) for picture in video]
    # A cut right after a shot's first frame is missed, here as in an encode.
    assert [number for number, begins in enumerate(found) if begins] == [0, 3, 12, 27, 35, 37]
    return found


def shot_of(shots: list[bool], number: int) -> int:
    return max(index for index in range(number + 1) if shots[index])


def same(one: list[Picture], other: list[Picture]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


@pytest.mark.parametrize("before,after", [(2, 2), (1, 1), (2, 0)])
def test_the_temporal_filter_from_any_frame_on(
    video: list[Picture], shots: list[bool], before: int, after: int
) -> None:
    whole = list(TemporalFilter(8, before=before, after=after).stream(video))
    changed = [number for number, (a, b) in enumerate(zip(video, whole, strict=True)) if a is not b]
    assert len(changed) > 6
    for first in range(len(video)):
        part = TemporalFilter(8, before=before, after=after)
        lead, ahead = part.look_around(first - shot_of(shots, first))
        end = min(first + 7, len(video))
        begin, stop = first - lead, min(end + ahead, len(video))
        part.follow(shots[begin:stop])
        same(list(islice(part.stream(video[begin:stop]), lead, lead + end - first)), whole[first:end])


def test_a_filter_that_does_nothing_looks_at_nothing_else() -> None:
    assert TemporalFilter(0).look_around(17) == (0, 0)


ENCODER = CountingEncoder()


def enhancer(interval: int) -> Enhancer:
    made = semantic_enhancer(guided(), ENCODER, interval)
    made._temporal = TemporalFilter(8)
    return made


@pytest.mark.parametrize("interval", [0, 5])
def test_embeddings_from_any_frame_on(video: list[Picture], shots: list[bool], interval: int) -> None:
    """The embedding of the shot's first frame, and of those after it where there is an interval, are made again."""
    whole = list(enhancer(interval).stream(video))
    found = enhancer(interval).embedding_shots(video)
    assert found is not None
    embedding = list(found)
    assert sum(embedding) >= 5
    assert sum(not np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(video, whole, strict=True)) > 40
    for first in range(0, len(video), 3):
        end = min(first + 6, len(video))
        shot = shot_of(embedding, first)
        part = enhancer(interval)
        last = first if interval else min(shot + 1, first)
        if shot < last:
            lead, ahead = part.look_around(shot - shot_of(shots, shot))
            begin, stop = shot - lead, min(last + ahead, len(video))
            part.follow(shots[begin:stop], embedding[shot:last])
            part.embed(islice(part.filter_in_time(video[begin:stop]), lead, lead + last - shot))
        lead, ahead = part.look_around(first - shot_of(shots, first))
        begin, stop = first - lead, min(end + ahead, len(video))
        part.follow(shots[begin:stop], embedding[first:end])
        filtered = islice(part.filter_in_time(video[begin:stop]), lead, lead + end - first)
        same(list(part.enhance_filtered(filtered)), whole[first:end])


def test_without_embeddings_there_are_no_shots_of_them(video: list[Picture]) -> None:
    from scene.model import NetworkConfig, build_network

    plain = Enhancer(build_network(NetworkConfig(guidance="features", channels=8)), calibration=Calibration())
    assert plain.embedding_shots(video) is None
    assert plain.guide == "" and enhancer(0).guide == "test"
