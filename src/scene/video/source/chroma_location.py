"""Where chroma samples lie between luma samples: PyAV does not say, so headers are read, and a filter's messages."""

from __future__ import annotations

import re
from typing import cast, get_args

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.filter import Graph
from av.video.stream import VideoStream

from scene.picture import ChromaLocation
from scene.video.av_log import ffmpeg_log

# H.264 and HEVC chroma_sample_loc_type, AV1 chroma_sample_position, as FFmpeg's option names them.
_H26X: tuple[ChromaLocation, ...] = ("left", "center", "topleft", "top", "bottomleft", "bottom")
_AV1: dict[int, ChromaLocation] = {1: "left", 2: "topleft"}
_HEADERS_TELL = frozenset({"h264", "hevc", "av1", "libdav1d"})
_FIELD = re.compile(r"(chroma_sample_loc_type_top_field|chroma_sample_position)\s.*= (\d+)\s*$")


def read_chroma_location(container: InputContainer, stream: VideoStream) -> ChromaLocation | None:
    """The chroma location that an H.264, HEVC or AV1 stream declares, None where it declares none.

    Reads the stream's first packet from where the container stands.
    """
    if stream.codec_context.name not in _HEADERS_TELL:
        return None
    try:
        with ffmpeg_log(av.logging.INFO) as lines:
            trace = BitStreamFilterContext("trace_headers", stream)
            for packet in container.demux(stream):
                trace.filter(packet)
                break
    except (av.FFmpegError, ValueError):
        return None
    for text in lines:
        match = _FIELD.search(text)
        if match:
            value = int(match[2])
            return _AV1.get(value) if "position" in match[1] else dict(enumerate(_H26X)).get(value)
    return None


def frame_chroma_location(frame: av.VideoFrame, stream: VideoStream) -> ChromaLocation | None:
    """The chroma location that a decoder gives its frames, None where it gives none.

    Not for H.264, HEVC and AV1: their decoders give frames the usual one where the stream declares none.
    """
    if stream.codec_context.name in _HEADERS_TELL:
        return None
    graph = Graph()
    try:
        graph.link_nodes(graph.add_buffer(template=stream), graph.add("showinfo"), graph.add("buffersink")).configure()
        with ffmpeg_log(av.logging.INFO) as lines:
            graph.push(frame)
            graph.pull()
    except (av.FFmpegError, ValueError):
        return None
    match = re.search(r"\bcl:(\w+)", "".join(lines))
    return cast(ChromaLocation, match[1]) if match and match[1] in get_args(ChromaLocation) else None
