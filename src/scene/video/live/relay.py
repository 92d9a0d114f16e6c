"""SRT by the ffmpeg program, since PyAV's FFmpeg has none: it hands a transport stream on as it is."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from scene.errors import UsageError
from scene.video.ffmpeg import GLOBAL_OPTIONS, find_ffmpeg
from scene.video.live.address import Address
from scene.video.rawvideo.pipes import PipeReader, PipeWriter

_SECRETS = ("passphrase", "streamid")
_END_S = 3.0


@contextmanager
def receiving(address: Address, stop: threading.Event) -> Iterator[PipeReader]:
    """What an SRT source sends, as a transport stream.

    Raises:
        UsageError: the address has a passphrase.
        MissingError: there is no ffmpeg program.
    """
    words = ["-i", address.url, "-map", "0", "-c", "copy", "-f", "mpegts", "pipe:1"]
    with _running(address, words) as process:
        assert process.stdout is not None
        yield PipeReader(process.stdout.fileno(), stop)


@contextmanager
def sending(address: Address, stop: threading.Event) -> Iterator[PipeWriter]:
    """A pipe whose transport stream goes to an SRT destination; errors as of `receiving`."""
    words = ["-f", "mpegts", "-i", "pipe:0", "-map", "0", "-c", "copy", "-f", "mpegts", address.url]
    with _running(address, words, sends=True) as process:
        assert process.stdin is not None
        with PipeWriter(process.stdin.fileno(), stop) as writer:
            yield writer


@contextmanager
def _running(address: Address, words: Sequence[str], *, sends: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    # An argument can be read by everyone on the machine.
    if any(f"{name}=" in address.url for name in _SECRETS):
        raise UsageError(
            f"{address.shown}: a passphrase or stream id would show in the list of processes, so it is not taken; let "
            "an SRT gateway of your own hold it, such as MediaMTX on this machine."
        )
    options = [word for word in GLOBAL_OPTIONS if word != "-nostdin"] if sends else list(GLOBAL_OPTIONS)
    process = subprocess.Popen(
        [str(find_ffmpeg().path), *options, *words],
        stdin=subprocess.PIPE if sends else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if sends else subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Ctrl-C on the terminal is for us, who end it.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process, process.stdin)


def _end(process: subprocess.Popen[bytes], stdin: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError):
        if stdin is not None:
            stdin.close()
    try:
        # What it was given last is still on its way.
        process.wait(timeout=_END_S if stdin is not None else 0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
