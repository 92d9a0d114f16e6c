"""What a copied track holds, in few numbers: taken while it is written and again when it is read back."""

from __future__ import annotations

import zlib
from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.stream import Stream

# The first twelve bits of each header that AAC has in transport streams and not in other containers.
_ADTS_SYNC = 0xFFF0


@dataclass(slots=True)
class TrackSum:
    """Counts a track's packets as they pass.

    Attributes:
        kind: "audio", "subtitle", "data", "video", or "cover" for a still picture that belongs to the file.
        codec: FFmpeg's name.
        name: what to call the track in messages.
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
        if self.codec == "aac":
            data = _without_adts(data)
        # Timed text has samples that only fill the time between two others.
        if not data or (self.codec == "mov_text" and data[:2] == b"\0\0"):
            return
        self.packets += 1
        self.size += len(data)
        self.checksum = zlib.crc32(data, self.checksum)
        self.time_base = packet.time_base
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            self.stamps.append(stamp)
            self.end = max(self.end, (stamp + (packet.duration or 0)) * packet.time_base)


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec, whichever decoder reads it; "unknown" where it has none."""
    # PyAV's annotations do not admit it, but a stream without a decoder has no context, and may have no name.
    context: Any = stream.codec_context
    if context is not None:
        return str(context.codec.canonical_name)
    return str(getattr(stream, "name", None) or "unknown")


def _without_adts(data: bytes) -> bytes:
    if len(data) > 7 and int.from_bytes(data[:2], "big") & 0xFFF6 == _ADTS_SYNC:
        return data[7 if data[1] & 1 else 9 :]
    return data
