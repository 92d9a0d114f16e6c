"""The C library's memory, kept for the next frame."""

from __future__ import annotations

import ctypes
import os
import sys

# As glibc's <malloc.h> has them, with the environment's names for them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_BYTES = {
    # The most that it takes: the luma of a frame of 3840x2160 as floats is one block.
    _MMAP_THRESHOLD: ("MALLOC_MMAP_THRESHOLD_", 32 << 20),
    # Of freed memory at the end of the heap; a few dozen such blocks.
    _TRIM_THRESHOLD: ("MALLOC_TRIM_THRESHOLD_", 1 << 30),
}


def keep_freed_memory() -> None:
    """Has glibc keep what is freed for what is allocated next, in this process and in those that it starts.

    Otherwise planes are given back to the system and taken again for each step of each frame, and the system clears
    their pages: that took twice as long as the bank itself (docs/python.md). What the environment says already
    holds. Nothing happens with another C library.
    """
    if sys.platform != "linux" or any(name in os.environ for name, _ in _BYTES.values()):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option, (name, size) in _BYTES.items():
        mallopt(option, size)
        os.environ[name] = str(size)
