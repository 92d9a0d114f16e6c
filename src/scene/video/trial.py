"""Trial encodes: a few pictures through an encoder with the settings of a whole video, in memory and back again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from scene.errors import SceneError
from scene.picture import Picture, Plane
from scene.video.encode import CODECS, Codec, EncoderSettings, configure, encoded_size, encoder_name
from scene.video.opening import reason
from scene.video.pixel_format import frame_picture, picture_format, write_picture
from scene.video.probe import SourceInfo

_DECODERS = {"x264": "h264", "x265": "hevc", "svtav1": "libdav1d"}
# Parameters for one thread, where FFmpeg's own option is not enough.
_ONE_THREAD = {"x264": "", "x265": "pools=1", "svtav1": "lp=1"}


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial encode gave.

    Attributes:
        bytes: coded, without messages: x264 and x265 write their settings into the stream, as much as a small picture.
        lumas: the decoded luma planes, (H, W), in order.
        bit_depth: of them.
    """

    bytes: int
    lumas: tuple[Plane, ...]
    bit_depth: int


def try_encode(
    pictures: Sequence[Picture], stamps: Sequence[int], settings: EncoderSettings, info: SourceInfo
) -> Trial:
    """Encodes pictures on one thread as `Writer` would encode a video of them, and decodes the result.

    Args:
        pictures: of one format; a subsampled direction has an even size.
        stamps: when each is shown, in the source's time base.
        settings: of the video; a CRF that is wanted for the trial is set in them.
        info: of the source that the pictures are of; they have all but its size.

    Raises:
        SceneError: the encoder refuses the size or the settings, encoding or decoding failed, or frames were lost.
    """
    codec = CODECS[settings.codec]
    info = replace(info, format=pictures[0].format)
    arguments = ":".join(filter(None, (_ONE_THREAD[codec.name], settings.encoder_args)))
    encoder = cast(VideoCodecContext, av.CodecContext.create(encoder_name(codec, info), "w"))
    configure(encoder, codec, replace(settings, encoder_args=arguments), info)
    encoder.thread_count = 1
    try:
        # Not by `open_encoder`, which listens to the log of all threads: `Writer` has tried these settings by now.
        encoder.open()
        packets = _encode(encoder, codec, pictures, stamps, info)
        frames = _decode(packets, codec)
    except (av.FFmpegError, ValueError) as error:
        raise SceneError(f"a trial encode with {codec.name} failed: {reason(error)}.") from error
    if len(frames) != len(pictures):
        raise SceneError(f"{len(frames)} of {len(pictures)} frames came out of a trial encode with {codec.name}.")
    decoded = [frame_picture(frame, picture_format(frame)) for frame in frames]
    return Trial(
        bytes=sum(_coded_bytes(bytes(packet), codec) for packet in packets),
        lumas=tuple(picture.planes[0].copy() for picture in decoded),
        bit_depth=decoded[0].format.bit_depth,
    )


def _encode(
    encoder: VideoCodecContext, codec: Codec, pictures: Sequence[Picture], stamps: Sequence[int], info: SourceInfo
) -> list[Packet[Any]]:
    packets: list[Packet[Any]] = []
    for picture, stamp in zip(pictures, stamps, strict=True):
        frame = av.VideoFrame(*encoded_size(codec, picture.format), encoder.pix_fmt or "")
        write_picture(frame, picture)
        frame.pts, frame.time_base = stamp, info.time_base
        frame.color_primaries, frame.color_trc = info.colour.primaries, info.colour.transfer
        frame.colorspace, frame.color_range = info.colour.matrix, info.colour.range
        packets += encoder.encode(frame)
    return packets + encoder.encode(None)


def _decode(packets: Sequence[Packet[Any]], codec: Codec) -> list[av.VideoFrame]:
    decoder = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[codec.name], "r"))
    decoder.thread_count = 1
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    return frames + decoder.decode(None)


def _coded_bytes(packet: bytes, codec: Codec) -> int:
    """Size without supplemental messages (SEI). Start codes appear nowhere but between H.264's and HEVC's units."""
    if codec.name == "svtav1":
        return len(packet)
    units = re.split(rb"\x00*\x00\x00\x01", packet)[1:]
    return sum(len(unit) for unit in units if not _is_message(unit[0], codec))


def _is_message(first: int, codec: Codec) -> bool:
    return first & 31 == 6 if codec.name == "x264" else first >> 1 & 63 in (39, 40)
