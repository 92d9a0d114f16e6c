"""Somebody on the network who takes what a live run makes, and is called again where the connection breaks."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream

from scene.errors import SceneError
from scene.video.live.address import Address
from scene.video.live.outputs.muxer import TS_OPTIONS, Done, Muxer
from scene.video.live.relay import sending
from scene.video.source.open import reason

log = logging.getLogger(__name__)

_FLV_OPTIONS = {"flvflags": "+no_duration_filesize", "flush_packets": "1"}
# What waits for longer than this is given up, so that a slow receiver costs pictures and not memory or latency.
_PATIENCE_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    packet: Packet[Any]
    stream: int
    since: float


class NetworkOutput:
    """An `Output` whose connection is the work of a thread, so that nothing else waits for the network.

    A connection begins with a key frame. What comes while there is none, or while the receiver takes too little, is not
    delivered, up to the next key frame after that.

    Args:
        form: FFmpeg's name of the muxer.
        stop: once set, waiting for a relay ends.

    Raises:
        UsageError: see `scene.video.live.relay.sending`.
    """

    def __init__(
        self, address: Address, form: str, streams: Sequence[Stream], done: Done, stop: threading.Event
    ) -> None:
        self._address = address
        self._form = form
        self._streams = streams
        self._done = done
        self._stop = stop
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._connected = self._ended = False
        # Whether packets are taken, from a key frame on.
        self._flowing = False
        self._refused: SceneError | None = None
        self._thread = threading.Thread(target=self._serve, name="send", daemon=True)
        self._thread.start()
        # Who is there should see the beginning.
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._refused is not None, _PATIENCE_S)
        if self._refused is not None:
            raise self._refused

    def write(self, packet: Packet[Any], stream: int) -> None:
        """As `Output` has it."""
        now = time.monotonic()
        with self._changed:
            late = bool(self._waiting) and now - self._waiting[0].since > _PATIENCE_S
            if not self._connected or late:
                self._flowing = False
            elif stream == 0 and packet.is_keyframe and not self._waiting:
                self._flowing = True
            taken = self._flowing
            if taken:
                self._waiting.append(_Waiting(packet, stream, now))
                self._changed.notify_all()
        if not taken:
            self._done(stream, packet.pts or 0, packet.size, False)

    def finish(self) -> None:
        """As `Output` has it."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            log.warning("%s: what came last was not taken.", self._address.shown)

    def abandon(self) -> None:
        """As `Output` has it."""
        self.finish()

    def _serve(self) -> None:
        pause = _FIRST_PAUSE_S
        said = False
        while not self._ended:
            began = time.monotonic()
            with contextlib.ExitStack() as stack:
                try:
                    muxer = self._open(stack)
                    log.info("%s: connected.", self._address.shown)
                    said = False
                    self._send(muxer)
                    return
                except SceneError as error:
                    with self._changed:
                        self._refused = error
                        self._changed.notify_all()
                    return
                except (av.FFmpegError, OSError, ValueError) as error:
                    if not said:
                        log.warning("%s: no connection (%s); it is tried again.", self._address.shown, reason(error))
                    said = True
            if time.monotonic() - began > _LONGEST_PAUSE_S:
                pause = _FIRST_PAUSE_S
            with self._changed:
                self._changed.wait_for(lambda: self._ended, pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _open(self, stack: contextlib.ExitStack) -> Muxer:
        if self._address.kind == "srt":
            pipe = stack.enter_context(sending(self._address, self._stop))
            return Muxer(pipe, self._form, self._streams, TS_OPTIONS)
        return Muxer(self._address.url, self._form, self._streams, _FLV_OPTIONS if self._form == "flv" else TS_OPTIONS)

    def _send(self, muxer: Muxer) -> None:
        """Sends until the end. Raises av.FFmpegError or OSError where the connection breaks."""
        with self._changed:
            self._connected = True
            self._changed.notify_all()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._ended)
                    if not self._waiting:
                        break
                    item = self._waiting[0]
                stamp, size = item.packet.pts or 0, item.packet.size
                written = muxer.write(item.packet, item.stream)
                with self._changed:
                    self._waiting.popleft()
                self._done(item.stream, stamp, size, written)
        except BaseException:
            muxer.abandon()
            raise
        else:
            muxer.close()
        finally:
            with self._changed:
                self._connected = self._flowing = False
                lost = list(self._waiting)
                self._waiting.clear()
            for item in lost:
                self._done(item.stream, item.packet.pts or 0, item.packet.size, False)
