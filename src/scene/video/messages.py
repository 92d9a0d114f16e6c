"""What FFmpeg's libraries say in their log and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

Message = tuple[int, str, str]


@contextmanager
def ffmpeg_messages() -> Iterator[list[Message]]:
    """Collects FFmpeg's messages of all threads, as (level, where from, text), down to those that only inform."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=False) as messages:
            yield messages
    finally:
        av.logging.set_level(level)
