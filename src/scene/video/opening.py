"""Opening files with FFmpeg's libraries so that a name is only ever the name of a local file."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.logging
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from scene.errors import InputError
from scene.video.demuxers import DEMUXERS, PROTOCOLS

log = logging.getLogger(__name__)

# SVT-AV1 writes its banner straight to stderr and knows no other switch. An own setting of the user's stays.
os.environ.setdefault("SVT_LOG", "0")
# FFmpeg's log would otherwise reach Python's logging, line by line and out of context.
av.logging.set_level(None)
logging.getLogger("libav").addHandler(logging.NullHandler())


def file_url(path: Path) -> str:
    """The address of a local file, so that `concat:x`, `%03d` and `-x` are names like any other."""
    return "file:" + os.fspath(path)


def require_readable(path: Path) -> None:
    """Raises InputError, with the reason, where `path` is not a regular file that can be read and has content."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a directory; give a video file.")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file; give a video file.")
        if status.st_size == 0:
            raise InputError(f"{path} is empty.")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}.") from None


def open_input(path: Path) -> InputContainer:
    """Opens a local media file for reading.

    Raises:
        InputError: there is no such file, it cannot be read, or it is no media file of a known kind.
    """
    require_readable(path)
    try:
        return av.open(
            file_url(path),
            mode="r",
            options={"protocol_whitelist": PROTOCOLS, "format_whitelist": DEMUXERS},
            metadata_errors="surrogateescape",
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be opened as video: {reason(error)}.") from None


def read_packets(container: InputContainer, stream: Stream | None = None) -> Iterator[Packet[Any]]:
    """The packets of a file, or of one stream of it, with empty ones at the end for decoders to give what they hold.

    A stream that begins only in the middle of the file, as transport streams may have it, is unknown to PyAV, which
    stumbles over it at the very end.
    """
    try:
        yield from container.demux() if stream is None else container.demux(stream)
    except IndexError:
        log.warning("%s: a stream that begins in the middle of it is not read.", container.name.removeprefix("file:"))


def reason(error: BaseException) -> str:
    """What an exception of FFmpeg's or of the system's says, without numbers and file names."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:1].lower() + str(text)[1:].rstrip(".")
