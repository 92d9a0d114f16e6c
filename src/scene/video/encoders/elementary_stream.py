"""A YUV4MPEG2 file through an encoder to an elementary stream: what is measured is what `Writer` would mux."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

from scene.errors import SceneError
from scene.video.encoders.codecs import CODECS, check_settings
from scene.video.encoders.encoder import Encoder, add_encoder
from scene.video.encoders.settings import EncoderSettings
from scene.video.source.decode import Decoder
from scene.video.source.open import reason
from scene.video.source.probe import probe

# Raw muxers by codec; a file's suffix is the muxer's name.
MUXERS = {"x264": "h264", "x265": "hevc", "svtav1": "obu", "vvenc": "vvc"}
_START_CODE = re.compile(rb"(\x00*\x00\x00\x01)")


def encode_elementary_stream(
    source: Path,
    destination: Path,
    settings: EncoderSettings,
    check: Callable[[], None],
    on_open: Callable[[Encoder], None] = lambda encoder: None,
) -> None:
    """Encodes every frame of a file with the encoder, the defaults and the code of a whole job.

    Supplemental messages (SEI) are left out: x264 and x265 write their settings into the stream's first, 0.7 and 2.4
    kB, as much as a small picture.

    Args:
        source: YUV4MPEG2.
        check: called after each frame and while the end is waited for; it may raise.
        on_open: called with the encoder before its first frame, so that another thread can end it.

    Raises:
        SceneError: the source cannot be read, or the encoder refuses the settings or fails.
    """
    check_settings(settings)
    info = probe(source)
    encoder: Encoder | None = None

    def write(packet: Packet[Any]) -> None:
        assert encoder is not None
        kept = _without_messages(packet, settings.codec)
        # PyAV forgets it for packets of `encode_lazy`.
        kept.stream = encoder.stream
        output.mux_one(kept)

    try:
        with (
            Decoder(info, writable=False) as decoder,
            av.open(str(destination), "w", format=MUXERS[settings.codec]) as output,
        ):
            encoder = add_encoder(output, settings, info)
            encoder.start(None)
            output.start_encoding()
            on_open(encoder)
            for unit in decoder.units():
                if unit.frame is not None:
                    for packet in encoder.encode(unit.frame):
                        write(packet)
                    check()
            for packet in encoder.finish(check):
                write(packet)
    except (av.FFmpegError, ValueError) as error:
        raise SceneError(f"encoding with {settings.codec} failed: {reason(error)}.") from error
    finally:
        if encoder is not None:
            encoder.close()


def pyav_version() -> str:
    """The version of PyAV, whose build has the encoders."""
    return av.__version__


def _without_messages(packet: Packet[Any], codec: str) -> Packet[Any]:
    """A packet of H.264 or HEVC with start codes, without its units of supplemental messages; others as they are."""
    if codec not in {"x264", "x265"}:
        return packet
    _, *parts = _START_CODE.split(bytes(packet))
    units = list(zip(parts[::2], parts[1::2], strict=True))
    kept = [(code, unit) for code, unit in units if not is_message(unit[0], codec)]
    if len(kept) == len(units):
        return packet
    clean: Packet[Any] = Packet(b"".join(code + unit for code, unit in kept))
    clean.pts, clean.dts, clean.time_base = packet.pts, packet.dts, packet.time_base
    clean.duration, clean.is_keyframe = packet.duration, packet.is_keyframe
    return clean


def is_message(first: int, codec: str) -> bool:
    """Whether a unit of x264 or x265 is supplemental (SEI), by its first byte."""
    return first & 31 == 6 if codec == "x264" else first >> 1 & 63 in (39, 40)


def is_external(codec: str) -> bool:
    """Whether the encoder runs in the ffmpeg program anyway."""
    return CODECS[codec].is_external
