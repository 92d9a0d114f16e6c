"""Frames from the middle of a source, proven to be those that decoding all of it gives."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scene.errors import InputError
from scene.picture import Picture
from scene.video.source.decode import DecodedFrame, Decoder
from scene.video.source.excerpt import EARLIER_S
from scene.video.source.probe import SourceInfo


@dataclass(frozen=True, slots=True)
class FrameTable:
    """All frames of a video as its whole decode gave them.

    Attributes:
        stamps, durations: in the source's time base.
        checksums: of their samples, see `checksum`.
    """

    stamps: Sequence[int]
    durations: Sequence[int]
    checksums: Sequence[int]


def checksum(picture: Picture) -> int:
    """CRC-32 of all samples of a picture."""
    value = 0
    for plane in picture.planes:
        value = zlib.crc32(np.ascontiguousarray(plane).data, value)
    return value


def read_passage(
    info: SourceInfo,
    table: FrameTable,
    first: int,
    end: int,
    *,
    tolerant: bool = False,
    on_skip: Callable[[], None] = lambda: None,
) -> Iterator[DecodedFrame]:
    """Frames `first` to `end` - 1, writable, with the time stamps and durations of the table.

    Where a seek leads is found out by looking: a frame counts when it has the time and the samples that the table says.
    Where one has not, as after a key frame whose neighbours refer to what is before it, decoding begins earlier, at
    last at the beginning of the file.

    Args:
        tolerant: as of the `Decoder` that made the table.
        on_skip: called for each frame before them that is decoded: those may be many.

    Raises:
        InputError: the frames are not those of the table any more, or the source cannot be read.
    """
    number = first
    for earlier in EARLIER_S:
        back = None if earlier is None else round(earlier / info.time_base)
        with Decoder(info, writable=True, tolerant=tolerant, quiet=True) as decoder:
            if back is None or not decoder.has_times or table.stamps[number] - back <= table.stamps[0]:
                start = None
            else:
                start = table.stamps[number] - back
            try:
                for frame in decoder.frames_from(start):
                    if frame.pts > table.stamps[number]:
                        break
                    if frame.pts < table.stamps[number]:
                        on_skip()
                        continue
                    if checksum(frame.picture()) != table.checksums[number]:
                        break
                    frame.av_frame.duration = table.durations[number]
                    yield frame
                    number += 1
                    if number == end:
                        return
            except InputError:
                if start is None:
                    raise
            if start is None:
                break
    raise InputError(
        f"{info.path}: its frame {number} is not what it was when the work was planned; if the file has not changed, "
        "it cannot be decoded the same way twice, and has to be encoded in one go."
    )
