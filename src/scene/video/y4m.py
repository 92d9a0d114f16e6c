"""YUV4MPEG2 files: raw pictures with a one-line header, the form in which pictures go to and from ffmpeg.

The format carries size, rate, subsampling and bit depth. It has no field for the colour matrix, and its range
is an unofficial extension (XCOLORRANGE), so `read_header` takes the matrix from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from scene.errors import InputError
from scene.picture import Chroma, Matrix, Picture, PictureFormat, Plane

_MAGIC = b"YUV4MPEG2"
_FRAME = b"FRAME"
_LINE_LIMIT = 512
# A header may claim any size; what is above this is refused before memory is asked for.
_MAX_SIDE = 16384
_MAX_SAMPLES = 8192 * 8192

_COLOURS: dict[str, tuple[Chroma, int]] = {
    "420jpeg": ("420", 8),
    "420mpeg2": ("420", 8),
    "420paldv": ("420", 8),
    "420": ("420", 8),
    "422": ("422", 8),
    "444": ("444", 8),
    "mono": ("400", 8),
    "420p10": ("420", 10),
    "422p10": ("422", 10),
    "444p10": ("444", 10),
    "mono10": ("400", 10),
}
# MPEG-2 siting (left), as encoders assume for untagged 4:2:0.
_TAGS: dict[tuple[Chroma, int], str] = {
    **{value: key for key, value in _COLOURS.items() if key[:3] != "420"},
    ("420", 8): "420mpeg2",
    ("420", 10): "420p10",
}


@dataclass(frozen=True, slots=True)
class Y4MHeader:
    """What the first line says: how pictures are stored and how many there are in a second."""

    format: PictureFormat
    rate: Fraction

    @property
    def frame_bytes(self) -> int:
        """Size of one picture without its FRAME line."""
        samples = sum(height * width for height, width in self.format.plane_shapes)
        return samples * (1 if self.format.bit_depth == 8 else 2)


def read_header(stream: BinaryIO, *, matrix: Matrix = "bt709") -> Y4MHeader:
    """Reads the first line; the stream then stands before the first FRAME.

    Raises:
        InputError: it is no YUV4MPEG2 header, or one of a size or pixel format that is not supported.
    """
    words = _line(stream, "header").split(b" ")
    if words[0] != _MAGIC:
        raise InputError("this is not a YUV4MPEG2 stream")
    # The first of each letter counts, but for X, of which there may be several.
    tags: dict[str, str] = {}
    full_range = False
    for word in words[1:]:
        text = word.decode("ascii", "replace")
        if text == "XCOLORRANGE=FULL":
            full_range = True
        tags.setdefault(text[:1], text[1:])
    width, height = (_side(tags.get(letter, "")) for letter in "WH")
    if width * height > _MAX_SAMPLES:
        raise InputError(f"pictures of {width}x{height} are larger than this program takes")
    if tags.get("I", "p") not in {"p", "?"}:
        raise InputError("interlaced YUV4MPEG2 is not supported; deinterlace it first")
    colour = tags.get("C", "420")
    if colour not in _COLOURS:
        raise InputError(f"the YUV4MPEG2 pixel format C{colour} is not supported")
    chroma, bit_depth = _COLOURS[colour]
    return Y4MHeader(PictureFormat(width, height, bit_depth, chroma, full_range, matrix), _rate(tags.get("F", "")))


def read_frames(stream: BinaryIO, header: Y4MHeader) -> Iterator[Picture]:
    """The pictures that follow the header, up to the stream's end.

    Raises:
        InputError: a FRAME line is missing or the last picture is cut short.
    """
    while True:
        first = stream.read(1)
        if not first:
            return
        marker = first + _line(stream, "frame")
        if marker != _FRAME and not marker.startswith(_FRAME + b" "):
            raise InputError("a YUV4MPEG2 frame does not start with FRAME")
        payload = _exactly(stream, header.frame_bytes)
        yield Picture(header.format, _planes(payload, header.format))


def write_header(stream: BinaryIO, header: Y4MHeader) -> None:
    """Writes the first line.

    Raises:
        ValueError: YUV4MPEG2 has no name for this bit depth.
    """
    fmt = header.format
    tag = _TAGS.get((fmt.chroma, fmt.bit_depth))
    if tag is None:
        raise ValueError(f"YUV4MPEG2 has no pixel format for {fmt.bit_depth} bit {fmt.chroma}")
    colour_range = "FULL" if fmt.full_range else "LIMITED"
    rate = f"{header.rate.numerator}:{header.rate.denominator}"
    line = f"W{fmt.width} H{fmt.height} F{rate} Ip A1:1 C{tag} XCOLORRANGE={colour_range}\n"
    stream.write(_MAGIC + b" " + line.encode("ascii"))


def write_frame(stream: BinaryIO, picture: Picture) -> None:
    """Writes one picture: uint8 planes as they are, deeper ones as little-endian 16 bit."""
    stream.write(_FRAME + b"\n")
    for plane in picture.planes:
        stream.write(plane.astype("u1" if picture.format.bit_depth == 8 else "<u2", copy=False).tobytes())


def _line(stream: BinaryIO, what: str) -> bytes:
    line = stream.readline(_LINE_LIMIT)
    if not line.endswith(b"\n"):
        raise InputError(f"the YUV4MPEG2 {what} line is cut short or too long")
    return line[:-1]


def _side(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= _MAX_SIDE:
        raise InputError(f"the YUV4MPEG2 header gives no usable width and height ({text!r})")
    return int(text)


def _rate(text: str) -> Fraction:
    match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10})", text)
    if match is None or int(match[1]) == 0 or int(match[2]) == 0:
        raise InputError(f"the YUV4MPEG2 header gives no usable frame rate ({text!r})")
    return Fraction(int(match[1]), int(match[2]))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    payload = stream.read(count)
    while len(payload) < count:
        more = stream.read(count - len(payload))
        if not more:
            raise InputError("the last YUV4MPEG2 picture is cut short")
        payload += more
    return payload


def _planes(payload: bytes, fmt: PictureFormat) -> tuple[Plane, ...]:
    planes: list[Plane] = []
    offset = 0
    for shape in fmt.plane_shapes:
        count = shape[0] * shape[1]
        plane: Plane
        if fmt.bit_depth == 8:
            plane = np.frombuffer(payload, np.uint8, count, offset)
        else:
            plane = np.frombuffer(payload, "<u2", count, offset).astype(np.uint16, copy=False)
        offset += plane.nbytes
        # A copy: torch refuses to share memory that cannot be written to.
        planes.append(plane.reshape(shape).copy())
    return tuple(planes)
