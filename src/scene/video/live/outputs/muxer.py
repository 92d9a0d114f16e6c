"""Packets of a live run into one of FFmpeg's muxers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import av
from av.packet import Packet
from av.rational import AVRational
from av.stream import Stream

from scene.video.container.copies import add_copy

log = logging.getLogger(__name__)

# Told of each packet, from any thread: its stream, its time on the live clock, its size, and whether it was delivered.
Done: TypeAlias = Callable[[int, int, int, bool], None]

# Headers with every key frame: whoever comes later can begin there. Sound keeps a time for each of its packets.
TS_OPTIONS = {"mpegts_flags": "+resend_headers", "pes_payload_size": "0", "max_delay": "0", "flush_packets": "1"}


class Muxer:
    """An output with its header, from a key frame on.

    Args:
        target: a file-like object to write to, or an address of FFmpeg's.
        form: FFmpeg's name of the muxer.
        streams: descriptions of what it holds, see `LiveEncoder`.
        options: of the muxer.
        io_open: opens the further files that it asks for, see `av.open`.

    Raises:
        av.FFmpegError, OSError, ValueError: it cannot be opened.
    """

    def __init__(
        self,
        target: Any,
        form: str,
        streams: Sequence[Stream],
        options: dict[str, str],
        io_open: Any = None,
    ) -> None:
        self._container = av.open(
            *(target, "w"),
            format=form,
            options={"fflags": "+bitexact", **options},
            io_open=io_open,
        )
        try:
            self._streams = [add_copy(self._container, stream) for stream in streams]
            # A wish, which the muxer grants where it can.
            for copy, stream in zip(self._streams, streams, strict=True):
                if stream.time_base is not None:
                    copy.time_base = stream.time_base
            self._container.start_encoding()
        except BaseException:
            self.abandon()
            raise
        self._last: dict[int, int] = {}

    def write(self, packet: Packet[Any], stream: int) -> bool:
        """Writes a packet of a stream, which is used up; False where its time is not after that of the one before.

        Raises:
            av.FFmpegError, OSError: it cannot be written.
        """
        packet.stream = self._streams[stream]
        clock = self._streams[stream].time_base
        assert clock is not None
        packet.rescale_ts(AVRational(*clock.as_integer_ratio()))
        if packet.dts is not None:
            if packet.dts <= self._last.get(stream, packet.dts - 1):
                return False
            self._last[stream] = packet.dts
        self._container.mux_one(packet)
        return True

    def close(self) -> None:
        """Writes what is left, and the end. Raises av.FFmpegError or OSError."""
        self._container.close()

    def abandon(self) -> None:
        """Leaves the output as it is."""
        try:
            self._container.close()
        except (av.FFmpegError, OSError, ValueError):
            log.debug("closing an abandoned output failed", exc_info=True)
