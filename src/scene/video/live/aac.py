"""AAC as transport streams have it, each packet with a header (ADTS), turned into what all other containers have."""

from __future__ import annotations

from typing import Any

from av.packet import Packet
from av.stream import Stream

from scene.video.container.digest import without_adts

# ISO/IEC 14496-3, table 1.18.
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_LOW_COMPLEXITY = 2
# Of spectral band replication, which doubles what a decoder gives: HE-AAC and its second version.
_DOUBLING = {"HE-AAC", "HE-AACv2"}


def has_headers(stream: Stream) -> bool:
    """Whether each of a stream's packets has a header, since the stream as a whole has none."""
    return (
        stream.codec_context is not None and stream.codec_context.name == "aac" and not stream.codec_context.extradata
    )


def without_header(packet: Packet[Any]) -> Packet[Any]:
    """The packet without its header, with the same times."""
    bare: Packet[Any] = Packet(without_adts(bytes(packet)))
    bare.pts, bare.dts, bare.duration, bare.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    return bare


def audio_config(stream: Stream, packet: bytes | None) -> bytes:
    """The AudioSpecificConfig of a stream (ISO/IEC 14496-3, 1.6.2.1).

    Args:
        packet: one of its packets, with its header; None if there was none yet, so that what the decoder says must do.
    """
    if packet is not None and packet != without_adts(packet):
        kind, rate = (packet[2] >> 6) + 1, packet[2] >> 2 & 15
        channels = (packet[2] & 1) << 2 | packet[3] >> 6
    else:
        context: Any = stream.codec_context
        halved = context.sample_rate // (2 if context.profile in _DOUBLING else 1)
        kind, rate = _LOW_COMPLEXITY, _RATES.index(halved) if halved in _RATES else _RATES.index(48000)
        channels = min(context.channels, 7)
    return (kind << 11 | rate << 7 | channels << 3).to_bytes(2, "big")
