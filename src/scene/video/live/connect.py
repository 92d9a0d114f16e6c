"""One connection to a live source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import av
from av.container import InputContainer

from scene.errors import InputError
from scene.video.demuxers import DEMUXERS
from scene.video.live.address import Address
from scene.video.live.relay import receiving
from scene.video.rawvideo.pipes import GivenUpError, PipeReader
from scene.video.rawvideo.streams import standard_input
from scene.video.source.open import DEMUXING, open_input, reason

# Without a packet for so long a connection is taken for broken.
_STALL_S = 5.0
_OPEN_S = 10.0
_POLL_S = 0.1
# In microseconds: how much of a stream is looked at before the first frame.
_ANALYSED = "2000000"


class GoneError(Exception):
    """There is nothing to connect to; the message says why."""


@contextmanager
def connect(address: Address, stop: threading.Event, patience: float) -> Iterator[InputContainer]:
    """Opens a source, and closes it in the end.

    Args:
        stop: once set, what waits raises `GivenUpError`.
        patience: seconds to wait for a caller, where it is the other side that calls.

    Raises:
        GoneError: the network's source is not there, or is no media stream.
        InputError: the file cannot be read.
        UsageError, MissingError: see `LiveSource.open`.
    """
    if address.kind == "file":
        with open_input(address.path) as container:
            yield container
    elif address.kind == "pipe":
        with _open_stream(PipeReader(standard_input(), stop), address) as container:
            yield container
    elif address.kind == "srt":
        with receiving(address, stop) as pipe:
            try:
                container = _open_stream(pipe, address)
            except InputError as error:
                raise GoneError(str(error)) from None
            with container:
                yield container
    else:
        with _abandonable(lambda: _open_network(address, patience), stop) as container:
            yield container


def _abandonable(opening: Callable[[], InputContainer], stop: threading.Event) -> InputContainer:
    """What `opening` gives, which is left alone once `stop` is set: it may wait for a call that never comes."""
    made: list[InputContainer] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            made.append(opening())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=work, name="connect", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
        if stop.is_set():
            raise GivenUpError
    if failures:
        raise failures[0]
    return made[0]


def _open_stream(pipe: Any, address: Address) -> InputContainer:
    try:
        container: InputContainer = av.open(pipe, "r", options={**DEMUXING, "analyzeduration": _ANALYSED})
        return container
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{address.shown} cannot be opened as video: {reason(error)}.") from None


def _open_network(address: Address, patience: float) -> InputContainer:
    options = {
        "protocol_whitelist": address.protocols,
        "format_whitelist": DEMUXERS,
        "analyzeduration": _ANALYSED,
        # Of UDP: a burst that does not fit is lost, and no reason to end.
        "overrun_nonfatal": "1",
    }
    if address.listens:
        options["listen"] = "1"
    wait = max(_OPEN_S, patience) if address.listens else _OPEN_S
    try:
        return av.open(address.url, "r", options=options, timeout=(wait, _STALL_S), metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise GoneError(why(error)) from None


def why(error: Exception) -> str:
    """The reason of a connection's end in words; FFmpeg has none for the end of patience."""
    return "nothing came" if isinstance(error, av.ExitError) else reason(error)
