"""The first of two passes for a bitrate: the source through the encoder, for its statistics and its quantiser."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

from scene.errors import SceneError
from scene.video.encoders.base import StatisticsPass
from scene.video.encoding.diagnose import reported_settings
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.session import new_context, open_encoder, ready_frame
from scene.video.source.decode import Decoder
from scene.video.source.open import reason

_LAMBDA = 118  # FFmpeg's FF_QP2LAMBDA


def encode_first_pass(
    plan: EncodePlan,
    statistics: Path,
    *,
    tolerant: bool,
    on_frame: Callable[[int, int], None],
) -> float | None:
    """Encodes a source at the bitrate of the settings and throws the stream away.

    Args:
        statistics: a file for the encoder to write, of those that write one.
        tolerant: of damage, as the second pass will be; what is skipped is said then.
        on_frame: called with the frames and the bytes so far; it may raise.

    Returns:
        The CRF whose quantiser the encoder came to on the mean, None where it tells none.

    Raises:
        UsageError: the encoder refuses the settings.
        InputError: the source is damaged, and `tolerant` is off.
        SceneError: the encoder failed.
    """
    info = plan.info
    statistics_pass = StatisticsPass(1, statistics) if plan.encoder.has_statistics else None
    encoder = new_context(plan, statistics_pass)
    open_encoder(encoder, plan.encoder)
    quantisers: list[float] = []
    reported: dict[str, str] = {}
    frames = size = 0

    def take(packets: list[Packet[Any]]) -> None:
        nonlocal size, reported
        for packet in packets:
            reported = reported or reported_settings(bytes(packet)[:4096])
            quantisers.extend(_quantisers(packet))
            size += packet.size

    try:
        with Decoder(info, writable=False, tolerant=tolerant, quiet=True) as decoder:
            for unit in decoder.units():
                if unit.frame is not None:
                    take(encoder.encode(ready_frame(unit.frame, encoder, info)))
                    frames += 1
                    on_frame(frames, size)
        take(encoder.encode(None))
    except (av.FFmpegError, OSError) as error:
        raise SceneError(f"{info.path}: the first pass failed: {reason(error)}.") from error
    return plan.encoder.equivalent_crf(quantisers, reported, info.format.bit_depth)


def _quantisers(packet: Packet[Any]) -> list[float]:
    return [
        struct.unpack_from("=I", bytes(data))[0] / _LAMBDA
        for data in packet.iter_sidedata()
        if data.data_type == "quality_stats"
    ]
