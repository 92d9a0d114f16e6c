"""YUV4MPEG2: raw pictures with a one-line header, the form in which pictures go between programs and as files.

The format carries size, rate, subsampling and bit depth. It has no field for the colour matrix, and its range is an
unofficial extension (XCOLORRANGE), so `read_header` takes the matrix from the caller. As a source and a sink of frames
(`open_y4m`, `Y4MSink`), what is not changed goes through byte by byte, the header too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, BinaryIO, Protocol

import numpy as np

from scene.errors import InputError, UsageError
from scene.picture import (
    UNSPECIFIED,
    Chroma,
    ChromaLocation,
    Frame,
    Matrix,
    Picture,
    PictureFormat,
    Plane,
    guess_matrix,
)
from scene.video.rawvideo.frames import RawInfo, RawSource

_MAGIC = b"YUV4MPEG2"
_FRAME = b"FRAME"
_LINE_LIMIT = 512
# A header may claim any size; what is above this is refused before memory is asked for.
_MAX_SIDE = 16384
_MAX_SAMPLES = 8192 * 8192

_UNKNOWN_RATE = "0:0"
# FFmpeg's, so that all commands take such a stream for the same.
ASSUMED_RATE = Fraction(25)

# Beyond 8, as FFmpeg, VapourSynth and x265 name them.
_DEPTHS = (9, 10, 12, 14, 16)
_COLOURS: dict[str, tuple[Chroma, int]] = {
    "420jpeg": ("420", 8),
    "420mpeg2": ("420", 8),
    "420paldv": ("420", 8),
    "420": ("420", 8),
    "422": ("422", 8),
    "444": ("444", 8),
    "mono": ("400", 8),
    **{f"{chroma}p{depth}": (chroma, depth) for chroma in ("420", "422", "444") for depth in _DEPTHS},
    **{f"mono{depth}": ("400", depth) for depth in _DEPTHS},
}
# MPEG-2 siting (left), as encoders assume for untagged 4:2:0.
_TAGS: dict[tuple[Chroma, int], str] = {
    **{value: key for key, value in _COLOURS.items()},
    ("420", 8): "420mpeg2",
}
# Only 8-bit 4:2:0 has names for where chroma lies.
_SITINGS = {"left": "420mpeg2", "center": "420jpeg", "topleft": "420paldv"}


class ByteSink(Protocol):
    """What can be written to: a binary file, or a pipe."""

    def write(self, data: Any, /) -> int:
        """Takes all of the data."""


@dataclass(frozen=True, slots=True)
class Y4MHeader:
    """What the first line says: how pictures are stored and how many there are in a second.

    Attributes:
        rate: frames per second; FFmpeg's 25 where a header that was read says none.
        aspect: sample aspect ratio to write, None for an unknown one. What a header said is asked of `aspect_of`.
        rated: whether the rate is the header's own.
        line: the line as it was read, without its end; nothing else of it is written again.
    """

    format: PictureFormat
    rate: Fraction
    aspect: Fraction | None = Fraction(1)
    rated: bool = field(default=True, compare=False)
    line: bytes = field(default=b"", compare=False, repr=False)

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
    line = _line(stream, "header")
    words = line.split(b" ")
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
    if colour.startswith("444alpha"):
        raise InputError("YUV4MPEG2 with an alpha channel is not supported; remove it first")
    if colour not in _COLOURS:
        raise InputError(f"the YUV4MPEG2 pixel format C{colour} is not supported")
    chroma, bit_depth = _COLOURS[colour]
    fmt = PictureFormat(width, height, bit_depth, chroma, full_range, matrix)
    rate = _rate(tags.get("F", _UNKNOWN_RATE))
    return Y4MHeader(fmt, rate or ASSUMED_RATE, rated=rate is not None, line=line)


def aspect_of(header: Y4MHeader) -> Fraction | None:
    """The sample aspect ratio of a header that was read, None if it is not given or unknown."""
    match = re.search(rb" A([0-9]{1,10}):([0-9]{1,10})(?: |$)", header.line)
    return Fraction(int(match[1]), int(match[2])) if match and int(match[1]) and int(match[2]) else None


def read_frames(stream: BinaryIO, header: Y4MHeader) -> Iterator[Picture]:
    """The pictures that follow the header, up to the stream's end.

    Raises:
        InputError: a FRAME line is missing or the last picture is cut short.
    """
    for _, payload in read_payloads(stream, header):
        yield parse_payload(payload, header.format)


def read_payloads(stream: BinaryIO, header: Y4MHeader) -> Iterator[tuple[bytes, bytes]]:
    """The FRAME line (without its end) and the samples of each picture; errors as for `read_frames`."""
    while True:
        first = stream.read(1)
        if not first:
            return
        marker = first + _line(stream, "frame")
        if marker != _FRAME and not marker.startswith(_FRAME + b" "):
            raise InputError("a YUV4MPEG2 frame does not start with FRAME")
        yield marker, _exactly(stream, header.frame_bytes)


def parse_payload(payload: bytes, fmt: PictureFormat) -> Picture:
    """A copy of a picture's samples as planes that can be written to."""
    return Picture(fmt, _planes(payload, fmt))


def has_siting(fmt: PictureFormat) -> bool:
    """Whether a header can say where chroma lies: "left", "center" or "topleft" of 8-bit 4:2:0."""
    return (fmt.chroma, fmt.bit_depth) == ("420", 8) and fmt.chroma_location in _SITINGS


def write_header(stream: ByteSink, header: Y4MHeader) -> None:
    """Writes the first line.

    Raises:
        ValueError: YUV4MPEG2 has no name for this bit depth.
    """
    fmt = header.format
    tag = _TAGS.get((fmt.chroma, fmt.bit_depth))
    if tag is None:
        raise ValueError(f"YUV4MPEG2 has no pixel format for {fmt.bit_depth} bit {fmt.chroma}")
    if has_siting(fmt):
        tag = _SITINGS[fmt.chroma_location]
    colour_range = "FULL" if fmt.full_range else "LIMITED"
    rate = f"{header.rate.numerator}:{header.rate.denominator}"
    aspect = Fraction(0, 1) if header.aspect is None else header.aspect
    ratio = f"{aspect.numerator}:{aspect.denominator if header.aspect else 0}"
    line = f"W{fmt.width} H{fmt.height} F{rate} Ip A{ratio} C{tag} XCOLORRANGE={colour_range}\n"
    stream.write(_MAGIC + b" " + line.encode("ascii"))


def write_frame(stream: ByteSink, picture: Picture) -> None:
    """Writes one picture: uint8 planes as they are, deeper ones as little-endian 16 bit."""
    stream.write(_FRAME + b"\n")
    stream.write(payload_of(picture))


def payload_of(picture: Picture) -> bytes:
    """A picture's samples as they stand in a stream; `parse_payload` reads them."""
    kind = "u1" if picture.format.bit_depth == 8 else "<u2"
    return b"".join(plane.astype(kind, copy=False).tobytes() for plane in picture.planes)


def _line(stream: BinaryIO, what: str) -> bytes:
    line = stream.readline(_LINE_LIMIT)
    if not line.endswith(b"\n"):
        raise InputError(f"the YUV4MPEG2 {what} line is cut short or too long")
    return line[:-1]


def _side(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= _MAX_SIDE:
        raise InputError(f"the YUV4MPEG2 header gives no usable width and height ({text!r})")
    return int(text)


def _rate(text: str) -> Fraction | None:
    """Frames per second, None where the header says that it does not know."""
    if text == _UNKNOWN_RATE:
        return None
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


# Where the names of 4:2:0 say that chroma lies, if not to the left.
_LOCATIONS: dict[bytes, ChromaLocation] = {b"C420": "center", b"C420jpeg": "center", b"C420paldv": "topleft"}


class Y4MFrame:
    """A frame as it came: its line and its samples, which are parsed only where somebody looks at them."""

    __slots__ = ("_format", "_payload", "_replaced", "marker", "pts")

    def __init__(self, marker: bytes, payload: bytes, fmt: PictureFormat, pts: int) -> None:
        self.marker = marker
        self.pts = pts
        self._payload = payload
        self._format = fmt
        self._replaced: Picture | None = None

    def picture(self) -> Picture:
        """The frame's planes, a copy."""
        return self._replaced or parse_payload(self._payload, self._format)

    def replace(self, picture: Picture) -> None:
        """Puts another picture of the same format in the frame's place."""
        self._replaced = picture

    def samples(self) -> bytes:
        """As they are written."""
        return self._payload if self._replaced is None else payload_of(self._replaced)


def open_y4m(stream: BinaryIO, name: str) -> RawSource:
    """Frames of a stream that begins with a YUV4MPEG2 header.

    The header says nothing of the matrix, which is guessed from the size as for any video.

    Raises:
        InputError: the header is damaged, or of a kind that is not supported.
    """
    try:
        header = read_header(stream)
    except InputError as error:
        raise InputError(f"{name} cannot be read as y4m or nut: {error}.") from None
    matrix = guess_matrix(UNSPECIFIED, header.format.width, header.format.height)
    locations = [_LOCATIONS[word] for word in header.line.split() if word in _LOCATIONS]
    fmt = replace(header.format, matrix=matrix, chroma_location=locations[0] if locations else "left")
    base = "gray" if fmt.chroma == "400" else f"yuv{fmt.chroma}p"
    info = RawInfo(
        format=fmt,
        pixel_format=base if fmt.bit_depth == 8 else f"{base}{fmt.bit_depth}le",
        time_base=1 / header.rate,
        rate=header.rate,
        aspect=aspect_of(header),
        rated=header.rated,
        y4m_line=header.line,
    )
    return RawSource(info, _frames(stream, header, fmt))


def _frames(stream: BinaryIO, header: Y4MHeader, fmt: PictureFormat) -> Iterator[Frame]:
    for index, (marker, payload) in enumerate(read_payloads(stream, header)):
        yield Y4MFrame(marker, payload, fmt, index)


class Y4MSink:
    """Writes YUV4MPEG2; the first line is written at once.

    Raises:
        UsageError: the format has no name for such pictures.
        OSError: the stream cannot be written to.
    """

    def __init__(self, stream: ByteSink, info: RawInfo) -> None:
        self._stream = stream
        if info.y4m_line:
            stream.write(info.y4m_line + b"\n")
            return
        if info.format.matrix == "rgb":
            raise UsageError("y4m cannot carry RGB video; give `format` nut.")
        try:
            write_header(stream, Y4MHeader(info.format, info.rate, info.aspect))
        except ValueError as error:
            raise UsageError(f"{error}; give `format` nut.") from None

    def write(self, frame: Frame) -> None:
        """Writes a frame; it is on its way when this returns. Raises OSError."""
        if isinstance(frame, Y4MFrame):
            self._stream.write(frame.marker + b"\n")
            self._stream.write(frame.samples())
        else:
            write_frame(self._stream, frame.picture())

    def finish(self) -> None:
        """Does nothing: YUV4MPEG2 has no end."""
