"""The first of two passes for a bitrate: the source through the encoder, for its statistics and its quantiser."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from scene.errors import SceneError
from scene.video.encoders.codecs import CODECS, StatisticsPass
from scene.video.encoders.encode import configure, encoder_name, open_encoder
from scene.video.encoders.ready_frame import ready_frame
from scene.video.encoders.report import reported_settings
from scene.video.encoders.settings import EncoderSettings
from scene.video.source.decode import Decoder
from scene.video.source.open import reason
from scene.video.source.probe import SourceInfo

_LAMBDA = 118  # FFmpeg's FF_QP2LAMBDA
# In x264 and x265, with macroblock trees and a quantiser compression of 0.6, by which a CRF's frames lie above it.
_TREE_QPS = 13.5


def encode_first_pass(
    info: SourceInfo,
    settings: EncoderSettings,
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
    codec = CODECS[settings.codec]
    encoder = cast(VideoCodecContext, av.CodecContext.create(encoder_name(codec, info), "w"))
    configure(encoder, codec, settings, info, StatisticsPass(1, statistics) if codec.has_statistics else None)
    open_encoder(encoder, codec)
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
    return equivalent_crf(codec.name, quantisers, reported, info.format.bit_depth)


def equivalent_crf(codec: str, quantisers: list[float], reported: dict[str, str], bit_depth: int) -> float | None:
    """The CRF of which frames would have had such quantisers on the mean.

    x264 and x265 with macroblock trees lay a CRF's frames above it, by an amount that depends on their quantiser
    compression; x264 counts from lower for deeper samples. SVT-AV1 gives every second frame the CRF's own
    quantiser, and those that others refer to finer ones.

    Args:
        quantisers: of all frames.
        reported: what the encoder said of its settings, see `reported_settings`.
    """
    if not quantisers:
        return None
    if codec == "svtav1":
        coarser = sorted(quantisers)[len(quantisers) // 2 :]
        return sum(coarser) / len(coarser)
    crf = sum(quantisers) / len(quantisers)
    tree = reported.get("mbtree", reported.get("cutree", "0")) != "0"
    if tree:
        crf -= _TREE_QPS * (1 - float(reported.get("qcomp", "0.6")))
    if codec == "x264":
        crf -= 6 * (bit_depth - 8)
    return min(max(crf, 0.0), CODECS[codec].max_crf)


def _quantisers(packet: Packet[Any]) -> list[float]:
    return [
        struct.unpack_from("=I", bytes(data))[0] / _LAMBDA
        for data in packet.iter_sidedata()
        if data.data_type == "quality_stats"
    ]
