"""YUV4MPEG2 between programs: what is not changed goes through byte by byte, the header too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from scene.errors import InputError, UsageError
from scene.picture import ChromaLocation, Frame, Picture, PictureFormat
from scene.video.pixel_format import UNSPECIFIED, guess_matrix
from scene.video.rawvideo.streams import RawInfo, RawSource
from scene.video.rawvideo.y4m import (
    ByteSink,
    Y4MHeader,
    aspect_of,
    parse_payload,
    payload_of,
    read_header,
    read_payloads,
    write_frame,
    write_header,
)

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
