"""Where a live run writes to: HLS, DASH, a file or pipe of a transport stream, or somebody on the network."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
from av.packet import Packet
from av.stream import Stream

from scene.errors import SceneError, UsageError
from scene.video.live.address import Address
from scene.video.live.outputs.dash import DashOutput
from scene.video.live.outputs.hls import FORMAT, HlsOutput
from scene.video.live.outputs.muxer import TS_OPTIONS, Done, Muxer
from scene.video.live.outputs.network import NetworkOutput
from scene.video.rawvideo.streams import open_pipe
from scene.video.source.open import reason


class Output(Protocol):
    """Takes packets until it is finished or abandoned, and tells of each what became of it, see `Done`."""

    def write(self, packet: Packet[Any], stream: int) -> None:
        """Takes a packet of a stream, which is used up. Raises SceneError."""

    def finish(self) -> None:
        """Writes what is left and the end. Raises SceneError."""

    def abandon(self) -> None:
        """Leaves what was delivered as it is."""


def muxer_of(address: Address) -> str:
    """FFmpeg's name of the muxer of a destination."""
    if address.kind in {"hls", "dash"}:
        return FORMAT
    return "flv" if address.scheme.startswith("rtmp") else "mpegts"


def open_output(
    address: Address,
    streams: Sequence[Stream],
    *,
    clock: Fraction,
    segment: float,
    window: float,
    overwrite: bool,
    stop: threading.Event,
    done: Done,
) -> Output:
    """Opens a destination.

    Args:
        streams: descriptions of what it will hold, the video first.
        clock: of the video.
        segment, window: see `HlsOutput`.
        overwrite: replace a file that exists; a playlist is gone on with.
        stop: once set, waiting for a pipe's reader ends.
        done: called for each packet.

    Raises:
        UsageError: the destination exists, or is a terminal.
        SceneError: it cannot be written to.
    """
    if address.kind == "hls":
        return HlsOutput(address.path, streams, clock, segment, window, done)
    if address.kind == "dash":
        return DashOutput(address.path, streams, segment, window, done, overwrite=overwrite)
    if address.kind in {"file", "pipe"}:
        return StreamOutput(address, streams, done, overwrite=overwrite, stop=stop)
    return NetworkOutput(address, muxer_of(address), streams, done, stop)


class StreamOutput:
    """A transport stream into a file, which can be read while it grows, or into a pipe."""

    def __init__(
        self, address: Address, streams: Sequence[Stream], done: Done, *, overwrite: bool, stop: threading.Event
    ) -> None:
        self._done = done
        self._open = contextlib.ExitStack()
        self._shown = address.shown
        target: Any
        if address.kind == "pipe":
            target = self._open.enter_context(open_pipe(Path("-"), stop))
        else:
            if address.path.exists() and not overwrite:
                raise UsageError(f"{address.path} exists; give `overwrite` to replace it.")
            try:
                target = self._open.enter_context(address.path.open("wb", buffering=0))
            except OSError as error:
                raise SceneError(f"{address.path} cannot be written: {error.strerror}.") from None
        self._muxer = Muxer(target, "mpegts", streams, TS_OPTIONS)

    def write(self, packet: Packet[Any], stream: int) -> None:
        """As `Output` has it. Raises BrokenPipeError where a pipe's reader has left."""
        stamp, size = packet.pts or 0, packet.size
        try:
            self._done(stream, stamp, size, self._muxer.write(packet, stream))
        except BrokenPipeError:
            raise
        except (av.FFmpegError, OSError) as error:
            raise SceneError(f"{self._shown} cannot be written: {reason(error)}; what is there stays.") from None

    def finish(self) -> None:
        """As `Output` has it."""
        try:
            self._muxer.close()
        except BrokenPipeError:
            raise
        except (av.FFmpegError, OSError) as error:
            raise SceneError(f"{self._shown} cannot be written: {reason(error)}; what is there stays.") from None
        finally:
            self._open.close()

    def abandon(self) -> None:
        """As `Output` has it."""
        self._muxer.abandon()
        self._open.close()
