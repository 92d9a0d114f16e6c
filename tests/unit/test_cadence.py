"""Semantic guidance along a video: shots, renewals, smoothing, controls, and stills that stay still."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_guided import SMALL, WIDTH, CountingEncoder, guided, picture, semantic_enhancer

from scene.benchmarks.semantics import bench_semantics
from scene.enhance import Enhancer, open_conditioner
from scene.enhance.cadence import SMOOTHING, EmbeddingCadence
from scene.errors import CheckpointError, InputError, UsageError
from scene.model import Network, Semantics
from scene.model.semantics.student import StudentConfig, StudentEncoder, save_student
from scene.picture import Picture, PictureFormat
from scene.temporal.shots import ShotDetector


def luma(value: Picture) -> torch.Tensor:
    return torch.from_numpy(value.planes[0])[None, None] / 255.0


def test_shots_begin_at_cuts_and_not_at_motion_noise_or_fades() -> None:
    detector = ShotDetector()
    still = luma(picture(0))
    assert [detector.begins(still) for _ in range(4)] == [True, False, False, False]
    assert detector.begins(luma(picture(7)))
    assert not detector.begins(luma(picture(7)))
    pan = (
        torch.from_numpy(np.random.default_rng(0).random((1, 1, 18, 64)))
        .repeat_interleave(8, 2)
        .repeat_interleave(8, 3)
    )
    detector = ShotDetector()
    found = [detector.begins(pan[..., x : x + 256]) for x in range(0, 200, 4)]
    assert found == [True] + [False] * 49
    detector = ShotDetector()
    assert [detector.begins(still * (1 - step / 40)) for step in range(30)] == [True] + [False] * 29


@pytest.mark.parametrize("length", [1, 2, 3])
def test_after_a_flash_the_shot_goes_on_and_real_cuts_are_found(length: int) -> None:
    detector = ShotDetector()
    here, flash, there = (luma(picture(seed)) for seed in (0, 7, 3))
    shown = [here] * 6 + [flash] * length + [here] * 2 + [there] * 3 + [here] * 3
    begins = [detector.begins(frame) for frame in shown]
    first = [0, 6, 6 + length, 8 + length]
    # The last cut too, though its picture was there before: it is no flash after so long.
    assert [number for number, begun in enumerate(begins) if begun] == [*first, 11 + length]


def test_flashes_in_a_row_do_not_become_the_usual_change() -> None:
    detector = ShotDetector()
    here, flash, there = (luma(picture(seed)) for seed in (0, 7, 3))
    shown = ([here] * 3 + [flash]) * 4 + [here] * 2 + [there] * 2
    begins = [detector.begins(frame) for frame in shown]
    assert [number for number, begun in enumerate(begins) if begun] == [0, 3, 4, 7, 8, 11, 12, 15, 16, 18]


def test_the_embedding_of_a_flash_does_not_outlive_it() -> None:
    network, encoder = guided(), CountingEncoder()
    run = semantic_enhancer(network, encoder, interval=0)
    frames = [picture(0)] * 4 + [picture(7)] + [picture(0)] * 4
    shown = [run([frame])[0].planes[0] for frame in frames]
    assert encoder.calls == 3
    assert all(np.array_equal(shown[0], plane) for plane in (*shown[:4], *shown[5:]))


def test_embeddings_are_renewed_at_shots_and_at_the_interval() -> None:
    cadence = EmbeddingCadence(interval=3)
    values = iter([0.0, 8.0, 16.0, 100.0, 200.0])
    frames = [picture(0)] * 7 + [picture(7)] * 4
    seen = [
        float(cadence.next(luma(frame), lambda: torch.full((1, 1, 1, 1), next(values))).flatten()) for frame in frames
    ]
    first = SMOOTHING * 8
    second = first + SMOOTHING * (16 - first)
    third = 100 + SMOOTHING * 100
    assert seen == [0, 0, 0, first, first, first, second, 100, 100, 100, third]


def test_an_interval_of_zero_renews_at_shots_alone_and_negative_ones_are_refused() -> None:
    network, encoder = guided(), CountingEncoder()
    run = semantic_enhancer(network, encoder, interval=0)
    for frame in [picture(0)] * 40 + [picture(7)] * 2:
        run([frame])
    assert encoder.calls == 2
    with pytest.raises(UsageError, match="interval"):
        EmbeddingCadence(-1)


@pytest.mark.parametrize("grid", [1, 2])
def test_a_still_clip_stays_still(grid: int) -> None:
    run = semantic_enhancer(guided(grid), CountingEncoder(), interval=2)
    still = picture(3)
    frames = [run([still])[0].planes[0] for _ in range(9)]
    assert not np.array_equal(frames[0], still.planes[0])
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


def test_what_is_done_to_a_frame_hangs_on_the_embedding() -> None:
    network = guided()
    frame = picture(3)
    results = []
    for value in (-2.0, 2.0):
        encoder = CountingEncoder()
        with torch.no_grad():
            encoder.frame_head.weight.zero_()
            encoder.frame_head.bias.copy_(torch.sign(torch.arange(WIDTH) - 5.5) * value)  # type: ignore[union-attr]
        results.append(semantic_enhancer(network, encoder)([frame])[0].planes[0])
    assert not np.array_equal(*results)


def test_batches_that_hold_a_cut_equal_single_frames() -> None:
    frames = [picture(0), picture(0), picture(7), picture(7)]
    encoder = CountingEncoder()
    single, together = semantic_enhancer(guided(), encoder), semantic_enhancer(guided(), encoder)
    one_by_one = [single([frame])[0].planes[0] for frame in frames]
    for a, b in zip(one_by_one, together(frames), strict=True):
        assert np.abs(a.astype(int) - b.planes[0].astype(int)).max() <= 1


def test_the_encoder_sees_the_whole_frame_in_rgb() -> None:
    seen = []

    class Looking(CountingEncoder):
        def forward(self, pictures: torch.Tensor, *, spatial: bool = False) -> torch.Tensor:
            seen.append(pictures)
            return super().forward(pictures, spatial=spatial)

    fmt = PictureFormat(64, 48)
    planes = (np.full((48, 64), 63, np.uint8), np.full((24, 32), 102, np.uint8), np.full((24, 32), 240, np.uint8))
    semantic_enhancer(guided(), Looking())([Picture(fmt, planes)])
    # BT.709 limited-range code values of pure red.
    assert seen[0].shape == (1, 3, 48, 64)
    torch.testing.assert_close(seen[0][0, :, 24, 32], torch.tensor([1.0, 0.0, 0.0]), atol=0.01, rtol=0)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Network, Path]:
    path = tmp_path / "student.safetensors"
    save_student(StudentEncoder(SMALL), path)
    network = guided()
    from scene.model.semantics import load_encoder

    network.semantics = Semantics(str(path), load_encoder(str(path)).identity)
    return network, path


def test_auto_takes_the_encoder_of_the_training(trained: tuple[Network, Path]) -> None:
    network, path = trained
    guide = open_conditioner(network, device="cpu")
    assert network.semantics is not None
    assert guide.identity == network.semantics.identity
    assert Enhancer(network, device="cpu")([picture(1)])
    save_student(StudentEncoder(SMALL), path, {"another": 1})
    with pytest.raises(CheckpointError, match="was trained with the semantic encoder"):
        open_conditioner(network, device="cpu")
    assert open_conditioner(network, str(path), device="cpu").encoder is not None
    path.unlink()
    with pytest.raises(InputError, match="`semantics`"):
        open_conditioner(network, device="cpu")


def test_an_embedding_and_the_quantiser_steer_side_by_side(trained: tuple[Network, Path]) -> None:
    network = guided(quantiser=(6, 60))
    network.semantics = trained[0].semantics
    lumas = [
        Enhancer(network, device="cpu", step=step, semantics=open_conditioner(network, choice, device="cpu"))(
            [picture(1)]
        )[0].planes[0]
        for step, choice in ((10, "auto"), (40, "auto"), (10, "random"))
    ]
    assert not np.array_equal(lumas[0], lumas[1]) and not np.array_equal(lumas[0], lumas[2])
    # What it costs to be steered by an embedding can be measured without an encode to come.
    result = bench_semantics(network, width=64, height=48, device="cpu", repeats=1)
    assert 0 < result.share < 1


@pytest.mark.parametrize("control", ["none", "constant", "random", "shuffled"])
def test_controls_need_no_encoder_and_repeat_themselves(trained: tuple[Network, Path], control: str) -> None:
    network, path = trained
    path.unlink()
    frame = picture(1)
    runs = [
        Enhancer(network, device="cpu", semantics=open_conditioner(network, control, device="cpu"))([frame])[0].planes[
            0
        ]
        for _ in range(2)
    ]
    assert np.array_equal(*runs)
    network.semantics = Semantics("gone", "gone@0", control)  # type: ignore[arg-type]
    assert np.array_equal(Enhancer(network, device="cpu")([frame])[0].planes[0], runs[0])


def test_encoders_that_do_not_fit_are_refused(trained: tuple[Network, Path], tmp_path: Path) -> None:
    network, _ = trained
    other = tmp_path / "other.safetensors"
    save_student(StudentEncoder(StudentConfig(16, 32, (4, 4, 8, 8), (0, 0, 1), 8)), other)
    with pytest.raises(UsageError, match="gives 16 numbers"):
        open_conditioner(network, str(other), device="cpu")
    network.semantics = None
    with pytest.raises(CheckpointError, match="does not say"):
        open_conditioner(network, device="cpu")
