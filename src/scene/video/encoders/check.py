"""Whether an encoder works on this machine: it is tried, since one that is there may lack its hardware."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from scene.errors import MissingError
from scene.video.av_log import ffmpeg_log
from scene.video.encoders.codecs import Codec
from scene.video.source.open import reason

# Above the least that hardware encoders take.
_SIDE = 256


def try_encoder(codec: Codec) -> str:
    """Encodes a grey picture; what the encoder is called and takes, in words.

    Raises:
        MissingError: this PyAV has no such encoder, or it cannot be opened or used here.
    """
    if codec.encoder not in av.codecs_available:
        raise MissingError(f"this build of PyAV has no {codec.encoder}.")
    context = cast(VideoCodecContext, av.CodecContext.create(codec.encoder, "w"))
    context.width = context.height = _SIDE
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    if codec.name == "x265":
        context.options = {"x265-params": "log-level=none"}  # it prints past everybody otherwise
    frame = av.VideoFrame(_SIDE, _SIDE, "yuv420p")
    for plane in frame.planes:
        plane.update(b"\x80" * plane.buffer_size)
    frame.pts = 0
    failure: Exception | None = None
    packets = []
    with ffmpeg_log() as lines:
        try:
            packets = context.encode(frame) + context.encode(None)
        except (av.FFmpegError, ValueError) as error:
            failure = error
    if failure is not None:
        # The first of FFmpeg's messages says more than its error does: which library could not be loaded.
        said = next(iter(lines), reason(failure)).strip().rstrip(".")
        raise MissingError(f"{codec.encoder} does not work here: {said}.")
    if not sum(packet.size for packet in packets):
        raise MissingError(f"{codec.encoder} gave nothing.")
    formats = av.Codec(codec.encoder, "w").video_formats or []
    depths = sorted({component.bits for fmt in formats for component in fmt.components[:1]})
    return f"{codec.encoder}, {', '.join(map(str, depths))} bit"
