"""Sums of tracks do not depend on how a container wraps what it holds."""

from fractions import Fraction

import av
import pytest

from scene.video.container.digest import TrackDigest

SLICE, OTHER, SPS, AUD = b"\x65\x88\x84\x01", b"\x41\x9a\x02", b"\x67\x64\x00\x0a", b"\x09\xf0"


def total(codec, *contents, durations=1024):
    track = TrackDigest("audio", codec, "")
    for index, content in enumerate(contents):
        packet = av.Packet(content)
        packet.time_base = Fraction(1, 48000)
        packet.pts = packet.dts = index * durations
        packet.duration = durations
        track.add(packet)
    return track


def lengths(*units):
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def start_codes(*units, code=b"\0\0\0\1"):
    return b"".join(code + unit for unit in units)


@pytest.mark.parametrize(
    "wrapped",
    [
        start_codes(SLICE, OTHER),
        start_codes(SLICE, OTHER, code=b"\0\0\1"),
        start_codes(AUD, SPS, SLICE, OTHER),
        lengths(SPS, SLICE, OTHER),
    ],
)
def test_h264_in_any_wrapping(wrapped):
    plain = total("h264", lengths(SLICE, OTHER))
    assert plain.size == len(SLICE + OTHER)
    found = total("h264", wrapped)
    assert (found.size, found.checksum) == (plain.size, plain.checksum)


def test_lengths_that_look_like_start_codes():
    """A unit of 256 to 511 bytes."""
    unit = b"\x65" + bytes(range(1, 200)) * 2
    assert lengths(unit).startswith(b"\0\0\1")
    assert total("h264", lengths(unit)).checksum == total("h264", start_codes(unit)).checksum


def test_other_content_has_another_sum():
    sums = {total("h264", lengths(*units)).checksum for units in [(SLICE,), (OTHER,), (SLICE, OTHER), (OTHER, SLICE)]}
    assert len(sums) == 4


def test_aac_with_and_without_headers():
    frame = b"\x21\x10\x04\x60\x8c\x1c" * 3
    with_header = b"\xff\xf1\x4c\x80\x03\x1f\xfc" + frame
    with_checksum = b"\xff\xf0\x4c\x80\x03\x1f\xfc\0\0" + frame
    assert total("aac", frame).checksum == total("aac", with_header).checksum == total("aac", with_checksum).checksum
    assert total("mp3", frame).checksum != total("mp3", with_header).checksum


def test_samples_that_only_fill_time_are_none():
    track = total("mov_text", b"\0\0", b"\0\5hello", b"\0\0")
    assert (track.packets, list(track.stamps), track.end) == (1, [1024], Fraction(2048, 48000))


def test_the_division_into_packets_is_apart_from_the_content():
    whole, parts = total("pcm_s16le", b"abcd"), total("pcm_s16le", b"ab", b"cd")
    assert (whole.size, whole.checksum) == (parts.size, parts.checksum)
    assert (whole.packets, parts.packets) == (1, 2)
