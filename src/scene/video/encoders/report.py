"""What x264 and x265 write about their own settings into the first packet of a stream."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import av
from av.video.codeccontext import VideoCodecContext

# Of what x264 reports it makes other numbers where the sizes or other parameters of a tiny picture want it.
_OF_PICTURES = {"threads", "lookahead-threads"}


def reported_settings(packet: bytes) -> dict[str, str]:
    """Settings by name from a packet that holds x264's or x265's message; empty without one. A flag has the value 1.

    Names have dashes, as they are given to the encoder.
    """
    match = re.search(rb"options: ([ -~]+)", packet)
    if not match:
        return {}
    pairs = (word.partition("=") for word in match[1].decode("ascii").split())
    return {name.replace("_", "-"): value if equals else "1" for name, equals, value in pairs}


def tiny_encode(context: VideoCodecContext) -> bytes:
    """The first packet of one grey picture in an encoder that was opened."""
    frame = av.VideoFrame(context.width, context.height, context.pix_fmt or "")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    return bytes(packets[0])


def altered(items: Iterable[tuple[str, str]], settings: dict[str, str]) -> list[tuple[str, str, str]]:
    """Numbers that an encoder took as others: (name, asked, taken)."""
    found = []
    for name, value in items:
        taken = settings.get(name.replace("_", "-"), "")
        if name in _OF_PICTURES or not _number(value) or not _number(taken):
            continue
        if abs(float(value) - float(taken)) > 0.01:
            found.append((name, value, taken))
    return found


def nearest(name: str, settings: dict[str, str]) -> str | None:
    """The encoder's own name that looks most like a mistaken one."""
    return next(iter(difflib.get_close_matches(name.replace("_", "-"), settings, 1, 0.7)), None)


def _number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
