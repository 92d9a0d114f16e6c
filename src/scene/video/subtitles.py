"""Text subtitles between the two forms that containers want: SubRip in Matroska, timed text in mp4 and mov.

Plain text and line breaks survive; italics, colours and positions do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# Tags such as <i> and <font color="red">, and the {\an8} that SubRip borrowed from ASS.
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}")
_UTF16_MARKS = (b"\xfe\xff", b"\xff\xfe")
_MAX_TEXT = 0xFFFF


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one subtitle codec becomes another.

    Attributes:
        encoder: FFmpeg's name of the codec to write.
        convert: a packet's bytes to those of the new codec, None for a packet that shows nothing.
    """

    encoder: str
    convert: Callable[[bytes], bytes | None]


def conversion(codec: str, container: str) -> Conversion | None:
    """The way to keep subtitles that a container cannot hold as they are, None if there is none."""
    if codec == "mov_text" and container == "matroska":
        return Conversion("subrip", timed_text_to_subrip)
    if codec in {"srt", "subrip", "text"} and container in {"mp4", "mov"}:
        return Conversion("mov_text", subrip_to_timed_text)
    return None


def timed_text_to_subrip(data: bytes) -> bytes | None:
    """3GPP timed text (a length, text, then style boxes) to text. Raises nothing: what is cut short is kept."""
    text = data[2 : 2 + int.from_bytes(data[:2], "big")]
    if text.startswith(_UTF16_MARKS):
        text = text.decode("utf-16", "replace").encode()
    return text or None


def subrip_to_timed_text(data: bytes) -> bytes | None:
    """SubRip text to 3GPP timed text without its markup."""
    text = _MARKUP.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n").strip()
    coded = text.encode()[:_MAX_TEXT]
    return len(coded).to_bytes(2, "big") + coded if coded else None
