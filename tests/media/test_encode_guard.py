"""`scene encode --guard` with real encoders and a real libvmaf: what is passed through, and what goes wrong."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from making import assert_same_pictures, assert_same_times, decoded, encode, make_network, make_video, packets
from skimage import data

from scene.errors import SceneError
from scene.jobs.guard import GUARD_METRICS, ShotProbe
from scene.measure.score import require_ffmpeg
from scene.training.data.pan import pan
from scene.video.container.writer import Writer
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.trial import try_encode
from scene.video.pixel_format import frame_picture
from scene.video.source.probe import probe

GRADIENT = np.repeat(np.repeat(np.linspace(30, 220, 640)[None, :, None], 400, 0), 3, 2).astype(np.uint8)
# x264 gives the same bytes each time where a row has a multiple of eight macroblocks.
SIZE = (384, 256)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where temporary files go; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []


def make_clip(path, *photos, frames=13, pix_fmt="yuv420p", colour_range=0):
    """A slow pan over each photograph, one after the other, lossless."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = pix_fmt
        stream.codec_context.color_range = colour_range
        for photo in photos:
            for image in pan(photo, frames, *SIZE, seed=1):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                    format=pix_fmt, dst_color_range=colour_range or None
                )
                out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.fixture
def ruinous(tmp_path):
    return make_network(tmp_path / "ruinous.safetensors")


def tags(path):
    with av.open(str(path)) as file:
        return {key.lower(): value for key, value in file.metadata.items()}


@pytest.mark.parametrize(
    "codec,pix_fmt,colour_range",
    [
        ("x264", "yuv420p", 0),
        ("x264", "yuv422p10le", 0),
        ("x265", "yuv420p12le", 0),
        ("x265", "yuv444p", 2),
        ("x264", "gray", 0),
        ("svtav1", "yuv420p10le", 0),
    ],
)
def test_a_network_that_ruins_the_picture_changes_nothing(tmp_path, ruinous, codec, pix_fmt, colour_range, capfd):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), pix_fmt=pix_fmt, colour_range=colour_range)
    preset = "10" if codec == "svtav1" else "veryfast"
    options = ["--codec", codec, "--preset", preset]
    assert encode(source, tmp_path / "plain.mkv", *options, "--model", "none") == 0
    assert encode(source, tmp_path / "guarded.mkv", *options, "--model", ruinous, "--guard") == 0
    assert_same_pictures(decoded(tmp_path / "plain.mkv"), decoded(tmp_path / "guarded.mkv"))
    err = capfd.readouterr().err
    assert "shot at frame 0: passed through (rate at equal VMAF NEG +" in err
    assert "guard: 1 of 1 shots passed through" in err
    assert "warning" not in err
    assert tags(tmp_path / "guarded.mkv")["scene"].endswith("; guard")


def test_shots_are_decided_one_by_one(tmp_path, monkeypatch, capfd):
    # The shipped model pays by some percent on a photograph with x265, and costs as much on a plain gradient.
    source = make_clip(tmp_path / "in.mkv", data.chelsea(), GRADIENT, frames=12)
    given = []

    class Watched(Writer):
        def write(self, unit):
            if unit.frame is not None:
                given.append(unit.frame.picture().planes[0].copy())
            super().write(unit)

    monkeypatch.setattr("scene.jobs.encode.Writer", Watched)
    options = ["--codec", "x265", "--model", "asconvsr", "--device", "cpu"]
    assert encode(source, tmp_path / "whole.mkv", *options) == 0
    assert encode(source, tmp_path / "guarded.mkv", *options, "--guard") == 0
    err = capfd.readouterr().err
    assert "shot at frame 0: enhanced" in err and "shot at frame 12: passed through" in err
    assert "guard: 1 of 2 shots passed through" in err
    before = decoded(source)
    assert_same_times(before, decoded(tmp_path / "guarded.mkv"))
    plain = [frame.planes[0] for frame in before]
    enhanced, guarded = given[:24], given[24:]
    assert np.array_equal(guarded[:12], enhanced[:12]) and np.array_equal(guarded[12:], plain[12:])
    assert not np.array_equal(enhanced[:12], plain[:12]) and not np.array_equal(enhanced[12:], plain[12:])


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_other_tracks_stay_as_they_are(tmp_path, ruinous, suffix):
    source = make_video(tmp_path / f"in.{suffix}", size=(256, 192), frames=20, codec="libx264", audio="aac")
    for name, options in (("plain", []), ("guarded", ["--guard"])):
        assert encode(source, tmp_path / f"{name}.{suffix}", "--model", ruinous, "--preset", "ultrafast", *options) == 0
    plain, guarded = (tmp_path / f"{name}.{suffix}" for name in ("plain", "guarded"))
    assert packets(source, "audio") == packets(guarded, "audio") == packets(plain, "audio")
    assert_same_times(decoded(source), decoded(guarded))


def test_a_lossless_encode_has_nothing_to_gain(tmp_path, ruinous, capfd):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), frames=3)
    assert encode(source, tmp_path / "out.mkv", "--encoder-args", "qp=0", "--model", ruinous, "--guard") == 0
    assert "passed through (no metric tells)" in capfd.readouterr().err
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


def test_the_log_is_json_where_that_is_asked_for(tmp_path, ruinous, capfd):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), frames=3)
    arguments = ["--model", ruinous, "--guard", "--log-format", "json", "--preset", "ultrafast"]
    assert encode(source, tmp_path / "out.mkv", *arguments) == 0
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert any(line.get("message", "").startswith("shot at frame 0: passed through") for line in lines)


def test_a_guard_without_a_model_is_a_mistake(tmp_path, ruinous, capfd):
    source = make_video(tmp_path / "in.mkv", frames=2)
    for bypass in (["--model", "none"], ["--model", ruinous, "--strength", 0]):
        assert encode(source, tmp_path / "out.mkv", "--guard", *bypass) == 2
        assert "--guard has nothing to decide" in capfd.readouterr().err
    assert not (tmp_path / "out.mkv").exists()


def test_parameters_that_number_frames_are_refused(tmp_path, ruinous, capfd):
    source = make_clip(tmp_path / "in.mkv", data.astronaut())
    numbering = ["--encoder-args", "zones=0,5,q=9", "--model", ruinous]
    assert encode(source, tmp_path / "out.mkv", *numbering, "--guard") == 2
    assert "zones=0,5,q=9 counts frames from the beginning of the video" in capfd.readouterr().err
    assert encode(source, tmp_path / "out.mkv", *numbering) == 0


def test_small_pictures_are_enhanced_with_a_warning(tmp_path, ruinous, capfd):
    source = make_video(tmp_path / "in.mkv", frames=3)
    lossless = ["--encoder-args", "qp=0", "--model", ruinous]
    assert encode(source, tmp_path / "plain.mkv", *lossless) == 0
    assert encode(source, tmp_path / "guarded.mkv", *lossless, "--guard") == 0
    err = capfd.readouterr().err
    assert "too small to be probed" in err and "shots passed through" not in err
    assert_same_pictures(decoded(tmp_path / "plain.mkv"), decoded(tmp_path / "guarded.mkv"))
    assert "guard" not in tags(tmp_path / "guarded.mkv")["scene"]


def fake_ffmpeg(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_an_ffmpeg_without_libvmaf_is_refused_before_work_begins(tmp_path, ruinous, monkeypatch, capfd):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), frames=2)
    version = "echo ffmpeg version 1 x; case $* in *-version*) exit 0;; esac"
    for script in (f"{version}; exit 1", version, "exit 1"):
        monkeypatch.setenv("SCENE_FFMPEG", str(fake_ffmpeg(tmp_path / "ffmpeg", script)))
        assert encode(source, tmp_path / "out.mkv", "--model", ruinous, "--guard") == 6
        err = capfd.readouterr().err
        assert len(err.splitlines()) == 1 and "imageio-ffmpeg" in err and "$SCENE_FFMPEG" in err
        assert not (tmp_path / "out.mkv").exists()


def real_until(tmp_path, then):
    """An ffmpeg that answers the guard's trial, and does something else with any picture of a video."""
    real = require_ffmpeg(GUARD_METRICS, "the guard").path
    return fake_ffmpeg(tmp_path / "ffmpeg", f'case "$*" in *reference.y4m*) {then};; esac\nexec {real} "$@"')


def test_a_probe_that_fails_on_the_way_enhances_with_one_warning(tmp_path, ruinous, monkeypatch, capfd):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), GRADIENT, frames=4)
    monkeypatch.setenv("SCENE_FFMPEG", str(real_until(tmp_path, "echo broken >&2; exit 3")))
    lossless = ["--preset", "ultrafast", "--encoder-args", "qp=0", "--model", ruinous]
    assert encode(source, tmp_path / "plain.mkv", *lossless) == 0
    assert encode(source, tmp_path / "guarded.mkv", *lossless, "--guard") == 0
    # What is lossless wins nothing, and is not compared.
    err = capfd.readouterr().err
    assert err.count("warning: ") == err.count("broken") == 1
    assert "guard: 0 of 2 shots passed through" in err
    assert_same_pictures(decoded(tmp_path / "plain.mkv"), decoded(tmp_path / "guarded.mkv"))


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_the_probe_and_leaves_nothing(tmp_path, ruinous, temporary, number, code):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), frames=4)
    started = tmp_path / "started"
    slow = real_until(tmp_path, f"echo $$ > {started}.part; mv {started}.part {started}; exec sleep 60")
    arguments = ["encode", str(source), str(tmp_path / "out.mkv"), "--model", str(ruinous), "--guard"]
    process = subprocess.Popen(
        [sys.executable, "-m", "scene", *arguments],
        env={**os.environ, "SCENE_FFMPEG": str(slow)},
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 60
        while not started.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert not (Path("/proc") / started.read_text().strip()).exists()
    assert {path.name for path in tmp_path.iterdir()} == {source.name, ruinous.name, "ffmpeg", "started", "temporary"}


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_the_probe_measures_rates_and_scores(tmp_path, codec):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), frames=5)
    info = probe(source)
    with av.open(str(source)) as file:
        frames = list(file.decode(video=0))
    pictures = [frame_picture(frame, info.format) for frame in frames]
    stamps = [frame.pts for frame in frames]
    fine, coarse = (try_encode(pictures, stamps, EncoderSettings(codec, crf), info) for crf in (30, 40))
    assert fine.bytes > 1.3 * coarse.bytes > 1000
    errors = [
        np.mean([np.abs(luma.astype(int) - p.planes[0]).mean() for luma, p in zip(trial.lumas, pictures, strict=True)])
        for trial in (fine, coarse)
    ]
    assert 0.2 < errors[0] < errors[1] < 10
    # At either end of the range there is a CRF beside.
    for crf in (30, 50 if codec != "svtav1" else 63):
        unchanged = ShotProbe(require_ffmpeg(GUARD_METRICS, "the guard"), EncoderSettings(codec, crf), info)(
            pictures, pictures, stamps
        )
        assert len(unchanged.by_metric) >= 2
        assert not any(unchanged.by_metric.values()) and not unchanged.pays


def test_a_trial_that_the_encoder_refuses_is_an_error(tmp_path):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), frames=1)
    info = probe(source)
    with av.open(str(source)) as file:
        pictures = [frame_picture(frame, info.format) for frame in file.decode(video=0)]
        with pytest.raises(SceneError, match="a trial encode with x264 failed"):
            try_encode(pictures, [0], EncoderSettings("x264", preset="nonsense"), info)
