"""Encoder settings, tags and names: what is decided without running an encoder."""

import inspect
from fractions import Fraction
from pathlib import Path

import pytest

from scene.cli.encode import encode
from scene.errors import InputError, UsageError
from scene.jobs import EncodeRequest
from scene.picture import PictureFormat
from scene.video.encode import CODECS, EncoderSettings, StatisticsPass, encoded_size, encoder_options
from scene.video.hdr import HdrMetadata, MasteringDisplay, encoder_params
from scene.video.mux import container_of
from scene.video.pixel_format import guess_matrix, parse_pixel_format
from scene.video.probe import ColourTags, SourceInfo

DISPLAY = MasteringDisplay(
    red=(0.708, 0.292),
    green=(0.17, 0.797),
    blue=(0.131, 0.046),
    white=(0.3127, 0.329),
    min_luminance=0.0005,
    max_luminance=4000,
)


def info(hdr=None):
    return SourceInfo(
        path=Path("in.mkv"),
        stream_index=0,
        codec="h264",
        format=PictureFormat(64, 48),
        pixel_format="yuv420p",
        colour=ColourTags(2, 2, 2, 0),
        chroma_location=None,
        hdr=hdr or HdrMetadata(),
        sample_aspect_ratio=None,
        display_matrix=None,
        time_base=Fraction(1, 1000),
        rate=Fraction(25),
        frames=None,
    )


def test_defaults_per_codec():
    options = {name: encoder_options(codec, EncoderSettings(name), info()) for name, codec in CODECS.items()}
    assert options == {
        "x264": {"preset": "medium", "crf": "23"},
        "x265": {"preset": "medium", "crf": "28", "x265-params": "log-level=none"},
        "svtav1": {"preset": "6", "crf": "35"},
        "nvenc-h264": {"preset": "p4", "rc": "vbr", "b": "0", "cq": "23"},
        "nvenc-hevc": {"preset": "p4", "rc": "vbr", "b": "0", "cq": "28"},
        "nvenc-av1": {"preset": "p4", "rc": "vbr", "b": "0", "cq": "35"},
    }


def test_a_bitrate_takes_the_place_of_the_crf(tmp_path):
    statistics = tmp_path / "it's: statistics"
    settings = EncoderSettings("x264", bitrate=2500, encoder_args="ref=2")
    assert encoder_options(CODECS["x264"], settings, info(), StatisticsPass(2, statistics)) == {
        "preset": "medium",
        "b": "2500k",
        "x264-params": f"pass=2:stats={tmp_path}/it\\'s\\: statistics:ref=2",
    }
    settings = EncoderSettings("nvenc-hevc", bitrate=2500, encoder_args="spatial-aq")
    assert encoder_options(CODECS["nvenc-hevc"], settings, info()) == {
        "preset": "p4",
        "rc": "vbr",
        "b": "2500k",
        "spatial-aq": "1",
    }


def test_own_parameters_come_last():
    settings = EncoderSettings("x265", 21.5, "slow", "log-level=full:aq-mode=3")
    assert encoder_options(CODECS["x265"], settings, info()) == {
        "preset": "slow",
        "crf": "21.5",
        "x265-params": "log-level=none:log-level=full:aq-mode=3",
    }


def test_hdr_parameters():
    hdr = HdrMetadata(DISPLAY, (1000, 400))
    integers = "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(40000000,5)"
    assert encoder_params("x264", hdr) == [f"mastering-display={integers}", "cll=1000,400"]
    assert encoder_params("x265", hdr) == [
        "hdr10=1",
        "repeat-headers=1",
        f"master-display={integers}",
        "max-cll=1000,400",
    ]
    assert encoder_params("svtav1", hdr) == [
        "mastering-display=G(0.17,0.797)B(0.131,0.046)R(0.708,0.292)WP(0.3127,0.329)L(4000,0.0005)",
        "content-light=1000,400",
    ]
    assert encoder_params("x265", HdrMetadata()) == []


@pytest.mark.parametrize(
    "codec,chroma,size",
    [
        ("x264", "420", (322, 182)),
        ("x265", "422", (322, 181)),
        ("x264", "444", (321, 181)),
        ("x264", "400", (321, 181)),
        ("svtav1", "420", (321, 181)),
    ],
)
def test_odd_sizes(codec, chroma, size):
    assert encoded_size(CODECS[codec], PictureFormat(321, 181, chroma=chroma)) == size


def test_pixel_formats():
    assert parse_pixel_format("yuv420p") == ("420", 8)
    assert parse_pixel_format("yuvj422p") == ("422", 8)
    assert parse_pixel_format("yuv444p12le") == ("444", 12)
    assert parse_pixel_format("gray10le") == ("400", 10)
    for name in ("yuva420p", "gbrp", "rgb24", "pal8", "nv12", "yuv411p", "yuv420p10be"):
        with pytest.raises(InputError, match=name):
            parse_pixel_format(name)


def test_matrix_of_unspecified_video_follows_its_size():
    assert guess_matrix(9, 64, 48) == "bt2020"
    assert guess_matrix(5, 1920, 1080) == "bt601"
    assert [guess_matrix(2, *size) for size in ((1279, 719), (1280, 544), (960, 720))] == ["bt601", "bt709", "bt709"]


def test_containers_by_suffix():
    assert container_of(Path("a.MKV")) == "matroska"
    for name in ("a.avi", "a", ".mp4", "a.mp4.part"):
        with pytest.raises(UsageError, match="suffixes"):
            container_of(Path(name))


def test_command_and_library_agree_on_defaults():
    """The command repeats them, since importing the library would make `--help` slow."""
    command = {name: p.default for name, p in inspect.signature(encode).parameters.items()}
    request = EncodeRequest(Path("a.mkv"), Path("b.mkv"))
    for name in ("model", "strength", "device", "overwrite"):
        assert command[name] == getattr(request, name)
    for name in ("codec", "crf", "preset", "encoder_args"):
        assert command[name] == getattr(request.settings, name)
