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

# For whatever is opened: one local file and nothing else.
DEMUXING = {"protocol_whitelist": PROTOCOLS, "format_whitelist": DEMUXERS}
# What is followed only where the user allows it: HLS playlists and FFmpeg's concat scripts, and where they may lead.
_SCRIPTS = "hls,concat"
_NETWORK_PROTOCOLS = "file,http,https,tcp,tls,crypto,data,httpproxy"
_NETWORK_TIMEOUT_US = 20_000_000
# How files begin that only name others: HLS, concat scripts, DASH, SDP.
_NAMING_OTHERS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"v=0")

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


def open_input(path: Path, *, network: bool = False) -> InputContainer:
    """Opens a local media file for reading.

    Args:
        network: also follow HLS playlists and concat scripts, to other files and over the network.

    Raises:
        InputError: there is no such file, it cannot be read, or it is no media file of a known kind.
    """
    require_readable(path)
    options = DEMUXING
    if network:
        options = {
            "protocol_whitelist": _NETWORK_PROTOCOLS,
            "format_whitelist": f"{DEMUXERS},{_SCRIPTS}",
            "rw_timeout": str(_NETWORK_TIMEOUT_US),
            "safe": "0",  # of concat scripts: addresses and absolute paths too
        }
    try:
        return av.open(file_url(path), mode="r", options=options, metadata_errors="surrogateescape")
    except (av.FFmpegError, ValueError, OSError) as error:
        hint = "" if network or not _names_others(path) else "; it names other files, which `allow_network` follows"
        raise InputError(f"{path} cannot be opened as video: {reason(error)}{hint}.") from None


def _names_others(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    return head.lstrip(b"\xef\xbb\xbf \r\n").startswith(_NAMING_OTHERS) or b"<MPD" in head


def read_packets(container: InputContainer, stream: Stream | None = None) -> Iterator[Packet[Any]]:
    """The packets of a file, or of one stream of it, with empty ones at the end for decoders to give what they hold.

    A stream that begins only in the middle of the file, as transport streams may have it, is unknown to PyAV, which
    stumbles over it at the very end.
    """
    try:
        yield from container.demux() if stream is None else container.demux(stream)
    except IndexError:
        log.warning("%s: a stream that begins in the middle of it is not read.", container.name.removeprefix("file:"))


def count_pictures(path: Path, stream_index: int) -> int:
    """How many pictures a stream of a file has, by its packets: none is decoded, so that the answer comes soon.

    Raises:
        InputError: see `open_input`, and where it cannot be read to its end.
    """
    with open_input(path) as container:
        try:
            return sum(1 for packet in read_packets(container, container.streams[stream_index]) if packet.size)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {reason(error)}.") from None


def reason(error: BaseException) -> str:
    """What an exception of FFmpeg's or of the system's says, without numbers and file names."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:1].lower() + str(text)[1:].rstrip(".")


def library_versions() -> str:
    """Versions of PyAV and of the FFmpeg that it brings."""
    return f"{av.__version__}, FFmpeg {av.ffmpeg_version_info}"
