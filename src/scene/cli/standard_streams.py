"""The process's standard streams, which may be closed, full or left by whoever read them."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO, cast

from scene.errors import SceneError


def secure_standard_streams() -> None:
    """Sees to it that no message can end the work, and that no file takes the place of a closed stream.

    The numbers 0, 1 and 2 of closed streams would go to the next files that are opened, and the messages of encoders
    into these. `sys.stdin` and `sys.stdout` stay None, by which a command can tell.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
    # For good, so neither is closed before the process ends.
    sys.stderr = cast(TextIO, _Messages(sys.stderr or open(os.devnull, "w", encoding="utf-8")))  # noqa: SIM115, PTH123
    if sys.stdout is not None:
        sys.stdout = cast(TextIO, _Data(sys.stdout))


def release_stdout() -> None:
    """Points stdout at nothing, so that the interpreter's last flush finds a place for what nobody takes."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


class _Stream:
    """A text stream that has its own way with errors in writing.

    Args:
        stream: what it writes to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As a text file's."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        """As a text file's."""
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Messages(_Stream):
    """Messages: what cannot be written is lost, and the work goes on."""

    def _failed(self, error: OSError) -> None:
        return


class _Data(_Stream):
    """What was asked for: raises SceneError where it cannot be written, BrokenPipeError where nobody reads."""

    def _failed(self, error: OSError) -> None:
        release_stdout()
        if isinstance(error, BrokenPipeError):
            raise error
        raise SceneError(f"standard output cannot be written: {error.strerror}.") from error
