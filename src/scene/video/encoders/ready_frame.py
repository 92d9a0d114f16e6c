"""A decoded frame as an encoder takes it."""

from __future__ import annotations

import av
from av.video.codeccontext import VideoCodecContext

from scene.video.pixel_format import frame_picture, write_picture
from scene.video.source.decode import DecodedFrame
from scene.video.source.probe import SourceInfo


def ready_frame(frame: DecodedFrame, context: VideoCodecContext, info: SourceInfo) -> av.VideoFrame:
    """The frame in the size and the pixel format of an encoder, with the source's colour tags; copied where need be."""
    ready = frame.av_frame
    target = context.pix_fmt or ""
    if ready.format.name != target or (ready.width, ready.height) != (context.width, context.height):
        layout = _PLANAR.get(target, target)
        ready = av.VideoFrame(context.width, context.height, layout)
        write_picture(ready, frame_picture(frame.av_frame, info.format))
        if layout != target:
            ready = ready.reformat(format=target)
        ready.pts, ready.time_base = frame.av_frame.pts, info.time_base
    # Without this the encoder repeats the source's own choice of I, P and B frames.
    ready.pict_type = 0
    colour = info.colour
    ready.color_primaries, ready.color_trc = colour.primaries, colour.transfer
    ready.colorspace, ready.color_range = colour.matrix, colour.range
    return ready


# The planar format of the same samples, for encoders that take chroma interleaved.
_PLANAR = {"p010le": "yuv420p10le"}
