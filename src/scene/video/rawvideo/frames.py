"""What the two forms of uncompressed video between programs, YUV4MPEG2 and nut, have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

from scene.picture import Frame, PictureFormat

RawKind = Literal["y4m", "nut"]


class RawSink(Protocol):
    """Where frames go."""

    def write(self, frame: Frame) -> None:
        """Sends a frame on its way. Raises OSError, BrokenPipeError where the reader has left."""

    def finish(self) -> None:
        """Writes what belongs after the last frame."""


@dataclass(frozen=True, slots=True)
class RawInfo:
    """What a source of frames is.

    Attributes:
        pixel_format: FFmpeg's name.
        time_base: the unit of time stamps in seconds.
        rate: frames per second, roughly where it varies.
        aspect: sample aspect ratio, None if unknown.
        rated: whether the source says its rate, which is assumed otherwise.
        y4m_line: the first line of YUV4MPEG2, without its end, empty for other sources.
    """

    format: PictureFormat
    pixel_format: str
    time_base: Fraction
    rate: Fraction
    aspect: Fraction | None
    rated: bool = True
    y4m_line: bytes = b""


@dataclass(frozen=True, slots=True)
class RawSource:
    """Frames, and what they are. The iterator raises InputError where it cannot go on."""

    info: RawInfo
    frames: Iterator[Frame]
