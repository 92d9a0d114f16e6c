"""Standard streams and named pipes as files whose reads and writes another thread can end."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import select
import threading
from types import TracebackType
from typing import Any, BinaryIO, cast

# The most that Linux gives without privileges: with 64 KiB two processes wait for each other all the time.
_PIPE_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 18
_POLL_S = 0.1


class GivenUpError(Exception):
    """The stream is no longer wanted, and there is nothing to report."""


class PipeReader(io.RawIOBase):
    """Reads a descriptor, waiting for data until `halt` is set.

    Raises:
        GivenUpError: on a read after `halt`.
    """

    def __init__(self, descriptor: int, halt: threading.Event) -> None:
        self._descriptor = descriptor
        self._halt = halt
        _widen(descriptor)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Reads what there is, at least one byte, or nothing at the end."""
        while not select.select([self._descriptor], [], [], _POLL_S)[0]:
            if self._halt.is_set():
                raise GivenUpError
        return os.readv(self._descriptor, [buffer])


class PipeWriter:
    """Writes to a descriptor, waiting for the reader until `halt` is set. To be used in a `with` block.

    Raises:
        GivenUpError: on a write that waits after `halt`.
        BrokenPipeError: the reader has left.
    """

    def __init__(self, descriptor: int, halt: threading.Event) -> None:
        self._descriptor = descriptor
        self._halt = halt
        self._blocking = os.get_blocking(descriptor)
        # A write to a pipe could otherwise wait for ever in the system, where no other thread can end it.
        os.set_blocking(descriptor, False)
        _widen(descriptor)

    def __enter__(self) -> PipeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whoever shares the descriptor with us would be surprised.
        with contextlib.suppress(OSError):
            os.set_blocking(self._descriptor, self._blocking)

    def write(self, data: Any, /) -> int:
        """Writes all of the data; it is on its way when this returns."""
        left = memoryview(data).cast("B")
        count = len(left)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                while not select.select([], [self._descriptor], [], _POLL_S)[1]:
                    if self._halt.is_set():
                        raise GivenUpError from None
        return count


def buffered(reader: PipeReader) -> BinaryIO:
    """A reader with the usual methods of a binary file; what it has read ahead is lost to others."""
    return cast(BinaryIO, io.BufferedReader(reader, _BUFFER_BYTES))


def _widen(descriptor: int) -> None:
    command = getattr(fcntl, "F_SETPIPE_SZ", None)
    if command is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, command, _PIPE_BYTES)
