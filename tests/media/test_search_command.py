"""`scene search` with real encoders and a real libvmaf."""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections import namedtuple
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from making import encode, make_network, make_video
from skimage import data
from sources import ffmpeg

import scene.enhance
from scene.cli import run
from scene.errors import InputError, UsageError
from scene.jobs import search as search_module
from scene.measure.score import require_ffmpeg
from scene.metrics.targets import Target
from scene.training.data.pan import pan
from scene.video.encoders.settings import EncoderSettings
from scene.video.pixel_format import frame_picture
from scene.video.source.probe import probe
from scene.video.source.samples import Span, read_samples, video_seconds

# x264 gives the same bytes each time where a row has a multiple of eight macroblocks.
SIZE = (384, 256)
FAST = ("--preset", "ultrafast")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where temporary files go; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []


def make_clip(path, *photos, frames=12, pix_fmt="yuv420p", colour_range=0, size=SIZE):
    """A slow pan over each photograph, one after the other, lossless."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.color_range = colour_range
        for photo in photos:
            for image in pan(photo, frames, *size, seed=1):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                    format=pix_fmt, dst_color_range=colour_range or None
                )
                out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mkv", data.astronaut())


def search(*arguments):
    """`scene search` in this process; the exit code."""
    return run(["search", *map(str, arguments)])


def searched(capfd, *arguments):
    """What `scene search --json` says."""
    assert search(*arguments, "--json") == 0
    return json.loads(capfd.readouterr().out)


@pytest.mark.parametrize(
    "pix_fmt,colour_range,size",
    [("yuv420p", 0, SIZE), ("yuv422p10le", 0, SIZE), ("yuv444p", 2, SIZE), ("yuv420p", 0, (257, 221))],
)
def test_rate_and_scores_are_those_of_the_encode(tmp_path, capfd, pix_fmt, colour_range, size):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), pix_fmt=pix_fmt, colour_range=colour_range, size=size)
    targets = [f"--target={t}" for t in ("vmaf-neg=85", "vmaf-v1=60", "ms-ssim=0.9", "psnr-y=20", "xpsnr-y=20")]
    # On one thread x264 does the same in a trial and in an encode.
    alone = ["--encoder-args", "threads=1"]
    found = searched(capfd, source, *targets, "--model", "none", *FAST, *alone)
    assert found["met"] and found["whole"] and found["chosen"] == "unprocessed" and found["enhanced"] is None
    assert found["rate_difference_percent"] is None
    answer = found["unprocessed"]
    assert answer["scores"]["vmaf_neg"] >= 85
    out = tmp_path / "out.mkv"
    assert encode(source, out, "--crf", answer["crf"], "--model", "none", *FAST, *alone) == 0
    capfd.readouterr()
    if size != SIZE:
        # x264 made it even, and `scene compare` wants one size.
        return
    assert run(["compare", str(source), str(out), "--json"]) == 0
    measured = json.loads(capfd.readouterr().out)["points"][0]
    for name, score in answer["scores"].items():
        assert score == pytest.approx(measured[name], abs=0.002), name
    # But for x264's message with its settings.
    message = 0.7 * 8 / (12 / 25)
    assert answer["kbps"] == pytest.approx(measured["kbps"] - message, rel=0.01)


def test_the_answer_is_the_coarsest_that_meets_and_its_command_works(clip, tmp_path, capfd):
    source = tmp_path / "it's in.mkv"
    source.write_bytes(clip.read_bytes())
    assert search(source, "--target", "vmaf-neg=88", "--model", "none", *FAST) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    crf, score = float(lines[3].split()[1]), float(lines[3].split()[-1])
    assert score >= 88
    assert lines[0] == "Reaches VMAF NEG 88."
    assert f"scene: unprocessed, CRF {crf:g}: " in err
    words = shlex.split(lines[-1])
    assert words[:3] == ["scene", "encode", str(source)]
    assert run(words[1:]) == 0
    assert (tmp_path / "it's in-x264.mkv").exists()
    # The same input gives the same answer.
    assert search(source, "--target", "vmaf-neg=88", "--model", "none", *FAST) == 0
    assert capfd.readouterr().out == out


@pytest.mark.parametrize(
    "codec,preset,step", [("x264", "ultrafast", 0.5), ("x265", "ultrafast", 0.5), ("svtav1", "12", 1)]
)
def test_a_network_is_told_every_crf(clip, tmp_path, monkeypatch, capfd, codec, preset, step):
    network = make_network(tmp_path / "same.safetensors", identity=True, quantiser=(6.0, 60.0))
    load, conditioned = scene.enhance.open_enhancer, []

    def loading(options, *, codec, crf):
        conditioned.append(crf)
        return load(options, codec=codec, crf=crf)

    monkeypatch.setattr("scene.enhance.open_enhancer", loading)
    found = searched(
        *(capfd, clip, "--target", "vmaf-neg=85", "--codec", codec, "--preset", preset),
        *("--model", network, "--device", "cpu"),
    )
    plain, enhanced = found["unprocessed"], found["enhanced"]
    # Once more for what can go wrong before work begins.
    assert sorted(conditioned[1:]) == [one["crf"] for one in enhanced["probes"]]
    assert all(one["crf"] / step == round(one["crf"] / step) for one in plain["probes"])
    assert 2 <= len(enhanced["probes"]) <= 4
    # A network that changes nothing saves nothing.
    assert {key: plain[key] for key in ("crf", "kbps", "scores")} == {
        key: enhanced[key] for key in ("crf", "kbps", "scores")
    }
    assert found["saving_percent"] == 0
    assert found["rate_difference_percent"] == {"vmaf": 0, "vmaf_neg": 0}
    assert plain["exact_kbps"] <= plain["kbps"]


def test_enhanced_pictures_are_held_against_the_source(clip, tmp_path, capfd):
    ruinous = make_network(tmp_path / "ruinous.safetensors")
    arguments = [clip, "--target", "vmaf-neg=88", *FAST, "--model", ruinous, "--device", "cpu", "--json"]
    assert search(*arguments) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["chosen"] == "unprocessed" and found["met"] and found["saving_percent"] is None
    assert found["command"][-2:] == ["--model", "none"]
    assert found["enhanced"]["missed"].startswith("VMAF NEG reaches ")
    assert "warning: enhanced pictures do not get there" in err


def test_a_rate_that_is_too_low_is_named(clip, capfd):
    arguments = [clip, "--target", "vmaf-neg=90", "--max-kbps", 400, "--model", "none", *FAST]
    assert search(*arguments) == 5
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{clip}: at 400 kbit/s VMAF NEG reaches " in err and " of 90; ask for less, or give --best-effort." in err
    reached = float(err.split("VMAF NEG reaches ")[1].split()[0])
    found = searched(capfd, *arguments, "--best-effort")
    assert not found["met"] and found["unprocessed"]["kbps"] <= 400
    # The finest CRF within the rate, a little below what its curve has at the rate.
    assert reached - 3 < found["unprocessed"]["scores"]["vmaf_neg"] <= reached
    dearer = [one["kbps"] for one in found["unprocessed"]["probes"] if one["crf"] == found["unprocessed"]["crf"] - 0.5]
    assert all(kbps > 400 for kbps in dearer)
    assert found["unprocessed"]["missed"] == f"at 400 kbit/s VMAF NEG reaches {reached:.2f} of 90"


def test_a_rate_that_is_high_enough_changes_nothing(clip, capfd):
    arguments = [clip, "--target", "vmaf-neg=85", "--model", "none", *FAST]
    free = searched(capfd, *arguments)
    bounded = searched(capfd, *arguments, "--max-kbps", free["unprocessed"]["kbps"] + 1)
    assert bounded["unprocessed"] == free["unprocessed"]
    # And one that no CRF holds.
    assert search(*arguments, "--max-kbps", 1) == 5
    assert "of 1 kbit/s are needed even at CRF 51" in capfd.readouterr().err


def test_a_quality_that_no_crf_has_is_named(clip, capfd):
    arguments = [clip, "--target", "psnr-y=60", "--target", "vmaf-neg=85", "--model", "none", "--codec", "svtav1"]
    assert search(*arguments, "--preset", 12) == 5
    err = capfd.readouterr().err
    assert "PSNR reaches " in err and " of 60 at most, at CRF 3; " in err
    found = searched(capfd, *arguments, "--preset", 12, "--best-effort")
    assert found["unprocessed"]["crf"] == 3 and found["unprocessed"]["missed"].startswith("PSNR reaches ")


def test_samples_of_a_longer_video(tmp_path, capfd):
    source = make_clip(tmp_path / "in.mkv", data.astronaut(), data.chelsea(), data.coffee(), frames=30)
    few = ["--samples", 3, "--sample-seconds", 0.4, "--target", "vmaf-neg=85", "--model", "none", *FAST]
    found = searched(capfd, source, *few)
    assert not found["whole"] and found["samples"] == 3 and found["sampled_frames"] == 30
    whole = searched(capfd, source, "--target", "vmaf-neg=85", "--model", "none", *FAST)
    assert whole["whole"] and whole["sampled_frames"] == 90
    assert found["unprocessed"]["crf"] == pytest.approx(whole["unprocessed"]["crf"], abs=1.5)
    worst = found["unprocessed"]["worst_sample"]["vmaf_neg"]
    assert worst["score"] < found["unprocessed"]["scores"]["vmaf_neg"]
    assert worst["start_s"] in {0.4, 1.6, 2.8}
    assert found["unprocessed"]["bytes"] == pytest.approx(found["unprocessed"]["kbps"] * 125 * 3.6, abs=1)
    # The fewer key frames are forced, the less the samples' own ones count.
    often, never = (searched(capfd, source, *few, f"--encoder-args=keyint={n}") for n in ("10", "infinite"))
    assert often["unprocessed"]["kbps"] > 1.2 * never["unprocessed"]["kbps"]


@pytest.mark.parametrize(
    "name,codec,options",
    [
        ("a.mkv", "libx264", {"g": "10", "bf": "2", "flags": "-cgop"}),
        ("a.mp4", "libx264", {"g": "12", "bf": "3"}),
        ("a.ts", "libx264", {"g": "10", "bf": "2"}),
        ("a.264", "libx264", {"g": "10"}),
        ("a.avi", "mpeg4", {"g": "10", "bf": "0"}),
        ("a.mkv", "ffv1", {}),
    ],
)
def test_samples_are_the_videos_own_frames(tmp_path, temporary, name, codec, options):
    source = make_video(tmp_path / name, frames=50, codec=codec, options=options)
    info = probe(source)
    assert video_seconds(info) == pytest.approx(2, abs=0.1)
    spans = [Span(Fraction(2, 5), 7), Span(Fraction(6, 5), 6), Span(Fraction(9, 5), 20)]
    samples = read_samples(info, spans, tmp_path)
    with av.open(str(source)) as file:
        shown = [[plane.copy() for plane in frame_picture(frame, info.format).planes] for frame in file.decode(video=0)]
    firsts = [round(sample.start * 25) for sample in samples]
    assert firsts == [10, 30, 45]
    for first, count, sample in zip(firsts, (7, 6, 5), samples, strict=True):
        pictures = list(sample.pictures())
        assert len(pictures) == len(sample.stamps) == count
        for frame, picture in zip(shown[first : first + count], pictures, strict=True):
            assert all(map(np.array_equal, frame, picture.planes))
        assert float(sample.seconds) == pytest.approx(count / 25, rel=0.05)


def test_chroma_may_lie_where_the_frames_say_it_does(tmp_path, temporary):
    """Motion JPEG has it in the middle of four, and says so in its frames alone."""
    source = tmp_path / "in.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", "-pix_fmt", "yuvj420p", "-c:v", "mjpeg", source)
    info = probe(source)
    assert info.format.chroma_location == "center"
    (sample,) = read_samples(info, [Span(Fraction(0), None)], tmp_path)
    assert len(sample.stamps) == 25 and sample.format == info.format


def test_a_file_without_times_is_decoded_once_from_its_beginning(tmp_path, temporary, caplog):
    caplog.set_level("INFO", "scene")
    source = make_video(tmp_path / "in.264", frames=300, codec="libx264", options={"preset": "ultrafast"})
    info = probe(source)
    assert video_seconds(info) == 12
    done = []
    spans = [Span(Fraction(52, 5), 3), Span(Fraction(58, 5), 4)]
    samples = read_samples(info, spans, tmp_path, lambda: done.append(1))
    assert caplog.text.count("seeking does not work there") == 1 and len(done) == 2
    assert [round(sample.start * 25) for sample in samples] == [260, 290]
    with av.open(str(source)) as file:
        shown = [frame.to_ndarray()[:48] for frame in file.decode(video=0)]
    for first, sample in zip((260, 290), samples, strict=True):
        for number, picture in enumerate(sample.pictures(), first):
            assert np.array_equal(shown[number], picture.planes[0])


def test_samples_keep_a_varying_frame_rate(tmp_path, temporary):
    stamps = [0, 40, 80, 200, 240, 600, 640, 700, 900, 940]
    source = make_video(tmp_path / "in.mkv", frames=10, stamps=stamps)
    (sample,) = read_samples(probe(source), [Span(Fraction(1, 5), 5)], tmp_path)
    assert [stamp - sample.stamps[0] for stamp in sample.stamps] == [0, 40, 400, 440, 500]
    assert sample.seconds == Fraction(500, 4) * 5 / 1000


def test_a_span_past_the_end_gives_nothing(tmp_path, temporary):
    info = probe(make_video(tmp_path / "in.mkv", frames=5))
    assert len(read_samples(info, [Span(Fraction(0), 2), Span(Fraction(9), 2)], tmp_path)) == 1
    with pytest.raises(InputError, match="no frame of its video"):
        read_samples(info, [Span(Fraction(9), 2)], tmp_path)


def test_a_damaged_sample_is_an_error(tmp_path, temporary):
    source = make_video(tmp_path / "in.mp4", frames=20, codec="libx264", options={"g": "20", "bf": "0"})
    with av.open(str(source)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][8]
    content = bytearray(source.read_bytes())
    content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    source.write_bytes(content)
    info = probe(source)
    assert len(read_samples(info, [Span(Fraction(0), 6)], tmp_path)) == 1
    with pytest.raises(InputError, match=r"a frame is damaged|cannot be decoded"):
        read_samples(info, [Span(Fraction(1, 5), 12)], tmp_path)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "requires an argument"),
        (["--target", "ssim=0.9"], "not a metric that can be asked for"),
        (["--target", "vmaf=120"], "out of range"),
        (["--target", "vmaf"], "not of the form METRIC=VALUE"),
        (["--target", "vmaf=90", "--target", "vmaf=95"], "twice"),
        (["--target", "vmaf=90", "--max-kbps", "0"], "--max-kbps 0 makes no sense"),
        (["--target", "vmaf=90", "--samples", "0"], "--samples must be at least 1"),
        (["--target", "vmaf=90", "--sample-seconds", "0"], "--sample-seconds must be"),
        (["--target", "vmaf=90", "--encoder-args", "qp=20"], "qp=20 leaves nothing to search"),
        (["--target", "vmaf=90", "--encoder-args", "zones=0,5,q=9"], "zones=0,5,q=9 counts frames from the beginning"),
        (["--target", "vmaf=90", "--encoder-args", "no-such=1"], "does not take this of --encoder-args"),
        (["--target", "vmaf=90", "--preset", "fastest"], "has no preset"),
        (["--target", "vmaf=90", "--model", "none", "--semantics", "none"], None),
    ],
)
def test_mistakes(clip, arguments, message, capfd):
    if message is None:
        # As `scene encode` has it: a bypass asks for no model, and so for no semantics.
        assert search(clip, *arguments, *FAST) == 0
        return
    assert search(clip, *arguments) == 2
    out, err = capfd.readouterr()
    assert out == "" and message in err and len(err.splitlines()) == 1


def test_sources_that_cannot_be_measured(tmp_path, capfd):
    small = make_clip(tmp_path / "small.mkv", data.astronaut(), frames=2, size=(320, 200))
    square = make_clip(tmp_path / "square.mkv", data.astronaut(), frames=2, size=(200, 200))
    for source, target, message in (
        (tmp_path / "none.mkv", "vmaf=90", "does not exist"),
        (
            make_video(tmp_path / "tiny.mkv", frames=2),
            "vmaf=90",
            "64x48 are too small; VMAF needs 176x176.",
        ),
        (square, "vmaf-v1=90", "200x200 are too small; VMAF v1 needs 216x176 or 176x216."),
    ):
        assert search(source, "--target", target) == 3
        assert message in capfd.readouterr().err
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(small.read_bytes()[:-1000])
    assert search(torn, "--target", "vmaf=60") == 3
    assert f"{torn} is cut short: its last 1000 bytes are missing." in capfd.readouterr().err
    rgb = make_clip(tmp_path / "rgb.mkv", data.astronaut(), frames=2, pix_fmt="gbrp10le")
    assert search(rgb, "--target", "vmaf=60") == 3
    assert "is RGB, and the metrics look at luma" in capfd.readouterr().err
    assert search(small, "--target", "vmaf=60", "--model", "none", *FAST) == 0
    assert search(small, "--target", "vmaf-v1=60", "--model", "none", *FAST) == 0


def test_what_an_encode_refuses_is_refused_before_the_search(tmp_path, capfd):
    pq = make_video(tmp_path / "pq.mkv", size=SIZE, frames=2, colour=(9, 16, 9, 1))
    refused = "8 bit with the transfer function of HDR"
    assert search(pq, "--target", "vmaf=60") == 3
    assert refused in capfd.readouterr().err
    assert encode(pq, tmp_path / "out.mkv", "--model", "none") == 3
    assert refused in capfd.readouterr().err


@pytest.mark.parametrize(
    "settings,message",
    [
        (EncoderSettings("nvenc-h264"), "cannot try codec nvenc-h264; use x264, x265 or svtav1"),
        (EncoderSettings(bitrate=500), "has no bitrate"),
        (EncoderSettings(crf=20), "finds the CRF itself"),
    ],
)
def test_settings_that_leave_nothing_to_search(clip, settings, message):
    with pytest.raises(UsageError, match=message):
        search_module.search(search_module.SearchRequest(clip, (Target("vmaf", 60),), settings=settings))


def test_no_room_is_noticed_before_work_begins(clip, monkeypatch, capfd):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    assert search(clip, "--target", "vmaf=90", "--model", "none") == 1
    assert "0.0 GB are free; set TMPDIR to a folder with more" in capfd.readouterr().err


def fake_ffmpeg(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_an_ffmpeg_without_libvmaf_is_missing(clip, tmp_path, monkeypatch, capfd):
    version = "echo ffmpeg version 1 x; case $* in *-version*) exit 0;; esac"
    for script in (f"{version}; exit 1", version, "exit 1"):
        monkeypatch.setenv("SCENE_FFMPEG", str(fake_ffmpeg(tmp_path / "ffmpeg", script)))
        assert search(clip, "--target", "vmaf=90", "--model", "none") == 6
        err = capfd.readouterr().err
        assert len(err.splitlines()) == 1 and "imageio-ffmpeg" in err


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_everything_and_leaves_nothing(clip, tmp_path, number, code):
    real = require_ffmpeg(["vmaf"], "searching").path
    started = tmp_path / "started"
    wait = f"echo $$ > {started}.part; mv {started}.part {started}; exec sleep 60"
    slow = fake_ffmpeg(tmp_path / "ffmpeg", f'case "$*" in *distorted.y4m*) {wait};; esac\nexec {real} "$@"')
    process = subprocess.Popen(
        [sys.executable, "-m", "scene", "search", str(clip), "--target", "vmaf=90", "--model", "none", *FAST],
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
