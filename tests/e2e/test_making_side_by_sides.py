"""Side-by-side pictures of a real, tiny grid: equal bitrate, real pictures, made once."""

import io
import logging
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scene.evaluation.grid.grid import Grid, measure_grid
from scene.evaluation.grid.methods import parse_methods
from scene.evaluation.grid.variant import make_variant
from scene.evaluation.report.results import Report, make_report
from scene.evaluation.visuals import build
from scene.evaluation.visuals.build import make_side_by_sides
from scene.evaluation.visuals.side_by_side import SideBySide
from scene.measure.cache import PointCache
from scene.measure.clip import Recipe, open_clips
from scene.measure.encode import codec_run
from scene.measure.raw_video import RawVideo
from scene.model import NetworkConfig, build_network, save_network
from scene.progress import Progress
from scene.video.encoders import find_encoder
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.isolated import encode_isolated
from scene.video.ffmpeg import FFmpeg, ProcessError


@pytest.fixture(scope="module")
def measured(pan: Path, ffmpeg: FFmpeg, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, PointCache]:
    folder = tmp_path_factory.mktemp("slides")
    weights = folder / "tiny.safetensors"
    save_network(build_network(NetworkConfig(guidance="features", planes="luma", channels=8)), weights)
    grid = Grid(
        open_clips([pan]),
        Recipe(frames=5),
        parse_methods([str(weights), "contrast:1.1"]),
        (codec_run("x264", preset="veryfast", crfs=(24, 36, 42)), codec_run("svtav1", preset="10", crfs=(40, 55, 63))),
    )
    cache = PointCache(folder / "cache")
    return make_report(grid, measure_grid(grid, ffmpeg, cache, jobs=2), ffmpeg), cache


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; nothing may stay there."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def side_by_sides(measured: tuple[Report, PointCache], ffmpeg: FFmpeg) -> list[SideBySide]:
    report, cache = measured
    return make_side_by_sides(report, ffmpeg, cache=cache, device="cpu", jobs=2)


def picture(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def lumas(ffmpeg: FFmpeg, video: Path) -> np.ndarray:
    """The luma samples of all frames of a video 320 wide, (frames, H, 320)."""
    samples = ffmpeg.run(["-i", str(video), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]).stdout
    height = 576 if video.suffix == ".mp4" else 192
    planes = np.frombuffer(samples, np.uint8).reshape(-1, height * 320 * 3 // 2)
    return planes[:, : height * 320].reshape(-1, height, 320).astype(float)


def test_every_codec_has_a_side_by_side_of_every_method(side_by_sides: list[SideBySide]) -> None:
    assert [(shown.clip, shown.codec) for shown in side_by_sides] == [
        ("pan.y4m", "x264"),
        ("pan.y4m", "svtav1"),
    ]
    for shown in side_by_sides:
        assert [pane.label for pane in shown.panes] == ["source", "none", "tiny", "contrast:1.1"]
        assert (shown.width, shown.height) == (320, 192)
        assert 1 <= shown.frame < 5


def test_the_pictures_are_the_frames_and_their_details(side_by_sides: list[SideBySide]) -> None:
    for shown in side_by_sides:
        left, top, width, height = shown.crop
        for pane in shown.panes:
            whole, detail = picture(pane.image), picture(pane.crop)
            assert whole.shape == (192, 320, 3)
            assert detail.shape == (height, width, 3)
            # WebP is not lossless.
            assert np.abs(whole[top : top + height, left : left + width] - detail).mean() < 8
        source, plain, tiny, contrast = (picture(pane.crop) for pane in shown.panes)
        assert 0 < np.abs(source - plain).mean() < np.abs(source - contrast).mean()
        # An untrained network changes nothing, so its encode is the plain one.
        assert (plain == tiny).all()


def test_the_source_is_that_frame_of_the_clip(side_by_sides: list[SideBySide], pan: Path, ffmpeg: FFmpeg) -> None:
    shown = side_by_sides[0]
    select = f"select=eq(n\\,{shown.frame}),scale=in_color_matrix=bt601:flags=accurate_rnd+full_chroma_int"
    options = ["-vf", select, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = ffmpeg.run(["-i", str(pan), *options]).stdout
    expected = np.frombuffer(pixels, np.uint8).reshape(192, 320, 3).astype(float)
    left, top, width, height = shown.crop
    detail = expected[top : top + height, left : left + width]
    assert np.abs(detail - picture(shown.panes[0].crop)).mean() < 0.5


def test_source_codec_and_network_move_in_one_video(
    side_by_sides: list[SideBySide], pan: Path, ffmpeg: FFmpeg, tmp_path: Path
) -> None:
    for shown in side_by_sides:
        moving = shown.moving
        assert moving is not None
        assert moving.labels == ("source", "none", "tiny")
        assert (moving.width, moving.height, moving.pitch) == (320, 192, 192)
        assert (moving.first, moving.frames, moving.rate) == (0, 5, 25)
        (tmp_path / "moving.mp4").write_bytes(moving.video)
        source, plain, tiny = np.moveaxis(lumas(ffmpeg, tmp_path / "moving.mp4").reshape(5, 3, 192, 320), 1, 0)
        # Lightly compressed, and of the clip's own brightness.
        assert np.abs(source - lumas(ffmpeg, pan)[:5]).mean() < 2
        # An untrained network changes nothing, and the codec alone something.
        assert np.abs(plain - tiny).mean() < 1 < np.abs(plain - source).mean()


def test_all_have_the_bitrate_of_the_codec_alone(side_by_sides: list[SideBySide]) -> None:
    for shown in side_by_sides:
        rates = [float(pane.caption.split(" kbit/s")[0].split()[-1]) for pane in shown.panes[1:]]
        # Captions are rounded to whole kbit/s; what is further off is said.
        assert max(rates) < 1.06 * min(rates) or "bitrate" in shown.note
        assert shown.codec in shown.panes[1].caption
        assert all("VMAF NEG" in pane.caption and "MS-SSIM" in pane.caption for pane in shown.panes[1:])


def test_a_network_that_is_told_the_quantiser_is_shown_at_the_step_of_its_crf(
    pan: Path, ffmpeg: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = NetworkConfig(guidance="features", planes="luma", channels=8, quantiser=(1, 300))
    network = build_network(config, seed=1)
    with torch.no_grad():
        network.tail.weight.normal_(std=0.02, generator=torch.Generator().manual_seed(1))
    save_network(network, tmp_path / "told.safetensors")
    grid = Grid(
        open_clips([pan]),
        Recipe(frames=3),
        parse_methods([str(tmp_path / "told.safetensors")]),
        (codec_run("x264", preset="veryfast", crfs=(24, 36, 42)), codec_run("svtav1", preset="10", crfs=(40, 55, 63))),
    )
    cache = PointCache(tmp_path / "cache")
    report = make_report(grid, measure_grid(grid, ffmpeg, cache, jobs=2, device="cpu"), ffmpeg)
    conditioned: list[float] = []

    def watched(*arguments: object, **options: object) -> RawVideo:
        if options.get("step"):
            conditioned.append(options["step"])  # type: ignore[arg-type]
        return make_variant(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "make_variant", watched)
    made = make_side_by_sides(report, ffmpeg, cache=cache, device="cpu")
    assert [shown.codec for shown in made] == ["x264", "svtav1"]
    for shown in made:
        crf = float(shown.panes[2].caption.split("CRF ")[1].split()[0].rstrip(",:"))
        encoder = find_encoder(shown.codec)
        assert any(step == pytest.approx(encoder.quantiser_step(crf) * encoder.fit.step) for step in conditioned)
    # At another CRF than the one that was expected to have the rate, there is another variant.
    assert 2 <= len(conditioned) == len(set(conditioned)) <= 4


def test_side_by_sides_are_made_once(
    measured: tuple[Report, PointCache],
    side_by_sides: list[SideBySide],
    ffmpeg: FFmpeg,
    private: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr(FFmpeg, "run", forbidden)
    report, cache = measured
    readings: list[Progress] = []
    assert make_side_by_sides(report, ffmpeg, cache=cache, on_progress=readings.append) == side_by_sides
    assert [(reading.done, reading.total, reading.fields["cached"]) for reading in readings] == [(2, 2, 2)]
    assert list(private.iterdir()) == []


def test_a_side_by_side_that_cannot_be_made_loses_only_itself(
    measured: tuple[Report, PointCache],
    side_by_sides: list[SideBySide],
    ffmpeg: FFmpeg,
    tmp_path: Path,
    private: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(source: Path, stream: Path, settings: EncoderSettings, stop: threading.Event, _: object) -> float:
        if settings.codec == "svtav1":
            raise ProcessError("the process of svtav1 ended with code 9")
        return encode_isolated(source, stream, settings, stop)

    report, _ = measured
    cache = PointCache(tmp_path / "cache")
    readings: list[Progress] = []
    with caplog.at_level(logging.WARNING, "scene"), monkeypatch.context() as patch:
        patch.setattr(build, "encode_isolated", broken)
        made = make_side_by_sides(report, ffmpeg, cache=cache, device="cpu", on_progress=readings.append)
    assert made == side_by_sides[:1]
    assert "pan.y4m, svtav1: no side-by-side picture (the process of svtav1 ended with code 9" in caplog.text
    assert readings[-1].done == readings[-1].total == 2
    assert list(private.iterdir()) == []
    # The next call makes what is missing, and only that.
    assert make_side_by_sides(report, ffmpeg, cache=cache, device="cpu") == side_by_sides


def test_an_interruption_kills_encoders_and_leaves_nothing_behind(
    measured: tuple[Report, PointCache],
    ffmpeg: FFmpeg,
    tmp_path: Path,
    private: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = tmp_path / "started"

    def hanging(source: Path, stream: Path, settings: EncoderSettings, stop: threading.Event, _: object) -> float:
        if settings.codec == "svtav1":
            # Its process waits for somebody who writes into it.
            source = tmp_path / "pipe.y4m"
            os.mkfifo(source)
            started.touch()
        return encode_isolated(source, stream, settings, stop)

    monkeypatch.setattr(build, "encode_isolated", hanging)

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        # Not `_thread.interrupt_main`, which does not wake a main thread that waits for a lock.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    report, _ = measured
    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        make_side_by_sides(report, ffmpeg, cache=PointCache(tmp_path / "cache"), device="cpu", jobs=2)
    watcher.join()
    assert started.exists()
    assert list(private.iterdir()) == []


def test_a_clip_that_is_gone_has_no_side_by_sides(
    measured: tuple[Report, PointCache], ffmpeg: FFmpeg, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report, _ = measured
    (clip,) = report.grid.clips
    gone = replace(clip, path=tmp_path / "gone.y4m")
    lost = replace(report, grid=replace(report.grid, clips=(gone,)))
    with caplog.at_level(logging.WARNING, "scene"):
        assert make_side_by_sides(lost, ffmpeg, cache=PointCache(tmp_path / "cache")) == []
    assert "pan.y4m: no side-by-side picture (pan.y4m cannot be decoded" in caplog.text


def test_the_codec_alone_is_shown_beside_the_source(
    measured: tuple[Report, PointCache], ffmpeg: FFmpeg, tmp_path: Path
) -> None:
    report, _ = measured
    run = report.grid.codecs[0]
    grid = replace(report.grid, methods=report.grid.methods[:1], codecs=(run,))
    made = make_side_by_sides(replace(report, grid=grid), ffmpeg, cache=PointCache(tmp_path / "cache"))
    assert [[pane.label for pane in shown.panes] for shown in made] == [["source", "none"]]
