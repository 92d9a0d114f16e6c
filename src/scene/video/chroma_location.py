"""Where chroma samples lie between luma samples: PyAV does not say, so the bitstream's headers are read."""

from __future__ import annotations

import re

import av
import av.logging
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.video.stream import VideoStream

# H.264 and HEVC chroma_sample_loc_type, AV1 chroma_sample_position, as FFmpeg's option names them.
_H26X = ("left", "center", "topleft", "top", "bottomleft", "bottom")
_AV1 = {1: "left", 2: "topleft"}
_FIELD = re.compile(r"(chroma_sample_loc_type_top_field|chroma_sample_position)\s.*= (\d+)\s*$")


def read_chroma_location(container: InputContainer, stream: VideoStream) -> str | None:
    """The chroma location that an H.264, HEVC or AV1 stream declares, None where it declares none.

    Reads the stream's first packet from where the container stands.
    """
    if stream.codec_context.name not in {"h264", "hevc", "av1", "libdav1d"}:
        return None
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=False) as lines:
            trace = BitStreamFilterContext("trace_headers", stream)
            for packet in container.demux(stream):
                trace.filter(packet)
                break
    except (av.FFmpegError, ValueError):
        return None
    finally:
        av.logging.set_level(level)
    for _, _, text in lines:
        match = _FIELD.search(text)
        if match:
            value = int(match[2])
            return _AV1.get(value) if "position" in match[1] else dict(enumerate(_H26X)).get(value)
    return None
