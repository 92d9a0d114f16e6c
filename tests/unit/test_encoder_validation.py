"""Validation by a real x264 and a real libvmaf on tiny clips, and what happens when it cannot be done."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from tiny_training import TINY, changed

from scene.enhance import Enhancer
from scene.enhance.colour import rgb_to_pictures
from scene.errors import MissingError, UsageError
from scene.measure.raw_video import count_raw_video
from scene.model import NetworkConfig, build_network
from scene.options import RuntimeName
from scene.picture import Picture, PictureFormat
from scene.progress import Progress
from scene.training import encoder_validation, validation
from scene.training.config import ValidationConfig
from scene.training.data.frames import FrameSource
from scene.training.data.pan import pan, spread
from scene.training.data.sources import open_source
from scene.training.encoder_validation import (
    METRICS,
    EncoderValidation,
    EncoderValidator,
    Enhance,
    MetricBdRates,
    _summarise,
)
from scene.training.validation import ProxyValidation
from scene.video.ffmpeg import FFmpeg, ProcessError

CONFIG = ValidationConfig(clips=2, frames=3, size=(216, 176), metrics=("vmaf", "ms_ssim"))
POINTS = CONFIG.clips * len(CONFIG.crf)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> FrameSource:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(photographs, name)()[:400]).save(folder / f"{name}.png")
    return open_source(folder, "images")


@pytest.fixture(scope="module")
def validator(photos: FrameSource) -> EncoderValidator:
    """Shared, so that the unprocessed clips are encoded once for all tests."""
    return EncoderValidator(photos, CONFIG)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def unchanged(pictures: list[Picture], _: float | None) -> list[Picture]:
    return pictures


def with_luma(pictures: list[Picture], gain: float) -> list[Picture]:
    changed = []
    for picture in pictures:
        luma = ((picture.planes[0].astype(float) - 128) * gain + 128).round().clip(0, 255).astype(np.uint8)
        changed.append(Picture(picture.format, (luma, *picture.planes[1:])))
    return changed


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_no_change_is_zero_and_the_unprocessed_clips_are_measured_once(
    photos: FrameSource, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validator = EncoderValidator(photos, CONFIG)
    measured = []
    measure = encoder_validation._measure_point

    def counting(*arguments: Any) -> Any:
        measured.append(arguments)
        return measure(*arguments)

    monkeypatch.setattr(encoder_validation, "_measure_point", counting)
    conditioned: list[Progress] = []
    first = validator(unchanged, on_progress=conditioned.append)
    assert len(measured) == 2 * POINTS
    assert [(p.done, p.total) for p in conditioned] == [(n + 1, 2 * POINTS) for n in range(2 * POINTS)]
    assert first == EncoderValidation(0.0, {name: MetricBdRates(0.0, 0.0, 0) for name in METRICS}, CONFIG.clips)
    assert validator(unchanged) == first
    assert len(measured) == 3 * POINTS
    assert not list(temporary.iterdir())


def test_contrast_buys_vmaf_and_the_figures_repeat(validator: EncoderValidator) -> None:
    reading, again = (validator(lambda pictures, _: with_luma(pictures, 1.05)) for _ in range(2))
    assert reading == again
    vmaf, ms_ssim = reading.metrics["vmaf"], reading.metrics["ms_ssim"]
    assert vmaf.mean is not None
    assert vmaf.worst is not None
    assert ms_ssim.mean is not None
    assert vmaf.mean < -2
    assert vmaf.mean <= vmaf.worst < 0
    assert reading.objective == pytest.approx((vmaf.mean + ms_ssim.mean) / 2)
    figures = reading.figures()
    assert figures["objective"] == reading.objective
    assert figures["bd_rate_vmaf"] == vmaf.mean
    assert set(figures) == {"objective"} | {
        f"bd_rate_{name}{suffix}" for name in METRICS for suffix in ("", "_worst", "_undefined")
    }


def test_a_network_that_is_told_the_quantiser_enhances_once_a_crf(validator: EncoderValidator) -> None:
    calls: list[float | None] = []

    def conditioned(pictures: list[Picture], step: float | None) -> list[Picture]:
        calls.append(step)
        # Only what is told of x264's CRF 32 is changed.
        return with_luma(pictures, 1.05) if step == pytest.approx(25.2, abs=0.1) else pictures

    reading = validator(conditioned, True)
    steps = [0.625 * 2 ** (crf / 6) for crf in CONFIG.crf]
    assert calls == [pytest.approx(step) for step in steps * CONFIG.clips]
    # One point of four on a better curve.
    whole = validator(lambda pictures, _: with_luma(pictures, 1.05)).metrics["vmaf"].mean
    part = reading.metrics["vmaf"].mean
    assert whole is not None and part is not None
    assert whole < part < -0.2
    calls.clear()
    validator(conditioned)
    assert calls == [None] * CONFIG.clips


@pytest.mark.parametrize("quantiser", [None, (10.0, 40.0)])
def test_a_validator_enhances_with_x264s_step_and_in_the_precision_of_the_training(
    monkeypatch: pytest.MonkeyPatch, quantiser: tuple[float, float] | None
) -> None:
    network = build_network(
        NetworkConfig(guidance="features", planes="luma", channels=8, quantiser=quantiser), seed=1
    ).eval()
    with torch.no_grad():
        network.tail.weight.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    source = rgb_to_pictures(list(pan(np.asarray(photographs.coffee()), 2, 216, 176, seed=0)), PictureFormat(216, 176))
    made: dict[float | None, list[Picture]] = {}

    class X264:
        def __init__(self, *_: object) -> None: ...

        def __call__(self, enhance: Enhance, conditioned: bool) -> EncoderValidation:
            assert conditioned is (quantiser is not None)
            for step in (10.0, 30.0) if conditioned else (None,):
                made[step] = enhance(source, step)
            return EncoderValidation(-3.0, {}, 1)

    proxy = ProxyValidation(0.0, (), 0.0, 0.0, 0.0)
    monkeypatch.setattr(validation, "EncoderValidator", X264)
    monkeypatch.setattr(validation, "ProxyValidator", lambda *_: lambda *_: proxy)
    config = changed(TINY, validation={"encode_every": 2}, run={"precision": "bfloat16"})
    validator = validation.Validator(config, None, None, None, None, torch.device("cpu"))  # type: ignore[arg-type]
    assert validator(network, 2, last=False) == validation.ValidationResult(
        proxy, EncoderValidation(-3.0, {}, 1), -3.0, True
    )
    lumas = []
    for step, pictures in made.items():
        # Only a quantiser-conditioned network is run several times, and so in bfloat16.
        runtime: RuntimeName = "torch" if step is None else "torch-bf16"
        expected = Enhancer(network, device="cpu", step=step, runtime=runtime)(source)
        assert all(np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(pictures, expected, strict=True))
        lumas.append(pictures[0].planes[0])
    assert len(lumas) == 1 or not np.array_equal(*lumas)


def test_what_is_written_is_what_scene_evaluate_reads(validator: EncoderValidator, tmp_path: Path) -> None:
    written = encoder_validation._write(tmp_path / "clip.y4m", validator._clips[0])
    assert written == count_raw_video(tmp_path / "clip.y4m", "bt709")


def test_ruined_pictures_are_never_the_best(validator: EncoderValidator) -> None:
    reading = validator(lambda pictures, _: with_luma(pictures, 0))
    assert reading.objective == math.inf
    assert reading.metrics["vmaf"] == MetricBdRates(None, None, CONFIG.clips)
    assert "objective" not in reading.figures()
    assert all(math.isfinite(value) for value in reading.figures().values())


@pytest.mark.parametrize(
    ("percents", "reading"),
    [
        ([-4.0, -2.0, -3.0], MetricBdRates(-3.0, -2.0, 0)),
        ([-4.0, 2.0, None], MetricBdRates(0.0, 2.0, 1)),
        ([-4.0, -2.0, None], MetricBdRates(-2.0, -2.0, 1)),
        ([-4.0, None], MetricBdRates(None, -4.0, 1)),
        ([None], MetricBdRates(None, None, 1)),
    ],
)
def test_a_clip_without_a_figure_never_improves_the_mean(percents: list[float | None], reading: MetricBdRates) -> None:
    assert _summarise(percents) == reading


def test_without_pyav_training_is_there_and_this_says_what_it_needs(photos: FrameSource) -> None:
    folder = Path(photos.name(0, 0)).parent
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('av', 'matplotlib'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from pathlib import Path\n"
        "from scene.errors import MissingError\n"
        "import scene.training.loop\n"
        "from scene.training.config import ValidationConfig\n"
        "from scene.training.encoder_validation import EncoderValidator\n"
        "from scene.training.data.sources import open_source\n"
        "config = ValidationConfig(clips=1, frames=2, size=(216, 176))\n"
        f"photos = open_source(Path({str(folder)!r}), 'images')\n"
        "try:\n"
        "    EncoderValidator(photos, config)\n"
        "except MissingError as error:\n"
        "    assert 'needs PyAV' in str(error), error\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_without_a_fitting_ffmpeg_nothing_begins(
    photos: FrameSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCENE_FFMPEG", str(tmp_path / "none"))
    with pytest.raises(MissingError, match=r"needs an ffmpeg with libvmaf.*SCENE_FFMPEG$"):
        EncoderValidator(photos, CONFIG)
    fake = program(tmp_path / "fake", 'test "$1" = -version || exit 8; echo "ffmpeg version 1 Copyright"')
    monkeypatch.setenv("SCENE_FFMPEG", str(fake))
    with pytest.raises(MissingError, match=r"SCENE_FFMPEG \(.*/fake: ffmpeg ended with code 8"):
        EncoderValidator(photos, CONFIG)


def test_an_interruption_kills_what_runs_and_leaves_nothing(
    validator: EncoderValidator, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        validator, "_ffmpeg", FFmpeg(program(temporary / "fake", f"touch {temporary}/began; exec sleep 60"), "1", "1")
    )
    calls = []

    def interrupted(pictures: list[Picture], _: float | None) -> list[Picture]:
        calls.append(pictures)
        if len(calls) == 2:
            while not (temporary / "began").exists():
                time.sleep(0.01)
            raise KeyboardInterrupt
        return pictures

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        validator(interrupted)
    assert time.monotonic() - began < 30
    assert {path.name for path in temporary.iterdir()} == {"fake", "began"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("validation")]
    monkeypatch.undo()
    assert validator(unchanged).objective == 0


def test_a_failing_encoder_is_an_error(
    validator: EncoderValidator, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator, "_ffmpeg", FFmpeg(program(temporary / "fake", "exit 9"), "1", "1"))
    with pytest.raises(ProcessError, match="code 9"):
        validator(unchanged)
    assert [path.name for path in temporary.iterdir()] == ["fake"]


def test_a_lost_picture_is_the_callers_mistake(validator: EncoderValidator) -> None:
    with pytest.raises(ValueError, match="as many pictures"):
        validator(lambda pictures, _: pictures[1:])


def test_clips_too_small_for_the_metrics_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 216"):
        ValidationConfig(size=(176, 176))


def test_a_pan_moves_slowly_and_the_same_way_every_time() -> None:
    photo = photographs.astronaut()
    frames = list(pan(photo, 12, 216, 176, seed=1))
    assert [(frame.shape, frame.dtype) for frame in frames] == [((176, 216, 3), np.dtype(np.uint8))] * 12
    assert all(np.array_equal(a, b) for a, b in zip(frames, pan(photo, 12, 216, 176, seed=1), strict=True))
    assert not np.array_equal(frames[0], next(pan(photo, 12, 216, 176, seed=2)))
    luma = [frame.mean(axis=2)[20:-20, 20:-20] for frame in frames]
    wide = frames[0].mean(axis=2)
    shifts = [(down, right) for down in range(-4, 5) for right in range(-4, 5)]
    nearest = min(shifts, key=lambda s: abs(wide[20 + s[0] : 156 + s[0], 20 + s[1] : 196 + s[1]] - luma[1]).mean())
    assert 1 <= math.hypot(*nearest) <= 3


def test_photographs_are_taken_evenly() -> None:
    assert spread(24, 6) == [0, 5, 9, 14, 18, 23]
    assert spread(3, 6) == [0, 1, 2]
    assert spread(5, 1) == [0]


@pytest.mark.parametrize(
    ("colour", "codes"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_colours_become_limited_range_bt709(colour: tuple[int, int, int], codes: tuple[int, int, int]) -> None:
    frame = np.full((4, 6, 3), colour, np.uint8)
    (picture,) = rgb_to_pictures([frame], PictureFormat(*frame.shape[1::-1]))
    assert [plane.shape for plane in picture.planes] == [(4, 6), (2, 3), (2, 3)]
    assert [plane.dtype for plane in picture.planes] == [np.dtype(np.uint8)] * 3
    assert [(plane.min(), plane.max()) for plane in picture.planes] == [(code, code) for code in codes]
