"""Text subtitles in the forms that containers want: SubRip in Matroska, WebVTT in WebM, timed text in mp4 and mov.

Plain text and line breaks survive; italics, colours and positions do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Tags such as <i> and <font color="red">, and the {\an8} that SubRip borrowed from ASS.
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}")
_UTF16_MARKS = (b"\xfe\xff", b"\xff\xfe")
_MAX_TEXT = 0xFFFF
# Timed text that shows nothing.
BLANK = b"\0\0"
# What FFmpeg's muxer of mp4 and mov takes from the start of one sample to that of the next, in ticks: at its clock for
# text, which counts microseconds, 35 minutes and 47 seconds.
_LONGEST_SAMPLE = 2**31 - 2


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one subtitle codec becomes another.

    Attributes:
        codec: FFmpeg's name of the codec to write, and of its encoder.
        convert: a packet's bytes to those of the new codec, None for a packet that shows nothing.
    """

    codec: str
    convert: Callable[[bytes], bytes | None]


def conversion(codec: str, container: str) -> Conversion | None:
    """The way to keep subtitles that a container cannot hold as they are, None if there is none."""
    read = _READERS.get(codec)
    if read is None:
        return None
    if container == "matroska":
        return Conversion("subrip", read)
    if container == "webm":
        return Conversion("webvtt", lambda data: _plain(read(data)) or None)
    if container in {"mp4", "mov"}:
        return Conversion("mov_text", lambda data: text_to_timed_text(read(data)))
    return None


def timed_text_to_text(data: bytes) -> bytes | None:
    """3GPP timed text (a length, text, then style boxes) to text. Raises nothing: what is cut short is kept."""
    text = data[2 : 2 + int.from_bytes(data[:2], "big")]
    if text.startswith(_UTF16_MARKS):
        text = text.decode("utf-16", "replace").encode()
    return text or None


def ass_to_text(data: bytes) -> bytes | None:
    """An event of Advanced SubStation Alpha as containers hold it, eight fields and the text, to the text."""
    text = data.split(b",", 8)[-1].replace(b"\\N", b"\n").replace(b"\\n", b"\n").replace(b"\\h", b" ")
    return text or None


def text_to_timed_text(data: bytes | None) -> bytes | None:
    """Text to 3GPP timed text without its markup."""
    coded = _plain(data)[:_MAX_TEXT]
    return len(coded).to_bytes(2, "big") + coded if coded else None


def blanks(end: int, start: int) -> Iterator[tuple[int, int]]:
    """Start and duration of the blank samples that a track of timed text needs in a pause, few as they are.

    Args:
        end: of what was shown last, 0 before the first.
        start: of what is shown next, in the same ticks.
    """
    at = end + _LONGEST_SAMPLE
    while at < start:
        yield at, min(_LONGEST_SAMPLE, start - at)
        at += _LONGEST_SAMPLE


def parts(start: int, duration: int) -> Iterator[tuple[int, int]]:
    """Start and duration of the samples, one after the other, by which timed text is shown for `duration` ticks."""
    for at in range(start, start + duration, _LONGEST_SAMPLE):
        yield at, min(_LONGEST_SAMPLE, start + duration - at)


def _plain(data: bytes | None) -> bytes:
    text = _MARKUP.sub("", (data or b"").decode("utf-8", "replace")).replace("\r\n", "\n")
    return text.strip().encode()


def _as_it_is(data: bytes) -> bytes | None:
    return data or None


# How the text is got out of a packet of each codec.
_READERS: dict[str, Callable[[bytes], bytes | None]] = {
    "mov_text": timed_text_to_text,
    "ass": ass_to_text,
    "subrip": _as_it_is,
    "text": _as_it_is,
    "webvtt": _as_it_is,
}
