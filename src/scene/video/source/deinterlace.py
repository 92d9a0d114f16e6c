"""Interlaced frames made progressive, one frame for each, by FFmpeg's bwdif."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.filter import Graph

from scene.video.source.filter_graph import open_filter

# One frame for a frame, field order and the decision itself from each frame's own flags.
_OPTIONS = "mode=send_frame:parity=auto:deint=interlaced"


class Deinterlacer:
    """Deinterlaces the frames that are marked as interlaced; the others pass through, sample for sample.

    The filter looks at the frames before and after, so it gives each frame when the next one has come.

    Args:
        path: of the source, for messages.
        time_base: of the frames' time stamps, in seconds.
    """

    def __init__(self, path: Path, time_base: Fraction) -> None:
        self._path = path
        self._time_base = time_base
        self._graph: Graph | None = None
        self._stamps: deque[tuple[int | None, int]] = deque()

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Takes a frame with its final time stamp and gives those that are ready, each at its own time.

        Raises:
            InputError: the filter does not take pictures of this size and format.
        """
        if self._graph is None:
            self._graph = open_filter(frame, self._time_base, "bwdif", _OPTIONS, path=self._path, done="deinterlaced")
        self._stamps.append((frame.pts, frame.duration))
        yield from self._exchange(frame)

    def flush(self) -> Iterator[av.VideoFrame]:
        """The frames that are left at the end."""
        if self._graph is not None:
            yield from self._exchange(None)

    def _exchange(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        self._graph.vpush(frame)
        while True:
            try:
                ready = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            # The filter counts in half ticks; the frames come in the order in which they went in.
            ready.pts, ready.duration = self._stamps.popleft()
            ready.time_base = self._time_base
            yield ready
