"""Where filtered frames go: standard output, a pipe, or a file that somebody else publishes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scene.errors import UsageError
from scene.video.rawvideo.nut import NutSink
from scene.video.rawvideo.pipes import PipeWriter
from scene.video.rawvideo.source import STANDARD_STREAM
from scene.video.rawvideo.streams import RawInfo, RawKind, RawSink
from scene.video.rawvideo.y4m_stream import Y4MSink


def is_pipe(path: Path) -> bool:
    """Whether frames go to somebody who reads them at once: "-", a named pipe, /dev/stdout."""
    return path == STANDARD_STREAM or path.is_fifo() or path.is_char_device()


@contextmanager
def open_pipe(path: Path, halt: threading.Event) -> Iterator[PipeWriter]:
    """A pipe to write to; waits where a named one has no reader yet.

    Args:
        halt: once set, a write that waits for the reader ends.

    Raises:
        UsageError: it is a terminal, or closed.
    """
    if path != STANDARD_STREAM:
        with path.open("wb", buffering=0) as pipe, PipeWriter(pipe.fileno(), halt) as writer:
            yield writer
        return
    try:
        if os.isatty(1):
            raise UsageError("standard output is a terminal; send it to an encoder (scene filter ... | ENCODER ...).")
        os.fstat(1)
    except OSError:
        raise UsageError("standard output is closed; send it to an encoder (scene filter ... | ENCODER ...).") from None
    with PipeWriter(1, halt) as writer:
        yield writer


def make_sink(kind: RawKind, stream: Any, info: RawInfo) -> RawSink:
    """What writes frames in one of the two forms; errors as for `Y4MSink` and `NutSink`."""
    return NutSink(stream, info) if kind == "nut" else Y4MSink(stream, info)
