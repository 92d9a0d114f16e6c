"""SRT by the ffmpeg program, since PyAV's FFmpeg has none: it hands a transport stream on as it is."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from scene.errors import UsageError
from scene.video.demuxers import DEMUXERS
from scene.video.ffmpeg import GLOBAL_OPTIONS, find_ffmpeg
from scene.video.live.address import Address
from scene.video.rawvideo.pipes import PipeReader, PipeWriter

_SECRETS = ("passphrase", "streamid")
_END_S = 3.0


# What a script on its standard input may lead to; it is the only way to keep an address out of ffmpeg's arguments.
_SCRIPTED = ("-protocol_whitelist", "pipe,fd,srt,udp", "-format_whitelist", f"concat,{DEMUXERS}", "-safe", "0")
_PLAIN = ("-protocol_whitelist", "srt,udp", "-format_whitelist", DEMUXERS)


@contextmanager
def receiving(address: Address, stop: threading.Event) -> Iterator[PipeReader]:
    """What an SRT source sends, as a transport stream.

    Raises:
        MissingError: there is no ffmpeg program.
    """
    script = b""
    words = [*_PLAIN, "-i", address.url]
    if _has_secret(address):
        quoted = address.url.replace("'", r"'\''")
        script = f"ffconcat version 1.0\nfile '{quoted}'\n".encode()
        words = [*_SCRIPTED, "-f", "concat", "-i", "pipe:0"]
    with _running([*words, "-map", "0", "-c", "copy", "-f", "mpegts", "pipe:1"]) as process:
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(script)
            process.stdin.close()
        yield PipeReader(process.stdout.fileno(), stop)


@contextmanager
def sending(address: Address, stop: threading.Event) -> Iterator[PipeWriter]:
    """A pipe whose transport stream goes to an SRT destination.

    Raises:
        UsageError: the address has a passphrase or a stream id.
        MissingError: there is no ffmpeg program.
    """
    if _has_secret(address):
        raise UsageError(
            f"{address.shown}: the passphrase or stream id of a destination would show in the list of processes, so it "
            "is not taken; let an SRT gateway of your own hold it, such as MediaMTX on this machine."
        )
    with _running(["-f", "mpegts", "-i", "pipe:0", "-map", "0", "-c", "copy", "-f", "mpegts", address.url]) as process:
        assert process.stdin is not None
        with PipeWriter(process.stdin.fileno(), stop) as writer:
            yield writer


def _has_secret(address: Address) -> bool:
    return any(f"{name}=" in address.url for name in _SECRETS)


@contextmanager
def _running(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(find_ffmpeg().path), *GLOBAL_OPTIONS, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Ctrl-C on the terminal is for us, who end it.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    sends = not process.stdin.closed
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        # What it was given last is still on its way.
        process.wait(timeout=_END_S if sends else 0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
