"""Encoder settings, tags and names: what is decided without running an encoder."""

import inspect
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from scene.cli.encode import encode
from scene.cli.filter import filter
from scene.cli.search import search
from scene.errors import UsageError
from scene.jobs.encode import EncodeRequest
from scene.options import EnhanceOptions
from scene.picture import PictureFormat, guess_matrix
from scene.video.container.formats import container_of
from scene.video.encoders import ENCODERS
from scene.video.encoders.base import StatisticsPass
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoders.x264 import steady_params
from scene.video.encoding.external import program_arguments
from scene.video.encoding.plan import check_colour, plan_encode
from scene.video.encoding.process import FrameNumbers
from scene.video.hdr import HdrMetadata, MasteringDisplay
from scene.video.pixel_format import sample_layout
from scene.video.source.probe import ColourTags, SourceInfo

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
        format=PictureFormat(128, 48),  # no width at which x264 is told to leave AVX-512 out
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


def of_format(pixel_format):
    layout = sample_layout(pixel_format)
    matrix = "rgb" if layout.rgb else "bt709"
    fmt = PictureFormat(128, 48, layout.bit_depth, layout.chroma, matrix=matrix)
    return replace(info(), pixel_format=pixel_format, format=fmt)


def test_defaults_per_codec():
    here = {name: codec for name, codec in ENCODERS.items() if not codec.is_external}
    options = {name: codec.options(EncoderSettings(name), info()) for name, codec in here.items()}
    assert options == {
        "x264": {"preset": "medium", "crf": "23"},
        "x265": {"preset": "medium", "crf": "28", "x265-params": "log-level=none"},
        "svtav1": {"preset": "6", "svtav1-params": "crf=35"},
        "nvenc-h264": {"preset": "p4", "rc": "vbr", "b": "0", "cq": "23"},
        "nvenc-hevc": {"preset": "p4", "rc": "vbr", "b": "0", "cq": "28"},
        "nvenc-av1": {"preset": "p4", "rc": "vbr", "b": "0", "cq": "35"},
    }


def test_a_bitrate_takes_the_place_of_the_crf(tmp_path):
    statistics = tmp_path / "it's: statistics"
    settings = EncoderSettings("x264", bitrate=2500, encoder_args="ref=2")
    assert ENCODERS["x264"].options(settings, info(), StatisticsPass(2, statistics)) == {
        "preset": "medium",
        "b": "2500k",
        "x264-params": f"pass=2:stats={tmp_path}/it\\'s\\: statistics:ref=2",
    }
    settings = EncoderSettings("nvenc-hevc", bitrate=2500, encoder_args="spatial-aq")
    assert ENCODERS["nvenc-hevc"].options(settings, info()) == {
        "preset": "p4",
        "rc": "vbr",
        "b": "2500k",
        "spatial-aq": "1",
    }


def test_what_vvenc_is_given():
    hdr = HdrMetadata(content_light=(1000, 400))
    source = replace(info(), sample_aspect_ratio=Fraction(4, 3), rate=Fraction(1, 2), hdr=hdr)
    source = replace(source, colour=ColourTags(9, 16, 2, 2))
    settings = EncoderSettings("vvenc", 30, "slow", encoder_args="qpa=0")
    words = program_arguments(plan_encode(settings, source))
    pairs = dict(pairwise(words))
    assert pairs["-video_size"] == "128x48"
    assert (pairs["-framerate"], pairs["-qp"], pairs["-preset"]) == ("1", "30", "slow")
    assert pairs["-vf"] == "setparams=color_primaries=9:color_trc=16:range=2"
    assert pairs["-vvenc-params"] == (
        "poc0idr=1:range=full:aspectratioinfopresent=1:aspectratioidc=255:sarwidth=4:sarheight=3:"
        "maxcontentlightlevel=1000,400:qpa=0"
    )
    words = program_arguments(plan_encode(EncoderSettings("vvenc", bitrate=500), info()))
    assert "-qp" not in words and words[words.index("-b:v") + 1] == "500k"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (["[libvvenc @ 0x1] Unknown vvenc option: nosuch."], "does not take this of `encoder_args`: nosuch."),
        (["[libvvenc @ 0x1] Invalid vvenc value for qpa: 9."], "does not take this of `encoder_args`: qpa=9."),
        (["Parameter Check Error: a", "Parameter Check Error: b"], "vvenc refuses 64x48 with these settings: a; b."),
        (["[enc:libvvenc @ 0x1] Error while opening encoder - x"], "vvenc refuses 64x48"),
        (["something else"], None),
    ],
)
def test_why_vvenc_refuses(messages, said):
    sentence = ENCODERS["vvenc"].external_refusal(messages, (64, 48))
    assert sentence is None if said is None else said in sentence


def test_frame_numbers_become_times():
    numbers = FrameNumbers(Fraction(1, 1000), Fraction(25))
    for stamp in (10, 15, 90):
        numbers.add(stamp)
    assert [numbers.time(number) for number in (-2, -1, 0, 1, 2)] == [-70, -30, 10, 15, 90]
    with pytest.raises(IndexError):
        numbers.time(3)


def test_own_parameters_come_last():
    settings = EncoderSettings("x265", 21.5, "slow", "log-level=full:aq-mode=3")
    assert ENCODERS["x265"].options(settings, info()) == {
        "preset": "slow",
        "crf": "21.5",
        "x265-params": "log-level=none:log-level=full:aq-mode=3",
    }


def test_hdr_parameters():
    hdr = HdrMetadata(DISPLAY, (1000, 400))
    integers = "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(40000000,5)"
    assert ENCODERS["x264"].hdr_params(hdr) == [f"mastering-display={integers}", "cll=1000,400"]
    assert ENCODERS["x265"].hdr_params(hdr) == [
        "hdr10=1",
        "repeat-headers=1",
        f"master-display={integers}",
        "max-cll=1000,400",
    ]
    assert ENCODERS["svtav1"].hdr_params(hdr) == [
        "mastering-display=G(0.17,0.797)B(0.131,0.046)R(0.708,0.292)WP(0.3127,0.329)L(4000,0.0005)",
        "content-light=1000,400",
    ]
    assert ENCODERS["x265"].hdr_params(HdrMetadata()) == []


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
    assert ENCODERS[codec].coded_size(PictureFormat(321, 181, chroma=chroma)) == size


def test_x264_leaves_avx512_out_where_rows_are_no_multiple_of_eight_macroblocks():
    flags = {"sse", "avx2", "avx512f"}
    assert [width for width in (128, 640, 720, 854, 896, 1270, 1280, 1920) if steady_params(width, flags)] == [720, 854]
    assert steady_params(854, {"sse", "avx2"}) == []
    (param,) = steady_params(854, flags)
    assert param.startswith("asm=") and "AVX2" in param and "AVX512" not in param


@pytest.mark.parametrize(
    "codec,pixel_format,taken",
    [
        ("x264", "yuvj420p", "yuv420p"),
        ("x264", "nv12", "yuv420p"),
        ("x264", "bgr0", "rgb24"),
        ("x265", "bgr0", "gbrp"),
        ("x265", "x2rgb10le", "gbrp10le"),
        ("svtav1", "p010le", "yuv420p10le"),
    ],
)
def test_the_encoder_gets_the_samples_as_they_are(codec, pixel_format, taken):
    assert plan_encode(EncoderSettings(codec), of_format(pixel_format)).pixel_format == taken


@pytest.mark.parametrize(
    "codec,pixel_format,message",
    [
        ("x264", "yuv420p12le", "x264 does not take 12-bit 4:2:0 video, as in.mkv is; use x265."),
        ("x264", "gbrp10le", "x264 does not take 10-bit RGB video, as in.mkv is; use x265."),
        ("svtav1", "gray", "svtav1 does not take 8-bit grey video, as in.mkv is; use x264 or x265."),
        (
            "x265",
            "yuv422p16le",
            "x265 does not take 16-bit 4:2:2 video, as in.mkv is; convert it first (format=yuv422p12le).",
        ),
        ("x264", "gray16le", "x264 does not take 16-bit grey video, as in.mkv is; convert it first (format=gray10le)."),
        ("x264", "gbrp14le", "x264 does not take 14-bit RGB video, as in.mkv is; convert it first (format=gbrp)."),
    ],
)
def test_what_an_encoder_does_not_take_is_refused_with_a_way_out(codec, pixel_format, message):
    with pytest.raises(UsageError) as refusal:
        plan_encode(EncoderSettings(codec), of_format(pixel_format))
    assert str(refusal.value) == message


def test_tags_that_an_encoder_cannot_write_are_refused():
    for codec in ("x264", "x265"):
        for wrong in (ColourTags(22, 1, 1, 1), ColourTags(1, 1, 16, 1)):
            with pytest.raises(UsageError, match="use svtav1"):
                check_colour(plan_encode(EncoderSettings(codec), replace(info(), colour=wrong)))
            check_colour(plan_encode(EncoderSettings("svtav1"), replace(info(), colour=wrong)))
        check_colour(plan_encode(EncoderSettings(codec), replace(info(), colour=ColourTags(12, 15, 14, 2))))


def test_matrix_of_unspecified_video_follows_its_size():
    assert guess_matrix(9, 64, 48) == "bt2020"
    assert guess_matrix(5, 1920, 1080) == "bt601"
    # Constant luminance, ICtCp and what may yet be added lead to no R'G'B' here, and are not guessed either.
    assert [guess_matrix(tag, 64, 48) for tag in (4, 7, 8, 10, 14, 99)] == ["fcc", "smpte240m", "ycgco", *["other"] * 3]
    assert [guess_matrix(2, *size) for size in ((1279, 719), (1280, 544), (960, 720))] == ["bt601", "bt709", "bt709"]


def test_containers_by_suffix():
    assert container_of(Path("a.MKV")).muxer == "matroska"
    for name in ("a.avi", "a", ".mp4", "a.mp4.part"):
        with pytest.raises(UsageError, match="suffixes"):
            container_of(Path(name))


def test_command_and_library_agree_on_defaults():
    options = inspect.signature(encode).parameters["options"].default
    request = EncodeRequest(Path("a.mkv"), Path("b.mkv"))
    for name in ("settings", "enhancement", "guard", "deinterlace", "allow_network", "verify", "overwrite"):
        assert getattr(options, name) == getattr(request, name)
    assert options.focusing == request.focus


def test_what_can_be_set_of_an_enhancement_is_the_same_in_every_command():
    assert inspect.signature(encode).parameters["options"].default.enhancement == EnhanceOptions()
    for command in (filter, search):
        assert inspect.signature(command).parameters["enhancement"].default == EnhanceOptions()


def test_a_plan_is_a_record_of_what_will_be_done():
    plan = plan_encode(EncoderSettings("x265", 21.5, "slow", "aq-mode=3"), of_format("nv12"))
    assert plan.record() == {
        "encoder": "x265",
        "ffmpeg_encoder": "libx265",
        "width": 128,
        "height": 48,
        "pixel_format": "yuv420p",
        "options": {"preset": "slow", "crf": "21.5", "x265-params": "log-level=none:aq-mode=3"},
    }
    external = plan_encode(EncoderSettings("vvenc"), of_format("yuv420p")).record()
    assert external["pixel_format"] == "yuv420p10le"
    assert external["options"][:2] == ["-c:v", "libvvenc"]
