"""`scene filter`: what comes out of a pipe or a file, in both forms."""

import contextlib
import io
import os
import tempfile
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from making import assert_same_pictures, assert_same_times, decoded, make_network, make_video

import scene
from scene.cli import run as run_command
from scene.enhance import Enhancer
from scene.model import load_model
from scene.video.ffmpeg import find_ffmpeg
from scene.video.rawvideo.y4m import read_frames, read_header

FORMATS = ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "yuv422p12le", "yuv444p10le", "gray12le"]


@contextlib.contextmanager
def standard_streams(source, destination):
    """Both descriptors are others for a while."""
    kept = os.dup(0), os.dup(1)
    try:
        os.dup2(source, 0)
        os.dup2(destination, 1)
        yield
    finally:
        for own, descriptor in zip(kept, (0, 1), strict=True):
            os.dup2(own, descriptor)
            os.close(own)


@pytest.fixture
def through(capfd):
    """A function: what `scene filter - - ...` makes of bytes, and its messages beside."""

    def run(data, *arguments, code=0):
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as destination:
            source.write(data)
            source.flush()
            source.seek(0)
            with standard_streams(source.fileno(), destination.fileno()):
                got = run_command(["filter", "-", "-", *map(str, arguments)])
            messages = capfd.readouterr().err
            assert got == code, messages
            assert "Traceback" not in messages and "\x1b" not in messages
            destination.seek(0)
            return destination.read(), messages

    return run


def raw(source, form, *arguments):
    """A video as ffmpeg pipes it."""
    ffmpeg = find_ffmpeg()
    options = (
        ["-f", "yuv4mpegpipe", "-strict", "-1"]
        if form == "y4m"
        else ["-c:v", "rawvideo", "-enc_time_base", "1:1000", "-f", "nut"]
    )
    return ffmpeg.run(
        ["-i", str(source), "-map", "0:v", "-fps_mode", "passthrough", "-copyts", *arguments, *options, "-"]
    ).stdout


@pytest.fixture
def clip(tmp_path):
    return make_video(tmp_path / "in.mkv", size=(66, 50), frames=5)


@pytest.mark.parametrize("bypass", ["none", "identity"])
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_y4m_comes_out_byte_by_byte(tmp_path, pix_fmt, bypass, through):
    source = make_video(tmp_path / "in.mkv", size=(33, 17), pix_fmt=pix_fmt, frames=3)
    model = "none" if bypass == "none" else make_network(tmp_path / "net.safetensors", identity=True)
    data = raw(source, "y4m")
    out, messages = through(data, "--model", model)
    assert out == data
    assert "3 frames" in messages


@pytest.mark.parametrize("bypass", ["none", "identity"])
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_nut_keeps_pictures_and_times(tmp_path, pix_fmt, bypass, through):
    stamps = [0, 40, 50, 170, 1000]
    source = make_video(tmp_path / "in.mkv", size=(33, 17), pix_fmt=pix_fmt, stamps=stamps)
    model = "none" if bypass == "none" else make_network(tmp_path / "net.safetensors", identity=True)
    before, after = tmp_path / "before.nut", tmp_path / "after.nut"
    before.write_bytes(raw(source, "nut", "-vf", "setsar=4/3"))
    out, messages = through(before.read_bytes(), "--model", model)
    after.write_bytes(out)
    assert_same_pictures(decoded(before), decoded(after))
    assert_same_times(decoded(before), decoded(after), tick=Fraction(0))
    with av.open(str(after)) as file:
        assert file.streams.video[0].codec_context.pix_fmt == pix_fmt
    assert "sample aspect ratio of 4:3 cannot be written to nut" in messages


@pytest.mark.parametrize("form", ["y4m", "nut"])
def test_the_network_is_that_of_an_encode(tmp_path, clip, form, through):
    weights = make_network(tmp_path / "net.safetensors")
    out, _ = through(raw(clip, form), "--model", weights, "--format", "y4m", "--strength", "0.7")
    stream = io.BytesIO(out)
    header = read_header(stream)
    filtered = list(read_frames(stream, header))
    enhancer = Enhancer(load_model(str(weights)), strength=0.7)
    stream = io.BytesIO(raw(clip, "y4m"))
    source = list(read_frames(stream, read_header(stream)))
    expected = [enhancer([picture])[0] for picture in source]
    assert len(filtered) == 5
    for got, want, plain in zip(filtered, expected, source, strict=True):
        assert np.abs(got.planes[0].astype(int) - want.planes[0]).max() <= 1
        assert not np.array_equal(got.planes[0], plain.planes[0])
        assert np.array_equal(got.planes[1], plain.planes[1])


def test_a_model_that_is_told_the_quantiser_needs_the_crf(tmp_path, clip, through):
    weights = make_network(tmp_path / "net.safetensors", quantiser=(4.0, 80.0))
    data = raw(clip, "y4m")
    out, messages = through(data, "--model", weights, code=2)
    assert out == b"" and "give --codec and --crf" in messages
    fine, _ = through(data, "--model", weights, "--crf", "20")
    coarse, _ = through(data, "--model", weights, "--crf", "40")
    other, _ = through(data, "--model", weights, "--crf", "40", "--codec", "svtav1")
    assert len({data, fine, coarse, other}) == 4


@pytest.mark.parametrize(
    "line",
    [
        b"W16 H16 F25:1 Ip A1:1 C420jpeg",
        b"W16 H16 F30000:1001 A128:117 C420paldv XYSCSS=420PALDV XFUTURE=1",
        b"W16 H16 F25:1 I? XCOLORRANGE=FULL",
        b"W16 H16 F24:1 Cmono",
        b"H16 W16 C420p12 F24:1",
        b"W16 H16 F0:0 Ip A0:0 C420",
        b"W16 H16 Ip A1:1 C420jpeg",
    ],
)
@pytest.mark.parametrize("model", ["none", "some"])
def test_headers_and_frame_parameters_are_kept(tmp_path, line, model, through):
    weights = "none" if model == "none" else make_network(tmp_path / "net.safetensors")
    chroma = 0 if b"mono" in line else 128
    size = (256 + chroma) * (2 if b"p12" in line else 1)
    frame = b"FRAME XNOTE=a b\n" + bytes(range(128)) * (size // 128)
    data = b"YUV4MPEG2 " + line + b"\n" + frame * 2
    out, _ = through(data, "--model", weights)
    assert out.splitlines()[0] == b"YUV4MPEG2 " + line
    assert out.count(b"FRAME XNOTE=a b\n") == 2 and len(out) == len(data)
    assert (out == data) == (model == "none")


@pytest.mark.parametrize("rate", [b" F0:0", b""])
def test_a_header_without_a_rate_is_taken_as_ffmpeg_takes_it(tmp_path, capfd, rate, through):
    """In nut, which needs one, and by an encode; y4m keeps its header, and there is nothing to say."""
    data = b"YUV4MPEG2 W64 H48" + rate + b" Ip C420\n" + (b"FRAME\n" + bytes(64 * 48 * 3 // 2)) * 3
    assert "frame rate" not in through(data, "--model", "none")[1]
    out, said = through(data, "--model", "none", "--format", "nut")
    assert "warning: standard input says no frame rate; it is taken for 25 frames/s." in said
    (tmp_path / "out.nut").write_bytes(out)
    (tmp_path / "in.y4m").write_bytes(data)
    times = [Fraction(n, 25) for n in range(3)]
    assert [frame.time for frame in decoded(tmp_path / "out.nut")] == times
    assert run_command(["encode", str(tmp_path / "in.y4m"), str(tmp_path / "out.mkv"), "--model", "none"]) == 0
    assert f"warning: {tmp_path / 'in.y4m'} says no frame rate" in capfd.readouterr().err
    assert [frame.time for frame in decoded(tmp_path / "out.mkv")] == times


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "standard input is empty"),
        (b"RIFF....AVI " + bytes(1000), "cannot be read as y4m or nut"),
        (b"nut/multimedia container\0" + bytes(5000), "cannot be read as y4m or nut"),
        (b"YUV4MPEG2 W65535 H65535 F25:1\nFRAME\n", "no usable width and height"),
        (b"YUV4MPEG2 W16000 H16000 F25:1\nFRAME\n", "16000x16000 are larger"),
        (b"YUV4MPEG2 W16 H16 F25:1 It\nFRAME\n", "interlaced"),
        (b"YUV4MPEG2 W16 H16 F25:1 C444alpha\nFRAME\n", "alpha"),
        (b"YUV4MPEG2 W16 H16 F25:1 C411\nFRAME\n", "C411 is not supported"),
        (b"YUV4MPEG2 W16 H16 F25:1\n", "holds no frames"),
        (b"YUV4MPEG2 W16 H16 F25:1\n" + b"FRAME\n" + bytes(384) + b"FRAME\n" + bytes(100), "after 1 frames"),
        (b"YUV4MPEG2 W16 H16 F25:1\n" + b"FRAME\n" + bytes(384) + b"frame\n" + bytes(384), "after 1 frames"),
    ],
)
def test_streams_that_cannot_be_read(data, said, through):
    _, messages = through(data, "--model", "none", code=3)
    (line,) = [line for line in messages.splitlines() if ": filter: " not in line]
    assert line.startswith("scene: standard input ") and said in line


@pytest.mark.parametrize("form", ["y4m", "nut"])
def test_a_stream_that_is_cut_short(clip, form, through):
    data = raw(clip, form)[: -2000 if form == "y4m" else -4000]
    through(data, "--model", "none", code=3)
    out, messages = through(data, "--model", "none", "--on-error", "skip", "--format", "y4m")
    stream = io.BytesIO(out)
    assert 1 <= len(list(read_frames(stream, read_header(stream)))) < 5
    assert "1 damaged places" in messages and "cut short after" in messages


def test_y4m_out_of_a_variable_rate_warns(tmp_path, through):
    source = make_video(tmp_path / "in.mkv", stamps=[500, 540, 580, 700, 740], rate=25)
    out, messages = through(raw(source, "nut"), "--model", "none", "--format", "y4m")
    assert "starts at 0.500 s" in messages
    assert "variable frame rate (first at 0.580 s)" in messages
    assert "1 of 5 frames lost their duration" in messages
    stream = io.BytesIO(out)
    assert len(list(read_frames(stream, read_header(stream)))) == 5


@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001), 60])
def test_a_constant_rate_does_not_warn(tmp_path, rate, through):
    """Also where milliseconds only come near it."""
    stamps = [round(1000 * n / rate) for n in range(12)]
    source = make_video(tmp_path / "in.mkv", stamps=stamps, rate=rate)
    assert run_command(["filter", str(source), str(tmp_path / "out.y4m"), "--model", "none"]) == 0
    data = (tmp_path / "out.y4m").read_bytes()
    assert read_header(io.BytesIO(data)).rate == rate
    _, messages = through(data, "--model", "none", "--format", "nut")
    assert "warning" not in messages


def test_what_a_file_has_and_a_pipe_cannot_carry_is_named(tmp_path, capfd):
    source = make_video(
        tmp_path / "in.mkv", audio="aac", subtitles=True, colour=(9, 16, 9, 1), pix_fmt="yuv420p10le", rotation=90
    )
    assert run_command(["filter", str(source), str(tmp_path / "out.nut"), "--model", "none"]) == 0
    said = capfd.readouterr().err
    for part in ("its audio streams", "its subtitle streams", "its rotation"):
        assert f"{part} cannot be carried by nut" in said
    assert "set them at the encoder: primaries bt2020, transfer smpte2084, matrix bt2020nc" in said
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.nut"))
    assert_same_times(decoded(source), decoded(tmp_path / "out.nut"), tick=Fraction(0))


def test_files_are_whole_or_not_there(tmp_path, clip, capfd):
    data = raw(clip, "y4m")
    (tmp_path / "cut.y4m").write_bytes(data[:-5])
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "out.y4m"
    assert run_command(["filter", str(tmp_path / "cut.y4m"), str(out), "--model", "none"]) == 3
    assert sorted(tmp_path.iterdir()) == before
    out.write_bytes(b"mine")
    assert run_command(["filter", str(clip), str(out), "--model", "none"]) == 2
    assert out.read_bytes() == b"mine"
    assert run_command(["filter", str(clip), str(out), "--model", "none", "-y"]) == 0
    assert out.read_bytes().startswith(b"YUV4MPEG2")
    assert run_command(["filter", str(out), str(out), "--model", "none", "-y"]) == 2
    assert "is the source itself" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in.mkv", "out.mkv"], "suffixes .y4m, .nut"),
        (["in.mkv", "out.nut", "--format", "y4m"], "contradict"),
        (["in.mkv", "nowhere/out.y4m"], "does not exist"),
        (["in.mkv"], "OUT"),
    ],
)
def test_arguments_that_cannot_be_meant(tmp_path, monkeypatch, capfd, clip, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert run_command(["filter", *arguments, "--model", "none"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("location", "tag"), [("left", b"C420mpeg2"), ("center", b"C420jpeg"), ("topleft", b"C420paldv")]
)
def test_where_chroma_lies_is_in_the_header(tmp_path, capfd, location, tag):
    source = tmp_path / "in.mkv"
    number = {"left": 0, "center": 1, "topleft": 2}[location]
    make_video(source, codec="libx264", options={"x264-params": f"chromaloc={number}"}, frames=2)
    assert run_command(["filter", str(source), str(tmp_path / "out.y4m"), "--model", "none"]) == 0
    assert tag in (tmp_path / "out.y4m").read_bytes().splitlines()[0].split()
    assert "chroma location" not in capfd.readouterr().err
    assert run_command(["filter", str(source), str(tmp_path / "out.nut"), "--model", "none"]) == 0
    assert ("its chroma location" in capfd.readouterr().err) == (location != "left")


def test_full_range_is_lost_in_nut(through):
    line = b"YUV4MPEG2 W16 H16 F25:1 XCOLORRANGE=FULL\nFRAME\n" + bytes(384)
    _, messages = through(line, "--model", "none", "--format", "nut")
    assert "its full range cannot be carried by nut" in messages


def test_compressed_nut_is_refused(clip, through):
    ffmpeg = find_ffmpeg()
    data = ffmpeg.run(["-i", str(clip), "-c:v", "libx264", "-f", "nut", "-"]).stdout
    _, messages = through(data, "--model", "none", code=3)
    assert "holds h264 video; send it uncompressed" in messages


@pytest.mark.parametrize(("codec", "crf"), [("x264", 52), ("x265", -1), ("svtav1", 64), ("vvenc", 64)])
def test_a_crf_that_an_encoder_does_not_have(tmp_path, clip, through, codec, crf):
    weights = make_network(tmp_path / "net.safetensors", quantiser=(4.0, 80.0))
    _, messages = through(raw(clip, "y4m"), "--model", weights, "--codec", codec, "--crf", crf, code=2)
    assert f"is not in {codec}'s range" in messages


def test_a_deadline_passes_frames_through(tmp_path, monkeypatch):
    """The real model with a delay, before a reader that gets every frame once."""
    source = make_video(tmp_path / "in.mkv", size=(64, 48), frames=40)
    real = Enhancer.__call__

    def slow(self, pictures):
        time.sleep(0.05)
        return real(self, pictures)

    monkeypatch.setattr(Enhancer, "__call__", slow)
    options = scene.EnhanceOptions(model="scene-fast")
    result = scene.filter(scene.FilterRequest(source, tmp_path / "out.y4m", options, crf=24, latency=0.1))
    before, after = decoded(source), decoded(tmp_path / "out.y4m")
    assert len(after) == result.frames == 40
    unchanged = [np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(before, after, strict=True)]
    assert 0 < result.passed == sum(unchanged) < 40
    assert run_command(["filter", str(source), str(tmp_path / "x.y4m"), "--crf", "24", "--latency", "-1"]) == 2
