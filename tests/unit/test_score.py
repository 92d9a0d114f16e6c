"""Guard, search, grid and validation score the same pictures to the same numbers; and what cannot be scored."""

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from scene.errors import InputError, MissingError
from scene.jobs.guard import GUARD_METRICS
from scene.measure.point import compare
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.measure.score import require_ffmpeg, score, score_all, write_lumas
from scene.metrics.scores import FRAME_METRICS
from scene.video.ffmpeg import find_ffmpeg


@pytest.fixture
def pair(tmp_path: Path) -> tuple[RawVideo, RawVideo]:
    """A reference, and the same with noise: three pictures each."""
    random = np.random.default_rng(0)
    photo = data.camera()[:256, :256]
    lumas = [np.roll(photo, 2 * n, axis=1) for n in range(3)]
    noisy = [(luma + random.normal(0, 6, luma.shape)).clip(16, 235).astype(np.uint8) for luma in lumas]
    return write_lumas(tmp_path / "reference.y4m", lumas, 8), write_lumas(tmp_path / "distorted.y4m", noisy, 8)


def test_every_user_gets_the_same_numbers(pair: tuple[RawVideo, RawVideo], tmp_path: Path) -> None:
    reference, distorted = pair
    ffmpeg = find_ffmpeg()
    # The grid, `scene compare` and validation.
    whole = compare(ffmpeg, distorted.path, reference, folder=tmp_path)
    assert whole.scores.frames == 3 and set(whole.frames) == set(FRAME_METRICS)
    # Search.
    searched = ("vmaf", "vmaf_neg", "xpsnr_y")
    some = score(ffmpeg, distorted.path, reference.path, searched, folder=tmp_path, threads=2)
    assert dict(some.frames) == {name: whole.frames[name] for name in searched}
    # The guard scores several at once.
    first, second = score_all(ffmpeg, [distorted.path, reference.path], reference.path, GUARD_METRICS, folder=tmp_path)
    assert dict(first.means) == {name: getattr(whole.scores, name) for name in GUARD_METRICS}
    assert dict(first.frames) == {name: whole.frames[name] for name in GUARD_METRICS}
    assert second.means["ms_ssim"] == 1 > first.means["ms_ssim"]


def test_several_with_xpsnr_keep_their_own_numbers(pair: tuple[RawVideo, RawVideo], tmp_path: Path) -> None:
    reference, distorted = pair
    same, noisy = score_all(find_ffmpeg(), [reference.path, distorted.path], reference.path, folder=tmp_path)
    assert same.means["xpsnr_y"] == 100 > noisy.means["xpsnr_y"]
    assert noisy == score(find_ffmpeg(), distorted.path, reference.path, folder=tmp_path)


def test_what_is_written_is_counted_as_it_was_written(pair: tuple[RawVideo, RawVideo]) -> None:
    for video in pair:
        assert count_raw_video(video.path, "bt709") == video


def test_a_metric_that_libvmaf_left_out_is_an_error(tmp_path: Path) -> None:
    small = write_lumas(tmp_path / "small.y4m", [np.full((64, 64), 128, np.uint8)] * 2, 8)
    with pytest.raises(InputError, match=r"libvmaf's log cannot be read .*float_ms_ssim"):
        score(find_ffmpeg(), small.path, small.path, ("vmaf", "ms_ssim"), folder=tmp_path)


def test_a_program_that_cannot_score_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_ffmpeg(FRAME_METRICS, "this test").path == find_ffmpeg().path
    fake = tmp_path / "fake"
    # It ends well and scores nothing.
    fake.write_text("#!/bin/sh\necho ffmpeg version 1 x\n")
    fake.chmod(0o755)
    monkeypatch.setenv("SCENE_FFMPEG", str(fake))
    with pytest.raises(MissingError, match=r"this test needs an ffmpeg with libvmaf: .*fake: libvmaf gave no scores"):
        require_ffmpeg(["vmaf"], "this test")
    monkeypatch.setenv("SCENE_FFMPEG", str(tmp_path / "none"))
    with pytest.raises(MissingError, match=r"needs an ffmpeg with libvmaf and its model of VMAF v1: .*SCENE_FFMPEG$"):
        require_ffmpeg(GUARD_METRICS, "this test")
