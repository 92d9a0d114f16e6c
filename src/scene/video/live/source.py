"""A live source as frames and packets of sound on one clock, over everything that happens to its connection."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from scene.errors import InputError
from scene.video.container.digest import codec_name
from scene.video.live.aac import audio_config, has_headers, without_header
from scene.video.live.address import Address
from scene.video.live.connect import GoneError, connect, why
from scene.video.live.timeline import LIVE_CLOCK, TICKS, Timeline
from scene.video.pixel_format import HOW_TO_DEINTERLACE, to_planar
from scene.video.rawvideo.pipes import GivenUpError
from scene.video.source.crop import Cropper
from scene.video.source.decode import DecodedFrame
from scene.video.source.deinterlace import Deinterlacer
from scene.video.source.open import reason
from scene.video.source.probe import SourceInfo, best_video, describe, packet_chroma_location

log = logging.getLogger(__name__)

_VIDEO, _AUDIO = 0, 1
# Seconds before the first and between later attempts to connect again.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
# A file at real-time speed that has fallen behind by more does not hurry afterwards.
_MOST_BEHIND_S = 0.5
# Frames that a decoder may hold; what is older was never decoded.
_HELD = 64


@dataclass(slots=True)
class LiveUnit:
    """A step of a live source: sound, then at most one frame, both on the clock of `LIVE_CLOCK` from 0 on.

    Attributes:
        arrived: when the frame's packet was read, of `time.monotonic`.
    """

    arrived: float
    packets: list[Packet[Any]] = field(default_factory=list)
    frame: DecodedFrame | None = None


class LiveSource:
    """Reads a source until it ends, and a network's until `stop`: where it is gone, it is opened again.

    Args:
        paced: hand on what a file holds at the speed at which it is shown.
        deinterlace: make a progressive frame of each interlaced one.
        timeout: seconds without a packet after which the source is given up.
        stop: once set, reading ends as at the end of a file.

    Attributes:
        info: of the video, from `open` on; its time base is `LIVE_CLOCK`.
        first: what came up to the first frame, from `open` on; `units` gives it too.
        audio: the stream of sound that is taken over, of the first connection; None without any.
        audio_config: what describes it, where its packets did; they are handed on without that.
        connections: made so far.
        damage: packets and frames that could not be decoded or came damaged.
        waiting_since: from when on nothing has come that was waited for, of `time.monotonic`; None while nothing is.
    """

    info: SourceInfo

    def __init__(
        self, address: Address, *, paced: bool, deinterlace: bool, timeout: float, stop: threading.Event
    ) -> None:
        self.audio: Stream | None = None
        self.audio_config = b""
        self._audio_codec = ""
        self.connections = self.damage = 0
        self.waiting_since: float | None = time.monotonic()
        self.timeline = Timeline()
        self._address = address
        self._paced = paced
        self._deinterlace = deinterlace
        self._timeout = timeout
        self._stop = stop
        self._steps = self._read()
        self.first: LiveUnit | None = None
        self._last_pts = -1
        self._step = 0
        self._pace_from: float | None = None
        self._arrivals: dict[int, float] = {}
        self._cropper: Cropper | None = None
        self._deinterlacer: Deinterlacer | None = None
        self._known = False

    def open(self) -> None:
        """Connects and reads up to the first frame.

        Raises:
            InputError: there is no such source, or no video in it that can be taken.
            UsageError: standard input is a terminal or closed.
            MissingError: there is no ffmpeg program, which SRT needs.
        """
        self.first = next((unit for unit in self._steps if unit.frame is not None), None)
        if self.first is None and not self._stop.is_set():
            raise InputError(f"{self._address.shown}: no frame of its video can be decoded.")

    def units(self) -> Iterator[LiveUnit]:
        """All steps from the beginning; `open` was called.

        Raises:
            InputError: the source is gone for good, or its picture changes its size or format.
        """
        if self.first is not None:
            # What was done since they were read was no work on them.
            now = time.monotonic()
            self._arrivals = dict.fromkeys(self._arrivals, now)
            yield replace(self.first, arrived=now)
        yield from self._steps
        for ready in () if self._deinterlacer is None else self._deinterlacer.flush():
            yield LiveUnit(time.monotonic(), [], self._own(ready))

    def close(self) -> None:
        """Leaves the connection; not beside `units`."""
        self._steps.close()

    def _read(self) -> Generator[LiveUnit]:
        lasting = self._address.kind in {"network", "srt"}
        while not self._stop.is_set():
            with self._connected() as container:
                if container is None:
                    return
                try:
                    yield from self._connection(container)
                except GivenUpError:
                    return
                except (av.FFmpegError, OSError) as error:
                    if not lasting:
                        raise InputError(f"{self._address.shown} cannot be read on: {reason(error)}.") from None
                    if not self._stop.is_set():
                        log.warning("%s: the connection is gone (%s).", self._address.shown, why(error))
                else:
                    if not lasting or self._stop.is_set():
                        return
                    log.warning("%s: the sender has left.", self._address.shown)
            self.timeline.reconnected()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[InputContainer | None]:
        """An open connection, for which it is tried again and again; None once it is no longer wanted."""
        pause = _FIRST_PAUSE_S
        said = False
        while not self._stop.is_set():
            with contextlib.ExitStack() as stack:
                try:
                    container = stack.enter_context(connect(self._address, self._stop, self._timeout))
                except GivenUpError:
                    break
                except GoneError as error:
                    if not said:
                        log.warning("%s: no connection (%s); it is tried again.", self._address.shown, error)
                    said = True
                else:
                    self.connections += 1
                    if self.connections > 1:
                        log.info("%s: connected again.", self._address.shown)
                    yield container
                    return
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        yield None

    def _connection(self, container: InputContainer) -> Iterator[LiveUnit]:
        try:
            video = best_video(container, self._address.shown)
        except InputError:
            if self._known:
                return
            raise
        # Threads that take a frame each would hold as many back.
        video.thread_type = "SLICE"
        audio = container.streams.best("audio")
        codec = "" if audio is None else codec_name(audio)
        if self._known and codec != self._audio_codec:
            log.warning("%s: the sender is back with other sound, which is left out.", self._address.shown)
            audio = None
        self._arrivals.clear()
        clocks: dict[int, int] = {}
        sound: list[Packet[Any]] = []
        first: Packet[Any] | None = None
        headed = audio is not None and has_headers(audio)
        example: bytes | None = None
        failure: Exception | None = None
        packets = self._demux(container)
        while not self._stop.is_set():
            self.waiting_since = self.waiting_since or time.monotonic()
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                failure, packet = error, None
            if packet is None or packet.size == 0:
                break
            self.waiting_since = None
            role = _VIDEO if packet.stream_index == video.index else _AUDIO
            if role == _AUDIO and (audio is None or packet.stream_index != audio.index):
                continue
            if role == _AUDIO and example is None:
                example = bytes(packet)
            if not self._place(packet, role, clocks):
                continue
            if role == _AUDIO:
                sound.append(without_header(packet) if headed else packet)
                continue
            self._pace(packet)
            if first is None:
                first = packet
                if not self._known:
                    self.audio, self._audio_codec = audio, codec
            for unit in self._decoded(container, video, packet, first, sound):
                if not self.audio_config and audio is not None and headed:
                    self.audio_config = audio_config(audio, example)
                sound = []
                yield unit
        for unit in self._decoded(container, video, None, first, sound):
            sound = []
            yield unit
        yield LiveUnit(time.monotonic(), sound)
        if failure is not None:
            raise failure

    def _demux(self, container: InputContainer) -> Iterator[Packet[Any]]:
        try:
            yield from container.demux()
        except IndexError:
            # A stream that begins only now is unknown to PyAV; a new connection would know it.
            log.warning("%s: there is a new stream in it.", self._address.shown)

    def _place(self, packet: Packet[Any], role: int, durations: dict[int, int]) -> bool:
        """Moves a packet to the time that it has on the live clock; False where it is left out."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None:
            return role == _VIDEO
        ticks = packet.time_base / LIVE_CLOCK
        duration = round((packet.duration or 0) * ticks) or durations.get(role, 0)
        durations[role] = duration
        begins = role == _VIDEO and packet.is_keyframe
        shift = self.timeline.shift(role, round(stamp * ticks), duration, begins=begins)
        if shift is None:
            return False
        moved = round(shift / ticks)
        packet.pts = None if packet.pts is None else packet.pts + moved
        packet.dts = None if packet.dts is None else packet.dts + moved
        return True

    def _pace(self, packet: Packet[Any]) -> None:
        """Waits until a packet's time has come, where the source is paced."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if self._paced and stamp is not None:
            due = float(stamp * packet.time_base)
            now = time.monotonic()
            if self._pace_from is None or now - self._pace_from - due > _MOST_BEHIND_S:
                self._pace_from = now - due
            self._stop.wait(max(0.0, self._pace_from + due - now))
        if packet.pts is not None:
            self._arrivals[packet.pts] = time.monotonic()
            if len(self._arrivals) > _HELD:
                del self._arrivals[next(iter(self._arrivals))]

    def _decoded(
        self,
        container: InputContainer,
        video: VideoStream,
        packet: Packet[Any] | None,
        first: Packet[Any] | None,
        sound: list[Packet[Any]],
    ) -> Iterator[LiveUnit]:
        """The frames that a packet brings, or, with None, those that are left; the first with the sound before it."""
        try:
            frames = video.decode(packet)
        except av.FFmpegError:
            # What a network lost is a matter of course; what stands in its place is the decoder's best.
            self.damage += 1
            return
        for frame in frames:
            if not self._known:
                assert first is not None
                location = packet_chroma_location(first, video)
                details = describe(
                    *(container, video, frame, self._address.path, location), deinterlace=self._deinterlace
                )
                self._learn(replace(details, time_base=LIVE_CLOCK, frames=None))
            self.damage += bool(frame.is_corrupt)
            arrived = self._arrivals.pop(frame.pts, None) if frame.pts is not None else None
            self._check(frame)
            assert video.time_base is not None
            self._stamp(frame, video.time_base / LIVE_CLOCK)
            assert frame.pts is not None
            self._arrivals[-1 - frame.pts] = arrived or time.monotonic()
            for ready in [frame] if self._deinterlacer is None else self._deinterlacer.push(frame):
                assert ready.pts is not None
                came = self._arrivals.pop(-1 - ready.pts, time.monotonic())
                yield LiveUnit(came, sound, self._own(ready))
                sound = []

    def _learn(self, info: SourceInfo) -> None:
        self.info = info
        self._known = True
        if info.crop is not None:
            self._cropper = Cropper(info.crop, info.format, LIVE_CLOCK, info.path)
        if self._deinterlace:
            self._deinterlacer = Deinterlacer(info.path, LIVE_CLOCK)

    def _check(self, frame: av.VideoFrame) -> None:
        coded, shown = self.info.coded_format, self._address.shown
        if (frame.width, frame.height) != (coded.width, coded.height) or frame.format.name != self.info.pixel_format:
            raise InputError(
                f"{shown}: the picture changes from {coded.width}x{coded.height} {self.info.pixel_format} to "
                f"{frame.width}x{frame.height} {frame.format.name}; start again for the new one."
            )
        if frame.interlaced_frame and self._deinterlacer is None:
            raise InputError(f"{shown} is interlaced; {HOW_TO_DEINTERLACE}.")

    def _stamp(self, frame: av.VideoFrame, ticks: Any) -> None:
        """Puts a frame on the live clock, always later than the one before."""
        step = round(frame.duration * ticks) if frame.duration else round(TICKS / self.info.rate)
        pts = self._last_pts + (self._step or 1) if frame.pts is None else round(frame.pts * ticks)
        frame.pts = max(pts, self._last_pts + 1)
        frame.time_base = LIVE_CLOCK
        frame.duration = step
        self._last_pts, self._step = frame.pts, step

    def _own(self, frame: av.VideoFrame) -> DecodedFrame:
        planar = to_planar(frame)
        if self._cropper is not None:
            return DecodedFrame(self._cropper(planar), self.info)
        if planar is frame:
            # The decoder may still predict from this buffer, and the picture will be written over.
            planar.make_writable()
        return DecodedFrame(planar, self.info)
