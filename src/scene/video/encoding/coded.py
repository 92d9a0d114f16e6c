"""Files of coded packets, exactly as an encoder gave them: no container's clock, order or wrapping comes in between.

A file is the magic bytes, packets (struct `_PACKET`, then the content), a JSON object that describes it, and the tail
(struct `_TAIL`: length of the JSON, CRC-32 of all before). What was cut short or damaged is told by its tail.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import av
from av.packet import Packet

from scene.errors import InputError, SceneError
from scene.picture import Picture
from scene.video.encoding.external import open_session
from scene.video.encoding.plan import EncodePlan
from scene.video.source.decode import DecodedFrame
from scene.video.source.open import reason

CodedPacket: TypeAlias = "Packet[Any]"

_MAGIC = b"scene packets 1\n"
# Presentation and decoding time, duration, size, whether it is a key frame.
_PACKET = struct.Struct("<qqqI?")
_TAIL = struct.Struct("<II8s")
_END = b"packets\n"
_NO_TIME = -(2**63)
_BLOCK = 1 << 20


class CodedEncoder:
    """Encodes a part of a video to a file of packets, as `scene.video.container.writer.Writer` does for a container.

    Args:
        path: of the file to write; it is overwritten.
        plan: of the encode.
        muxer: FFmpeg's name of that of the container to come, which decides where parameter sets are.
        first, end: when the part's first frame, and the first after it, are shown, the latter None at the video's end.
            What is before and after the part is encoded for the rate control alone. Frames have to be writable.

    Attributes:
        frames: of the part, given so far.
        bytes: coded of it so far.

    Raises:
        UsageError: the encoder refuses its settings.
        SceneError: the file cannot be written.
    """

    def __init__(self, path: Path, plan: EncodePlan, muxer: str, first: int, end: int | None) -> None:
        self.frames = self.bytes = self._packets = self._sum = 0
        self._plan, self._first, self._end = plan, first, end
        self._file = path.open("wb")
        self._output = av.open(io.BytesIO(), "w", format=muxer)
        self._session = open_session(self._output, plan)
        try:
            self._write(_MAGIC)
            self._session.start(None)
        except BaseException:
            self.close()
            raise

    def encode(self, frame: DecodedFrame) -> None:
        """Takes a frame. Raises SceneError."""
        frame.begins = frame.pts in {self._first, self._end}
        if frame.pts < self._first and self._plan.encoder.inverts_lead:
            frame.replace(_negative(frame.picture()))
        self.frames += self._is_own(frame.pts)
        try:
            for packet in self._session.encode(frame):
                self._add(packet)
        except (av.FFmpegError, OSError) as error:
            raise _failure(error) from error

    def finish(self, check: Callable[[], None], about: Mapping[str, Any]) -> None:
        """Empties the encoder, calling `check` between packets so that it can raise, and ends the file.

        Args:
            about: what the file shall say of itself, in JSON types.

        Raises:
            SceneError: writing or encoding fails, or the encoder has lost frames.
        """
        try:
            for packet in self._session.finish(check):
                self._add(packet)
            if self._packets != self.frames:
                raise SceneError(f"{self._plan.encoder.name} made {self._packets} pictures of {self.frames} frames.")
            extradata = bytes(self._session.stream.codec_context.extradata or b"")
            known = {"packets": self._packets, "bytes": self.bytes, "parameter_sets": extradata.hex()}
            text = json.dumps({**about, **known}).encode()
            self._write(text)
            self._file.write(_TAIL.pack(len(text), self._sum, _END))
            self._file.close()
        except (av.FFmpegError, OSError) as error:
            raise _failure(error) from error

    def kill(self) -> None:
        """Ends what `encode` and `finish` may wait for in other threads, which raise then."""
        self._session.kill()

    def close(self) -> None:
        """Leaves nothing open, whatever came before; not beside `encode` or `finish`."""
        self._session.close()
        with contextlib.suppress(OSError):
            self._file.close()

    def _add(self, packet: CodedPacket) -> None:
        assert packet.time_base == self._plan.info.time_base and packet.pts is not None
        if not self._is_own(packet.pts):
            return
        if not self._packets and not (packet.is_keyframe and packet.pts == self._first):
            raise SceneError(f"{self._plan.encoder.name} began no group of pictures where it was told to.")
        data = bytes(packet) if self._packets else self._plan.encoder.spliced(bytes(packet))
        times = (_NO_TIME if time is None else time for time in (packet.pts, packet.dts))
        self._write(_PACKET.pack(*times, packet.duration or 0, len(data), packet.is_keyframe))
        self._write(data)
        self._packets += 1
        self.bytes += len(data)

    def _is_own(self, stamp: int) -> bool:
        return stamp >= self._first and (self._end is None or stamp < self._end)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sum = zlib.crc32(data, self._sum)


def _negative(picture: Picture) -> Picture:
    white = (1 << picture.format.bit_depth) - 1
    return replace(picture, planes=tuple(plane.dtype.type(white) - plane for plane in picture.planes))


def _failure(error: Exception) -> SceneError:
    return SceneError(f"encoding failed: {reason(error)}.")


def read_about(path: Path, *, whole: bool) -> dict[str, Any]:
    """What a file of packets says of itself.

    Args:
        whole: read all of it to find damage, not its two ends alone.

    Raises:
        InputError: it is missing, cut short, damaged, or no such file.
    """
    try:
        with path.open("rb") as file:
            length, total = _ends(file)
            if whole:
                file.seek(0)
                left, value = length, 0
                while left:
                    block = file.read(min(_BLOCK, left))
                    value, left = zlib.crc32(block, value), left - len(block)
                if value != total:
                    raise ValueError
            return dict(_about(file, length)[0])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, struct.error):
        raise InputError(f"{path} is cut short or damaged.") from None


def read_coded(path: Path, time_base: Fraction) -> Iterator[CodedPacket]:
    """The packets of a file that `read_about` has looked through. Raises InputError as that does."""
    try:
        with path.open("rb") as file:
            end = _about(file, _ends(file)[0])[1]
            file.seek(len(_MAGIC))
            while file.tell() < end:
                pts, dts, duration, size, is_key = _PACKET.unpack(file.read(_PACKET.size))
                packet: CodedPacket = Packet(file.read(size))
                packet.pts, packet.dts = (None if time == _NO_TIME else time for time in (pts, dts))
                packet.duration, packet.is_keyframe, packet.time_base = duration, is_key, time_base
                yield packet
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, struct.error):
        raise InputError(f"{path} is cut short or damaged.") from None


def in_sequence(packets: Iterator[CodedPacket], stamps: Sequence[int], first: int) -> Iterator[CodedPacket]:
    """The packets of a part of a video, with the decoding times that they have behind the parts before it.

    An encoder that reorders frames decodes the first ones of a video before any is shown, at times that it makes up. In
    the middle of a video these are the times of frames before: what is decoded while they are shown.

    Args:
        packets: in coding order, of one encoder from its first frame on.
        stamps: when the frames of the whole video are shown, increasing.
        first: number of the part's first frame.
    """
    early: list[CodedPacket] = []
    packet = None
    for packet in packets:
        if packet.dts is None or packet.dts >= stamps[first]:
            break
        early.append(packet)
        packet = None
    for place, moved in enumerate(early, first - len(early)):
        if place >= 0:
            moved.dts = stamps[place]
        yield moved
    if packet is not None:
        yield packet
    yield from packets


def _ends(file: BinaryIO) -> tuple[int, int]:
    """Bytes before the tail, and their checksum. Raises ValueError, struct.error or OSError."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError
    file.seek(-_TAIL.size, 2)
    length = file.tell()
    _, total, end = _TAIL.unpack(file.read(_TAIL.size))
    if end != _END:
        raise ValueError
    return length, total


def _about(file: BinaryIO, length: int) -> tuple[Mapping[str, Any], int]:
    """The description, and where it begins."""
    file.seek(length)
    begin = length - _TAIL.unpack(file.read(_TAIL.size))[0]
    file.seek(begin)
    about = json.loads(file.read(length - begin))
    if not isinstance(about, dict):
        raise ValueError
    return about, begin
