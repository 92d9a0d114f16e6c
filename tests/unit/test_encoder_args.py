"""`encoder_args` taken apart, judged and put together; what encoders report; quantisers and rates."""

from __future__ import annotations

import pytest

from scene.errors import UsageError
from scene.jobs.passes import wants_first_pass
from scene.video.encoders import ENCODERS
from scene.video.encoders.params import (
    join_encoder_args,
    joined_items,
    parse_encoder_args,
)
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.diagnose import altered, nearest, reported_settings
from scene.video.encoding.plan import check_settings


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("bframes=3:ref=4", [("bframes", "3"), ("ref", "4")]),
        ("psy-rd=1.0,0.1", [("psy-rd", "1.0,0.1")]),
        ("zones=0,3,q=20:no-sao", [("zones", "0,3,q=20"), ("no-sao", "1")]),
        (r"deblock=1\:2:ref=1", [("deblock", "1:2"), ("ref", "1")]),
        (r"cqmfile=C\:\\a:ref=1", [("cqmfile", r"C:\a"), ("ref", "1")]),
        ("::ref=1:", [("ref", "1")]),
    ],
)
def test_items_are_taken_apart(text: str, items: list[tuple[str, str]]) -> None:
    assert parse_encoder_args(text) == items


@pytest.mark.parametrize("text", ["a b", "=1", "ref=", "-ref=1", "ref=1:ref=2", "b-adapt=1:b_adapt=2"])
def test_malformed_items_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="`encoder_args`"):
        parse_encoder_args(text)


def test_joining_is_undone_by_splitting() -> None:
    items = [("stats", r"/tmp/it's a:b\c=d"), ("pass", "1")]
    joined = join_encoder_args(items)
    assert joined == r"stats=/tmp/it\'s a\:b\\c=d:pass=1"
    assert joined_items(joined) == items


@pytest.mark.parametrize(
    ("codec", "item", "text"),
    [
        ("x264", ("crf", "20"), "use `crf`"),
        ("x265", ("bitrate", "500"), "use `bitrate`"),
        ("x264", ("stats", "x"), "`passes`"),
        ("svtav1", ("rc", "1"), "`bitrate`"),
        ("svtav1", ("tbr", "1"), "`bitrate`"),
        ("x264", ("dump_yuv", "x"), "writes a file"),
        ("x265", ("csv", "x"), "writes a file"),
        ("x265", ("recon-y4m-exec", "ls"), "starts a program"),
        ("x265", ("scaling-list", "/no/such"), "no such file"),
        ("x264", ("tune", "zz"), "zerolatency"),
        ("nvenc-hevc", ("cq", "20"), "use `crf`"),
        ("vvenc", ("QP", "20"), "use `crf`"),
        ("vvenc", ("RCStatsFile", "x"), "writes a file"),
    ],
)
def test_what_is_scenes_own_is_refused(codec: str, item: tuple[str, str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        ENCODERS[codec].check_args([item])


def test_the_same_name_may_mean_something_else_to_another_encoder() -> None:
    ENCODERS["svtav1"].check_args([("film-grain", "8"), ("tune", "0")])
    ENCODERS["x265"].check_args([("scaling-list", "default"), ("tune", "grain")])


@pytest.mark.parametrize(
    ("codec", "text", "depth", "crf"),
    [
        ("x264", "qp=30", 8, 30),
        ("x264", "qp=30", 10, 18),
        ("x264", "qp=0", 10, 23),
        ("x265", "qp=30", 10, 30),
        ("x265", "lossless", 8, 28),
        ("x265", "qp=0", 8, 0),
        ("svtav1", "qp=50", 8, 50),
        ("svtav1", "lossless=0", 8, 35),
        ("x264", "qpmin=30", 8, 23),
    ],
)
def test_a_constant_quantiser_is_what_conditions_networks(codec: str, text: str, depth: int, crf: float) -> None:
    settings = EncoderSettings(codec, encoder_args=text)
    assert ENCODERS[codec].conditioning_crf(settings, depth) == crf
    assert (ENCODERS[codec].constant_quantiser(parse_encoder_args(text), depth) is None) == (crf in {23, 28, 35})


def test_rate_options_that_exclude_each_other() -> None:
    for settings, text in [
        (EncoderSettings(crf=20, bitrate=500), "exclude each other"),
        (EncoderSettings(passes=2), "belongs to `bitrate`"),
        (EncoderSettings(bitrate=0), "makes no sense"),
        (EncoderSettings(bitrate=500, passes=3), "give 1 or 2"),
        (EncoderSettings(bitrate=500, encoder_args="qp=20"), "fixes the quantiser"),
        (EncoderSettings("x265", bitrate=500, encoder_args="lossless"), "fixes the quantiser"),
    ]:
        with pytest.raises(UsageError, match=text):
            check_settings(settings)


@pytest.mark.parametrize(
    ("codec", "passes", "conditioned", "first"),
    [
        ("x264", None, False, True),
        ("x264", 1, False, False),
        ("x265", 2, True, True),
        ("svtav1", None, False, False),
        ("svtav1", None, True, True),
        ("svtav1", 1, False, False),
        ("nvenc-h264", None, False, False),
    ],
)
def test_when_the_source_is_encoded_before(codec: str, passes: int | None, conditioned: bool, first: bool) -> None:
    assert (
        wants_first_pass(ENCODERS[codec], EncoderSettings(codec, bitrate=500, passes=passes), conditioned=conditioned)
        is first
    )
    assert not wants_first_pass(ENCODERS[codec], EncoderSettings(codec), conditioned=conditioned)


@pytest.mark.parametrize(
    ("codec", "passes", "conditioned", "text"),
    [
        ("x264", 1, True, "leave `passes` out"),
        ("nvenc-h264", None, True, "give `crf`"),
        ("vvenc", None, True, "give `crf`"),
        ("svtav1", 2, False, "one pass"),
    ],
)
def test_passes_that_cannot_be_meant(codec: str, passes: int | None, conditioned: bool, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        wants_first_pass(ENCODERS[codec], EncoderSettings(codec, bitrate=500, passes=passes), conditioned=conditioned)


def test_what_an_encoder_reports_is_read() -> None:
    packet = b"\0\0\1\6x264 - core 165 - options: cabac=1 me_range=16 psy_rd=1.00:0.00 wpp no-sao\x80"
    settings = reported_settings(packet)
    assert settings == {"cabac": "1", "me-range": "16", "psy-rd": "1.00:0.00", "wpp": "1", "no-sao": "1"}
    assert reported_settings(b"\0\0\1\x65") == {}
    assert altered([("me_range", "99"), ("cabac", "1.0"), ("psy-rd", "1,0"), ("keyint", "9")], settings) == [
        ("me_range", "99", "16")
    ]
    assert nearest("mee-range", settings) == "me-range"
    assert nearest("entirely-else", settings) is None


def test_the_crf_behind_quantisers() -> None:
    tree = {"mbtree": "1", "qcomp": "0.60"}
    assert ENCODERS["x264"].equivalent_crf([28.4, 28.4], tree, 8) == pytest.approx(23)
    assert ENCODERS["x264"].equivalent_crf([40.4, 40.4], tree, 10) == pytest.approx(23)
    assert ENCODERS["x264"].equivalent_crf([28, 30], {"mbtree": "0"}, 8) == 29
    assert ENCODERS["x265"].equivalent_crf([32, 34.8], {"cutree": "1", "qcomp": "0.60"}, 10) == pytest.approx(28)
    assert ENCODERS["svtav1"].equivalent_crf([10, 35, 22, 35], {}, 8) == 35
    assert ENCODERS["x264"].equivalent_crf([0.0], tree, 8) == 0
    assert ENCODERS["x264"].equivalent_crf([], tree, 8) is None
