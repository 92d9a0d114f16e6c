"""The filter along the motion: what it takes away, and what it must leave alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage import data, transform

from scene.picture import Picture, PictureFormat
from scene.temporal import TemporalFilter, tensor_blend
from scene.temporal.blend import Neighbour
from scene.temporal.motion import MotionEstimator, MotionField
from scene.temporal.opencv_blend import OpenCVBlend
from scene.temporal.tensor_blend import TensorBlend


@pytest.fixture(autouse=True, params=["OpenCV", "tensors"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds for both ways to reckon."""
    if request.param == "tensors":
        monkeypatch.setattr("scene.temporal.filter.OpenCVBlend", lambda: TensorBlend(torch.device("cpu")))


HEIGHT, WIDTH = 144, 208
FORMAT = PictureFormat(WIDTH, HEIGHT)
TEXTURE = np.asarray(data.astronaut()[..., 1], np.float64)
NOISE = 4.0


def window(x: float, y: float = 40, texture: npt.NDArray[Any] = TEXTURE) -> npt.NDArray[np.float64]:
    """A picture's luma: part of a photograph, moved by fractions of a sample too."""
    moved = transform.warp(texture, transform.AffineTransform(translation=(x, y)), order=3, preserve_range=True)
    return np.clip(moved[:HEIGHT, :WIDTH] * (200 / 255) + 25, 0, 255)


def pictures(lumas: Sequence[npt.NDArray[Any]], sigma: float = 0.0, fmt: PictureFormat = FORMAT) -> list[Picture]:
    random = np.random.default_rng(1)
    result = []
    for luma in lumas:
        planes = [np.clip(np.rint(luma + random.normal(0, sigma, luma.shape)), 0, 255).astype(np.uint8)]
        planes += [np.full(shape, 128, np.uint8) for shape in fmt.plane_shapes[1:]]
        result.append(Picture(fmt, tuple(planes)))
    return result


def error(picture: Picture, clean: npt.NDArray[Any]) -> float:
    return float(np.sqrt(np.mean((picture.planes[0] - clean)[8:-8, 8:-8] ** 2)))


def filtered(given: Sequence[Picture], sigma: float = 8.0, **options: Any) -> list[Picture]:
    return list(TemporalFilter(sigma, **{"period": 1, **options}).stream(given))


def counted(given: Sequence[Picture], taken: list[Picture]) -> Iterator[Picture]:
    """The pictures one by one, each noted when it is taken."""
    for picture in given:
        taken.append(picture)
        yield picture


def test_noise_of_a_static_shot_is_halved_and_a_still_picture_stays_still() -> None:
    clean = window(60)
    noisy = pictures([clean] * 7, NOISE)
    out = filtered(noisy)
    # Five frames with weights 1, 0.6, 0.6, 0.4, 0.4 leave at best 0.48 of the noise.
    assert error(out[3], clean) < 0.65 * error(noisy[3], clean)
    still = pictures([clean] * 7)
    assert all(a is b for a, b in zip(filtered(still), still, strict=True))


def test_noise_on_moving_texture_falls_and_the_texture_stays() -> None:
    lumas = [window(60 + 2.5 * n, 40 - 1.25 * n) for n in range(7)]
    noisy = pictures(lumas, NOISE)
    out = filtered(noisy)
    assert error(out[3], lumas[3]) < 0.75 * error(noisy[3], lumas[3])
    # Without noise next to nothing is there to be filtered: far less changes than noise was.
    clear = filtered(pictures(lumas))
    assert error(clear[3], lumas[3]) < 1.0


def test_only_every_so_many_frames_of_a_shot_are_filtered() -> None:
    noisy = pictures([window(60)] * 9, NOISE)
    out = filtered(noisy, period=4)
    assert [a is not b for a, b in zip(out, noisy, strict=True)] == [n % 4 == 0 for n in range(9)]


def test_nothing_crosses_a_cut_and_the_count_begins_again() -> None:
    first, second = [window(60 + n) for n in range(5)], [window(250 + n, 200)[::-1] for n in range(6)]
    given = pictures([*first, *second], NOISE)
    out = filtered(given, period=4)
    alone = filtered(given[5:], period=4)
    for ours, theirs in zip(out[5:], alone, strict=True):
        assert np.array_equal(ours.planes[0], theirs.planes[0])
    assert [a is not b for a, b in zip(out, given, strict=True)] == [n in (0, 4, 5, 9) for n in range(11)]


def test_a_flash_leaves_its_neighbours_alone() -> None:
    lumas = [window(60 + n) for n in range(7)]
    flash = [*lumas[:3], np.clip(lumas[3] + 90, 0, 255), *lumas[4:]]
    for ours, clean in zip(filtered(pictures(flash, 1.0)), flash, strict=True):
        assert error(ours, clean) < 1.3


def test_a_fade_keeps_its_brightness() -> None:
    lumas = [window(60) * (1 - 0.08 * n) for n in range(7)]
    for ours, clean in zip(filtered(pictures(lumas, 2.0)), lumas, strict=True):
        assert abs(float(np.mean(ours.planes[0] - clean))) < 0.5


def test_a_dissolve_is_no_double_picture() -> None:
    one, other = window(60), window(250, 200)[::-1]
    lumas = [one + (other - one) * n / 8 for n in range(9)]
    for ours, clean in zip(filtered(pictures(lumas, 2.0)), lumas, strict=True):
        assert error(ours, clean) < 3.0


def test_what_is_uncovered_shows_no_ghost() -> None:
    """A bright square moves fast over texture; where it was or will be, nothing of it may be seen."""
    lumas = []
    for n in range(7):
        luma = window(60)
        luma[50:90, 20 + 22 * n : 50 + 22 * n] = 235
        lumas.append(luma)
    out = filtered(pictures(lumas, 1.0), sigma=10)
    for ours, clean in zip(out, lumas, strict=True):
        assert np.percentile(np.abs(ours.planes[0] - clean)[45:95], 99.5) < 8


def test_strong_motion_that_cannot_be_followed_is_left_alone() -> None:
    random = np.random.default_rng(2)
    lumas = [random.uniform(16, 235, (HEIGHT, WIDTH)) for _ in range(5)]
    given = pictures(lumas)
    shot = TemporalFilter(8.0, period=1)
    for ours, clean in zip(shot.stream(given), lumas, strict=True):
        assert error(ours, clean) < 3


def test_causal_filtering_takes_one_frame_at_a_time_and_knows_none_to_come() -> None:
    noisy = pictures([window(60 + n) for n in range(6)], NOISE)
    taken: list[Picture] = []
    steady = TemporalFilter(8.0, after=0, period=1)
    for number, _ in enumerate(steady.stream(counted(noisy, taken)), start=1):
        assert len(taken) == number
    short = filtered(noisy[:4], after=0)
    for ours, theirs in zip(short, filtered(noisy, after=0), strict=False):
        assert np.array_equal(ours.planes[0], theirs.planes[0])


def test_two_frames_are_waited_for_and_calls_go_on_with_the_video() -> None:
    noisy = pictures([window(60 + n) for n in range(8)], NOISE)
    taken: list[Picture] = []
    for number, _ in enumerate(TemporalFilter(8.0, period=1).stream(counted(noisy, taken)), start=1):
        assert len(taken) == min(number + 2, len(noisy))
    causal = TemporalFilter(8.0, after=0, period=1)
    parts = [*causal.stream(noisy[:3]), *causal.stream(noisy[3:])]
    for ours, theirs in zip(parts, filtered(noisy, after=0), strict=True):
        assert np.array_equal(ours.planes[0], theirs.planes[0])


def test_one_neighbour_on_either_side_is_half_the_work_and_most_of_the_effect() -> None:
    clean = window(60)
    noisy = pictures([clean] * 7, NOISE)
    taken: list[Picture] = []
    single = list(TemporalFilter(8.0, before=1, after=1, period=1).stream(counted(noisy, taken)))
    # Three frames with equal weights leave at best 0.58 of the noise.
    assert error(single[3], clean) < 0.75 * error(noisy[3], clean)
    alone = list(TemporalFilter(8.0, before=1, after=1, period=1).stream(noisy[2:5]))
    assert np.array_equal(alone[1].planes[0], single[3].planes[0])
    next(iter(TemporalFilter(8.0, before=1, after=1).stream(counted(noisy, taken := []))))
    assert len(taken) == 2


def test_a_shot_that_is_said_to_begin_does() -> None:
    noisy = pictures([window(60)] * 4, NOISE)
    causal = TemporalFilter(8.0, after=0, period=1)
    list(causal.stream(noisy[:2]))
    causal.start_shot()
    assert next(causal.stream(noisy[2:])) is noisy[2]


@pytest.mark.parametrize(
    "fmt",
    [
        PictureFormat(WIDTH, HEIGHT, chroma="422"),
        PictureFormat(WIDTH, HEIGHT, 10),
        PictureFormat(WIDTH - 1, HEIGHT - 1, 10),
        PictureFormat(WIDTH, HEIGHT, 12, chroma="444", full_range=True),
        PictureFormat(WIDTH, HEIGHT, 8, chroma="444", matrix="rgb", full_range=True),
        PictureFormat(WIDTH, HEIGHT, chroma="400"),
    ],
    ids=lambda fmt: f"{fmt.matrix}-{fmt.chroma}-{fmt.bit_depth}-{fmt.width}",
)
def test_every_plane_of_every_format_is_filtered(fmt: PictureFormat) -> None:
    random = np.random.default_rng(3)
    unit = 1 << (fmt.bit_depth - 8)
    clean = [np.asarray(transform.resize(window(60), shape, preserve_range=True)) * unit for shape in fmt.plane_shapes]
    given = []
    for _ in range(5):
        planes = [np.rint(plane + random.normal(0, NOISE * unit, plane.shape)) for plane in clean]
        largest = (1 << fmt.bit_depth) - 1
        dtype = np.uint8 if fmt.bit_depth == 8 else np.uint16
        given.append(Picture(fmt, tuple(np.clip(plane, 0, largest).astype(dtype) for plane in planes)))
    out = filtered(given)
    assert [picture.format for picture in out] == [fmt] * 5
    for index, plane in enumerate(clean):
        before, after = (np.std(some[2].planes[index] - plane) for some in (given, out))
        assert out[2].planes[index].dtype == given[2].planes[index].dtype
        assert after < 0.8 * before


def test_a_colour_of_its_own_is_kept_where_luma_is_alike() -> None:
    """A red square of the background's brightness moves; the filter must not smear its colour."""
    given = []
    for n in range(5):
        (picture,) = pictures([window(60)], 0)
        random = np.random.default_rng(n)
        luma = np.clip(picture.planes[0] + random.normal(0, 3, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
        red = np.full(FORMAT.plane_shapes[1], 128, np.uint8)
        red[20:40, 10 + 12 * n : 30 + 12 * n] = 200
        given.append(Picture(FORMAT, (luma, picture.planes[1], red)))
    for ours, theirs in zip(filtered(given), given, strict=True):
        assert np.abs(ours.planes[2].astype(int) - theirs.planes[2]).max() <= 3


def test_nothing_is_done_without_sigma_strength_or_size() -> None:
    noisy = pictures([window(60)] * 5, NOISE)
    for out in (filtered(noisy, sigma=0), filtered(noisy, strength=0), filtered(noisy[:1])):
        assert all(a is b for a, b in zip(out, noisy, strict=False))
    small = [
        Picture(PictureFormat(48, 40), tuple(p[: 40 // k, : 48 // k] for p, k in zip(q.planes, (1, 2, 2), strict=True)))
        for q in noisy
    ]
    assert all(a is b for a, b in zip(filtered(small), small, strict=True))
    half, whole = filtered(noisy, strength=0.5), filtered(noisy)
    changes = [np.abs(some[2].planes[0].astype(int) - noisy[2].planes[0]).mean() for some in (half, whole)]
    assert 0.35 * changes[1] < changes[0] < 0.65 * changes[1]


@pytest.mark.parametrize(
    "options",
    [
        {"sigma": -1},
        {"sigma": np.nan},
        {"strength": 2},
        {"before": 3},
        {"before": 0},
        {"before": 1, "after": 2},
        {"period": 0},
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TemporalFilter(**{"sigma": 4.0, **options})


def test_a_clean_shot_is_seen_by_the_nearest_neighbour_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    moves = []
    for blend in (OpenCVBlend, TensorBlend):
        original = blend._estimate

        def counted_moves(self: Any, small: Any, other: Any, original: Any = original) -> Any:
            moves.append(other)
            return original(self, small, other)

        monkeypatch.setattr(blend, "_estimate", counted_moves)
    still = pictures([window(60)] * 9)
    assert all(a is b for a, b in zip(filtered(still, period=4), still, strict=True))
    assert len(moves) == 3
    filtered(pictures([window(60)] * 9, NOISE), period=4)
    assert len(moves) == 3 + 2 + 4 + 2


def test_noise_is_measured_in_codes_of_one_frame() -> None:
    random = np.random.default_rng(4)
    frames = [random.normal(0, 3, (200, 300)).astype(np.float32) for _ in range(3)]
    differences = [frames[1] - frames[0], frames[2] - frames[0]]
    assert min(OpenCVBlend().light_and_noise(one)[1] for one in differences) == pytest.approx(3, rel=0.05)
    # A fifth of a picture that moves otherwise hardly counts.
    differences[0][:40] += 50
    assert OpenCVBlend().light_and_noise(differences[0])[1] < 4.5


def test_a_neighbour_fits_by_its_own_difference_and_those_around_it() -> None:
    flat = np.full((20, 20), 6, np.float32)
    assert OpenCVBlend().fit(flat, 6.0)[10, 10] == pytest.approx(np.exp(-0.5), rel=1e-3)
    lonely = np.zeros((20, 20), np.float32)
    lonely[10, 10] = 6
    assert OpenCVBlend().fit(lonely, 6.0)[10, 10] == pytest.approx(np.exp(-0.25 * (1 + 1 / 25)), rel=1e-3)
    assert OpenCVBlend().fit(lonely, 6.0)[10, 12] == pytest.approx(np.exp(-0.25 / 25), rel=1e-3)


def test_the_same_motion_gives_the_same_picture_as_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for coordinates, which OpenCV rounds to a 32nd of a sample: by a code at most, on hardly any sample."""
    fmt = PictureFormat(WIDTH, HEIGHT, chroma="444")
    noisy = pictures([window(60 + n) for n in range(3)], NOISE, fmt)
    fields = [np.full((HEIGHT // 2, WIDTH // 2, 2), move, np.float32) for move in (0.6, -0.4)]
    found, tensors = (iter(fields) for _ in range(2))
    monkeypatch.setattr(MotionEstimator, "estimate", lambda *_: MotionField(next(found)))
    monkeypatch.setattr(tensor_blend, "estimate", lambda *_: torch.from_numpy(next(tensors)).permute(2, 0, 1)[None])
    results = []
    for blend in (OpenCVBlend(), TensorBlend(torch.device("cpu"))):
        small = [blend.small(picture.planes[0]) for picture in noisy]
        around: list[Any] = [Neighbour(noisy[n], small[n], 1) for n in (0, 2)]
        results.append(blend.blended(noisy[1], small[1], around, 8.0, 1.0))  # type: ignore[arg-type]
    for ours, theirs in zip(results[0].planes, results[1].planes, strict=True):
        difference = np.abs(ours.astype(int) - theirs)
        assert difference.max() <= 1
        assert np.mean(difference > 0) < 0.01
