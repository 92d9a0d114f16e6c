"""What a written file must hold: a digest of each track, taken while it is written and again when it is read back."""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from scene.video.container.formats import Container
from scene.video.described import described_streams
from scene.video.source.probe import is_cover

if TYPE_CHECKING:
    from scene.video.encoders.base import Encoder
    from scene.video.source.probe import SourceInfo

# The first bits of each header that AAC has in transport streams and not in other containers.
_ADTS_SYNC, _ADTS_MASK = 0xFFF0, 0xFFF6
# Parameter sets and delimiters: of ITU-T H.264, table 7-1, ITU-T H.265, table 7-1, and ITU-T H.266, table 5.
_AVC_FRAMING = frozenset({7, 8, 9, 13, 15})
_HEVC_FRAMING = frozenset({32, 33, 34, 35})
_VVC_FRAMING = frozenset({12, 13, 14, 15, 16, 20})
_START_CODE = b"\0\0\1"
_AV1_TEMPORAL_DELIMITER = b"\x12\0"
# Such as "Subtitle: dvb_teletext ([6][0][0][0] / 0x0006)", or with a codec that has a name of the container's only,
# "Audio: none (apac / 0x63617061)".
_DESCRIBED = re.compile(r": \w+: (?P<codec>\w+)(?: \((?P<tag>\S+) / 0x)?")


@dataclass(slots=True)
class TrackDigest:
    """Counts a track's packets as they pass.

    What containers add, leave out or write in their own way is not part of the content: headers of AAC frames, start
    codes and lengths of the units of video, parameter sets, and samples of timed text that only fill time.

    Attributes:
        kind: as `kind_of` has it.
        codec: FFmpeg's name.
        name: what to call the track in messages.
        packets: their number.
        stamps: presentation time of each packet, in units of `time_base` seconds.
        size, checksum: of all packets' contents, one after the other.
        end: of the last packet, in seconds.
    """

    kind: str
    codec: str
    name: str
    time_base: Fraction = Fraction(1)
    packets: int = 0
    stamps: array[int] = field(default_factory=lambda: array("q"))
    size: int = 0
    checksum: int = 0
    end: Fraction = Fraction(0)

    def add(self, packet: Packet[Any]) -> None:
        """Notes a packet; one that shows nothing is none."""
        data = bytes(packet)
        if not data or (self.codec == "mov_text" and data[:2] == b"\0\0"):
            return
        for part in _content(self.codec, data):
            self.size += len(part)
            self.checksum = zlib.crc32(part, self.checksum)
        self.packets += 1
        self.time_base = packet.time_base
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            self.stamps.append(stamp)
            self.end = max(self.end, (stamp + (packet.duration or 0)) * packet.time_base)


def kind_of(stream: Stream) -> str:
    """What kind of track a stream is: its type, but "cover" for a still picture that belongs to the file."""
    return "cover" if stream.type == "video" and is_cover(stream) else stream.type


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec, whichever decoder reads it; the container's where FFmpeg has none."""
    # PyAV's annotations do not admit it, but a stream without a decoder has no context, and may have no name.
    context: Any = stream.codec_context
    if context is not None:
        return str(context.codec.canonical_name)
    name = getattr(stream, "name", None)
    if name:
        return str(name)
    codec, tag = _described(stream)
    return tag if codec == "none" else codec


def is_unknown(stream: Stream) -> bool:
    """Whether FFmpeg has no name for a stream's codec, and no muxer any way to write it."""
    if stream.codec_context is not None or getattr(stream, "name", None):
        return False
    return _described(stream)[0] == "none"


def _described(stream: Stream) -> tuple[str, str]:
    """FFmpeg's name of a stream's codec, "none" where it has none, and the container's, "unknown" where it has none."""
    text = described_streams(cast(InputContainer, stream.container)).get(stream.index, "")
    match = _DESCRIBED.search(text.partition("\n")[0])
    if match is None:
        return "none", "unknown"
    return match["codec"], match["tag"] or "unknown"


def _content(codec: str, data: bytes) -> Iterator[bytes]:
    if codec == "aac":
        yield without_adts(data)
    elif codec == "h264":
        yield from (unit for unit in _units(data) if unit[0] & 0x1F not in _AVC_FRAMING)
    elif codec == "hevc":
        yield from (unit for unit in _units(data) if (unit[0] >> 1) & 0x3F not in _HEVC_FRAMING)
    elif codec == "vvc":
        yield from (unit for unit in _units(data) if unit[1] >> 3 not in _VVC_FRAMING)
    elif codec == "av1":
        yield data.removeprefix(_AV1_TEMPORAL_DELIMITER)
    else:
        yield data


def without_adts(data: bytes) -> bytes:
    if len(data) > 7 and int.from_bytes(data[:2], "big") & _ADTS_MASK == _ADTS_SYNC:
        return data[7 if data[1] & 1 else 9 :]
    return data


def _units(data: bytes) -> list[bytes]:
    """NAL units, whether lengths of four bytes precede them or start codes separate them (ITU-T H.264, annex B).

    Zero bytes at the end are left out: a unit does not end with one, but a start code may begin with one.
    """
    units, position = [], 0
    while position + 4 < len(data):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "big")
        units.append(data[start:position].rstrip(b"\0"))
    if position != len(data):
        units = [unit.rstrip(b"\0") for unit in data.split(_START_CODE)]
    return [unit for unit in units if unit]


@dataclass(frozen=True, slots=True)
class OutputManifest:
    """One file.

    Attributes:
        info: of the source, whose properties the file shall have.
        parameters: the user's own for the encoder, which may say otherwise.
        size, bit_depth: of the coded pictures; width and height, and bits of a sample.
        before: other video tracks that come before the encoded one.
        stamps: the presentation times of the encoded frames, increasing, in units of `info.time_base` seconds.
        video: what the encoder gave.
        tracks: the copied ones, in the order of the file.
    """

    info: SourceInfo
    codec: Encoder
    container: Container
    parameters: str
    size: tuple[int, int]
    bit_depth: int
    before: int
    stamps: Sequence[int]
    video: TrackDigest
    tracks: tuple[TrackDigest, ...]
