"""What FFmpeg's libraries say in their log and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

# The level is the library's, not a thread's: PyAV fails where it is taken away while another thread's message comes in.
_listening = threading.RLock()


@contextmanager
def ffmpeg_log(level: int = av.logging.WARNING) -> Iterator[list[str]]:
    """Collects FFmpeg's messages of all threads, down to a level; the list is filled when the context is left.

    Threads take turns.
    """
    texts: list[str] = []
    with _listening:
        yield from _collect(texts, level)


def _collect(texts: list[str], level: int) -> Iterator[list[str]]:
    before, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(level)
    # Otherwise the second file in a process with the same message has none.
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=False) as messages:
            try:
                yield texts
            finally:
                texts.extend(text for _, _, text in messages)
    finally:
        av.logging.set_level(before)
        av.logging.set_skip_repeated(skips)
