"""--encoder-args with the real encoders: what is taken, what is refused and by which name; NVENC without a GPU."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from making import assert_same_pictures, decoded, encode, make_network, make_video, packets
from sources import ffmpeg

from scene.errors import UsageError
from scene.video.encoders import ENCODERS
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.diagnose import reported_settings
from scene.video.encoding.plan import check_settings, plan_encode
from scene.video.encoding.session import open_encoder, ready_frame
from scene.video.source.decode import Decoder
from scene.video.source.probe import probe

_FAST = {"x264": ["--preset", "ultrafast"], "x265": ["--preset", "ultrafast"], "svtav1": ["--preset", "10"]}


@pytest.fixture
def source(tmp_path):
    return make_video(tmp_path / "in.mkv", frames=3)


def settings_of(path):
    """What the encoder of a file wrote about itself."""
    with av.open(str(path)) as file:
        # x265's is among the headers.
        headers = file.streams.video[0].codec_context.extradata or b""
        return reported_settings(bytes(next(file.demux(video=0)))) or reported_settings(headers)


@pytest.mark.parametrize(
    ("codec", "arguments", "text"),
    [
        ("x264", "bfrmes=3", "bfrmes = 3 (is bframes meant?)"),
        ("x264", "bframes=x", "bframes = x"),
        ("x264", "zones=junk", 'zones=junk of --encoder-args: invalid zone: "junk"'),
        ("x264", "ref=2:level=99", "level=99 of --encoder-args: invalid level_idc: 99"),
        ("x264", "tune=zz", "zerolatency"),
        ("x264", "crf=20", "use --crf"),
        ("x265", "b-frames=3", "is bframes meant?"),
        ("x265", "sao=maybe", "sao: maybe"),
        ("x265", "bframes=2:ctu=17", "ctu=17 of --encoder-args"),
        ("x265", "profile=zz", "profile=zz of --encoder-args"),
        ("x265", "csv=spy.csv", "writes a file"),
        ("svtav1", "nonsense=1", "nonsense: 1"),
        ("svtav1", "keyint=x", "keyint: x"),
        ("svtav1", "enable-qm=1:film-grain=99", "film-grain=99 of --encoder-args"),
        ("svtav1", "rc=1", "use --crf or --bitrate"),
    ],
)
def test_mistakes_are_named(source, tmp_path, capfd, codec, arguments, text):
    # Twice: FFmpeg's log leaves a line out that it has just said.
    for _ in range(2):
        out = tmp_path / "out.mkv"
        given = ["--model", "none", "--codec", codec, *_FAST[codec], "--encoder-args", arguments]
        assert encode(source, out, *given) == 2
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1
        assert text in lines[0]
    assert sorted(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("codec", "arguments", "expected"),
    [
        ("x264", "psy-rd=0.5,0.1:bframes=1:tune=film", {"psy-rd": "0.50:0.10", "bframes": "1"}),
        ("x264", r"deblock=-1\:2", {"deblock": "1:-1:2"}),
        ("x264", "no-deblock", {"deblock": "0:0:0"}),
        ("x264", "zones=0,1,q=20:profile=high", {"zones": "0,1,q=20"}),
        ("x265", "psy-rd=0.5:no-sao:rd=2", {"psy-rd": "0.50", "no-sao": "1", "rd": "2"}),
        ("x265", r"deblock=-1\:2:tune=grain", {"deblock": "-1:2"}),
    ],
)
def test_values_arrive(source, tmp_path, codec, arguments, expected):
    out = tmp_path / "out.mkv"
    assert encode(source, out, "--model", "none", "--codec", codec, "--encoder-args", arguments) == 0
    assert {name: settings_of(out).get(name) for name in expected} == expected


def test_numbers_that_x264_alters_in_silence_are_told(source, tmp_path, capfd):
    arguments = "bframes=99:ref=2:rc-lookahead=20"
    assert encode(source, tmp_path / "out.mkv", "--model", "none", "--encoder-args", arguments) == 0
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert warnings == ["scene: warning: x264 takes bframes=99 of --encoder-args as 16."]


def test_what_x264_says_that_it_ignores_is_told(source, tmp_path, capfd):
    assert encode(source, tmp_path / "out.mkv", "--model", "none", "--encoder-args", "vbv-maxrate=4000") == 0
    assert (
        "scene: warning: x264: VBV maxrate specified, but no bufsize, ignored." in capfd.readouterr().err.splitlines()
    )


@pytest.mark.parametrize(
    ("codec", "arguments", "crf"),
    [("x264", "qp=30", 30), ("x265", "qp=30", 30), ("svtav1", "qp=50", 50), ("x264", "", 23)],
)
def test_networks_are_told_a_constant_quantiser(source, tmp_path, monkeypatch, codec, arguments, crf):
    from scene import enhance
    from scene.video.encoders import find_encoder

    steps = []

    class Listening(enhance.Enhancer):
        def __init__(self, *args, **options):
            steps.append(options["step"])
            super().__init__(*args, **options)

    monkeypatch.setattr("scene.enhance.open.Enhancer", Listening)
    network = make_network(tmp_path / "told.safetensors", quantiser=(2, 200))
    given = ["--codec", codec, *_FAST[codec], "--encoder-args", arguments]
    assert encode(source, tmp_path / "out.mkv", "--model", network, *given) == 0
    assert steps == [find_encoder(codec).quantiser_step(crf) * find_encoder(codec).fit.step]


def _no_gpu() -> bool:
    context = av.CodecContext.create("h264_nvenc", "w")
    context.width = context.height = 256
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
    try:
        context.open()
    except av.FFmpegError:
        return True
    return False


@pytest.mark.skipif(not _no_gpu(), reason="this machine has an NVIDIA encoder")
@pytest.mark.parametrize("codec", ["nvenc-h264", "nvenc-hevc", "nvenc-av1"])
def test_nvenc_without_a_gpu(source, tmp_path, capfd, codec):
    assert encode(source, tmp_path / "out.mkv", "--model", "none", "--codec", codec) == 6
    assert f"{codec} needs an NVIDIA GPU" in capfd.readouterr().err
    assert sorted(tmp_path.iterdir()) == [source]
    # Mistakes that need no GPU come first.
    assert encode(source, tmp_path / "out.mkv", "--codec", codec, "--preset", "medium") == 2
    assert encode(source, tmp_path / "out.mkv", "--codec", codec, "--encoder-args", "cq=2") == 2
    assert encode(source, tmp_path / "out.mkv", "--codec", codec, "--crf", "0") == 2


def test_nvenc_refuses_values_before_it_looks_for_a_gpu():
    codec = ENCODERS["nvenc-hevc"]
    context = av.CodecContext.create(codec.ffmpeg_name, "w")
    context.width = context.height = 256
    context.pix_fmt, context.time_base, context.options = "yuv420p", Fraction(1, 25), {"spatial-aq": "perhaps"}
    with pytest.raises(UsageError, match='"spatial-aq" option value "perhaps"'):
        open_encoder(context, codec)


def test_ten_bits_are_interleaved_for_nvenc_without_a_change(tmp_path):
    path = make_video(tmp_path / "in.mkv", frames=1, pix_fmt="yuv420p10le")
    info = probe(path)
    encoder = av.CodecContext.create("hevc_nvenc", "w")
    encoder.width, encoder.height = 64, 48
    encoder.pix_fmt = plan_encode(EncoderSettings("nvenc-hevc"), info).pixel_format
    assert encoder.pix_fmt == "p010le"
    with Decoder(info, writable=False) as decoder:
        frame = next(unit.frame for unit in decoder.units() if unit.frame is not None)
        ready = ready_frame(frame, encoder, info)
        assert ready.format.name == "p010le"
        back = ready.reformat(format="yuv420p10le").to_ndarray()
        assert np.array_equal(back, frame.av_frame.to_ndarray())
        assert (ready.pts, ready.time_base) == (frame.av_frame.pts, info.time_base)


def test_unknown_codecs():
    with pytest.raises(UsageError, match="nvenc-av1"):
        check_settings(EncoderSettings("vp9"))


def test_a_bitrate_without_a_network_loads_no_torch(tmp_path):
    source = make_video(tmp_path / "in.mkv", frames=5)
    arguments = ["encode", str(source), str(tmp_path / "out.mkv"), "--model", "none", "--bitrate", "300"]
    code = f"import sys\nfrom scene.cli import run\nassert run({arguments!r}) == 0\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_svtav1_has_quarters_of_a_crf(tmp_path):
    """FFmpeg's own option would round them."""
    source = make_video(tmp_path / "in.mkv", frames=3, size=(128, 96))
    given = ["--model", "none", "--codec", "svtav1", "--preset", "8", "-y"]
    coded = set()
    for crf in ("20", "20.25", "20.5", "20.75", "21"):
        assert encode(source, tmp_path / "out.mkv", *given, "--crf", crf) == 0
        coded.add(b"".join(content for _, content in packets(tmp_path / "out.mkv", "video")))
    assert len(coded) == 5


def test_svtav1_is_lossless_at_crf_0(tmp_path):
    """FFmpeg's own option would take it for none, and encode at 35."""
    source = make_video(tmp_path / "in.mkv", frames=3)
    given = ["--model", "none", "--codec", "svtav1", "--preset", "8", "--crf", "0"]
    assert encode(source, tmp_path / "out.mkv", *given) == 0
    assert_same_pictures(decoded(source), decoded(tmp_path / "out.mkv"))


@pytest.mark.parametrize(
    ("crf", "preset", "text"),
    [("30.1", "8", "a multiple of 0.25"), ("2.75", "11", "give a CRF from 3"), ("0", "13", "preset below 11")],
)
def test_crfs_that_svtav1_has_not_or_breaks_at(source, tmp_path, capfd, crf, preset, text):
    out = tmp_path / "out.mkv"
    assert encode(source, out, "--model", "none", "--codec", "svtav1", "--crf", crf, "--preset", preset) == 2
    assert text in capfd.readouterr().err and not out.exists()


@pytest.mark.parametrize(("crf", "preset"), [("3", "13"), ("0.25", "10")])
def test_the_finest_crfs_of_svtav1_show_the_source(tmp_path, crf, preset):
    source = tmp_path / "in.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:d=1,noise=alls=10:allf=t", "-pix_fmt", "yuv420p", source)
    given = ["--model", "none", "--codec", "svtav1", "--crf", crf, "--preset", preset]
    assert encode(source, tmp_path / "out.mkv", *given) == 0
    for before, after in zip(decoded(source), decoded(tmp_path / "out.mkv"), strict=True):
        assert np.abs(before.planes[0].astype(int) - after.planes[0]).mean() < 2
