"""A YUV4MPEG2 file through an encoder to an elementary stream: what is measured is what `Writer` would mux."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

from scene.errors import SceneError
from scene.video.encoders.base import Encoder
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.external import open_session
from scene.video.encoding.plan import check_settings, plan_encode
from scene.video.encoding.regions import EncoderFocus, MaskReader
from scene.video.encoding.session import EncoderSession
from scene.video.source.decode import Decoder
from scene.video.source.open import reason
from scene.video.source.probe import probe


def encode_elementary_stream(
    source: Path,
    destination: Path,
    settings: EncoderSettings,
    check: Callable[[], None],
    on_open: Callable[[EncoderSession], None] = lambda session: None,
    focus: EncoderFocus | None = None,
) -> None:
    """Encodes every frame of a file with the encoder, the defaults and the code of a whole job.

    Supplemental messages (SEI) are left out: x264 and x265 write their settings into the stream's first, 0.7 and 2.4
    kB, as much as a small picture.

    Args:
        source: YUV4MPEG2.
        check: called after each frame and while the end is waited for; it may raise.
        on_open: called with the session before its first frame, so that another thread can end it.
        focus: which parts of the pictures matter.

    Raises:
        SceneError: the source cannot be read, or the encoder refuses the settings or fails.
    """
    encoder = check_settings(settings)
    session: EncoderSession | None = None

    def write(packet: Packet[Any]) -> None:
        assert session is not None
        kept = _without_messages(packet, encoder)
        # PyAV forgets it for packets of `encode_lazy`.
        kept.stream = session.stream
        output.mux_one(kept)

    try:
        plan = plan_encode(settings, probe(source), 0.0 if focus is None else focus.strength)
        masks = None if focus is None else MaskReader(focus.masks)
        with (
            Decoder(plan.info, writable=False) as decoder,
            av.open(str(destination), "w", format=encoder.raw_muxer) as output,
        ):
            session = open_session(output, plan)
            session.start(None)
            output.start_encoding()
            on_open(session)
            for unit in decoder.units():
                if unit.frame is not None:
                    unit.frame.importance = None if masks is None else masks.next()
                    for packet in session.encode(unit.frame):
                        write(packet)
                    check()
            for packet in session.finish(check):
                write(packet)
    except (av.FFmpegError, ValueError) as error:
        raise SceneError(f"encoding with {settings.codec} failed: {reason(error)}.") from error
    finally:
        if session is not None:
            session.close()


def pyav_version() -> str:
    """The version of PyAV, whose build has the encoders."""
    return av.__version__


def _without_messages(packet: Packet[Any], encoder: Encoder) -> Packet[Any]:
    data = bytes(packet)
    kept = encoder.without_messages(data)
    if len(kept) == len(data):
        return packet
    clean: Packet[Any] = Packet(kept)
    clean.pts, clean.dts, clean.time_base = packet.pts, packet.dts, packet.time_base
    clean.duration, clean.is_keyframe = packet.duration, packet.is_keyframe
    return clean
