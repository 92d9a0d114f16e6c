"""One of FFmpeg's filters between a buffer and a sink, in process."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.filter import Graph

from scene.errors import InputError
from scene.video.source.open import reason


def open_filter(frame: av.VideoFrame, time_base: Fraction, name: str, options: str, *, path: Path, done: str) -> Graph:
    """The graph of a filter for pictures like `frame`.

    Args:
        time_base: of the frames' time stamps, in seconds.
        name, options: of the filter.
        path: of the source, for messages.
        done: what the filter does to pictures, as a participle for messages.

    Raises:
        InputError: the filter does not take pictures of this size and format.
    """
    graph = Graph()
    size = f"{frame.width}x{frame.height}"
    source = graph.add("buffer", f"video_size={size}:pix_fmt={frame.format.name}:time_base={time_base}")
    try:
        graph.link_nodes(source, graph.add(name, options), graph.add("buffersink")).configure()
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{path}: pictures of {size} {frame.format.name} cannot be {done}: {reason(error)}.") from None
    return graph
