"""Decoding: a source as a sequence of frames, each with the packets of other streams that come before it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream

from scene.errors import InputError
from scene.picture import Picture, Plane
from scene.video.pixel_format import HOW_TO_DEINTERLACE, frame_picture, write_picture
from scene.video.source.completeness import TruncationCheck
from scene.video.source.deinterlace import Deinterlacer
from scene.video.source.open import open_input, read_packets, reason
from scene.video.source.presentation import Presenter
from scene.video.source.probe import SourceInfo, video_stream

log = logging.getLogger(__name__)

# Packets of audio and subtitles that may gather before they are handed on without a frame.
_MAX_PACKETS = 256
# Time stamps that step back by no more than this are nudged; a longer way back is a broken or spliced source.
_NUDGE_S = Fraction(1, 2)
# Clocks of 33 bits: where one starts within a minute before it begins anew, FFmpeg counts that minute below 0.
_WRAPPING = frozenset({"mpegts", "mpeg"})
_WRAP_S = Fraction(2**33, 90000)
# Containers that hide what they have before 0.
_HIDING = ("mov,mp4", "matroska")
# Places of damage that get a warning of their own, so that a broken hour of video does not fill the log.
_NAMED = 10


class DecodedFrame:
    """A frame on its way from the decoder to the encoder.

    Its `av_frame` is planar, and counts in the source's time base. `importance`, (h, w) from 0 to 255, says which parts
    of it matter, for an encoder that is to know. With `begins` set an encoder makes it a key frame.
    """

    __slots__ = ("_format", "av_frame", "begins", "importance")

    def __init__(self, frame: av.VideoFrame, info: SourceInfo) -> None:
        self.av_frame = frame
        self.begins = False
        self.importance: Plane | None = None
        self._format = info.format

    @property
    def pts(self) -> int:
        """When the frame is shown, in the source's time base."""
        assert self.av_frame.pts is not None  # the decoder gives each frame one
        return self.av_frame.pts

    def picture(self) -> Picture:
        """The frame's planes, which alias the frame: `replace` changes them."""
        return frame_picture(self.av_frame, self._format)

    def replace(self, picture: Picture) -> None:
        """Puts another picture of the same format in the frame's place; time stamps and side data stay."""
        write_picture(self.av_frame, picture)


@dataclass(slots=True)
class Unit:
    """A step of the source: packets to copy, in file order, then at most one frame."""

    packets: list[Packet[Any]] = field(default_factory=list)
    frame: DecodedFrame | None = None


class Decoder:
    """Reads a source from its first to its last packet.

    Args:
        info: from `probe`.
        writable: make each frame's planes the caller's own, as `DecodedFrame.replace` needs.
        tolerant: skip and count what cannot be decoded instead of raising.
        quiet: log no warnings.

    Attributes:
        damage: how much was found to be damaged, undecodable or missing so far; 0 unless tolerant.
    """

    def __init__(self, info: SourceInfo, *, writable: bool, tolerant: bool = False, quiet: bool = False) -> None:
        self._info = info
        self._writable = writable
        self._tolerant = tolerant
        # A first pass leaves the warnings to the second.
        self._log_level = logging.DEBUG if quiet else logging.WARNING
        self.container = open_input(info.path, network=info.network)
        self._stream = video_stream(self.container, info.path, info.stream_index)
        self._stream.thread_type = "AUTO"
        self._later = self._start_after_zero()
        self._completeness = TruncationCheck(info.path, self.container, self._stream)
        # AVI stores no presentation times: FFmpeg numbers packets as if each were shown when it is decoded.
        self._stamped_by_dts = self.container.format.name == "avi"
        self._last_pts: int | None = None
        self._last_step = 0
        self._nudged = 0
        self.damage = 0
        self._presenter = Presenter(info)
        self._deinterlacer = Deinterlacer(info.path, info.time_base) if info.deinterlace else None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.container.close()

    def units(self) -> Iterator[Unit]:
        """All steps in order.

        Raises:
            InputError: something cannot be read or decoded, frames are missing at the end (unless tolerant),
                the picture changes its size or format, or the time stamps jump back.
        """
        packets: list[Packet[Any]] = []
        for packet in self._demux():
            self._completeness.saw_packet(packet)
            # PyAV's empty packets at the end, which ask for what a decoder holds back, are all numbered 0.
            if packet.stream.index != self._stream.index:
                if packet.size:
                    packets.append(packet)
                if len(packets) >= _MAX_PACKETS:
                    yield Unit(packets)
                    packets = []
                continue
            for frame in self._decode(packet):
                self._completeness.saw_frame(frame)
                for ready in self._deinterlaced(self._prepare(frame)):
                    yield Unit(packets, self._own(ready))
                    packets = []
        for ready in self._deinterlaced(None):
            yield Unit(packets, self._own(ready))
            packets = []
        yield Unit(packets)
        if self._nudged:
            log.log(
                self._log_level, "%s: %d time stamps did not increase and were moved.", self._info.path, self._nudged
            )
        self._report(self._completeness.verdict())
        if self.damage > _NAMED:
            log.log(
                self._log_level,
                "%s: %d places are damaged, of which the first %d are named.",
                self._info.path,
                self.damage,
                _NAMED,
            )

    def packets(self) -> Iterator[Packet[Any]]:
        """All packets of all streams in file order, at the times that `units` gives them; nothing is decoded.

        Raises:
            InputError: the file cannot be read to its end (unless tolerant).
        """
        return (packet for packet in self._demux() if packet.size)

    def frames_from(self, stamp: int | None) -> Iterator[DecodedFrame]:
        """The frames alone, beginning at a key frame before a time, which ones exactly is for the caller to find out.

        Args:
            stamp: in the source's time base, as frames have it; None for the beginning of the file.

        Raises:
            InputError: as `units` does, but for what is missing at the end; or the source cannot be sought in.
        """
        if stamp is not None:
            try:
                self.container.seek(stamp - round(self._later / self._info.time_base), stream=self._stream)
            except av.FFmpegError as error:
                raise InputError(f"{self._info.path} cannot be sought in ({reason(error)}).") from None
        for packet in self._demux(self._stream):
            for frame in self._decode(packet):
                self._completeness.saw_frame(frame)
                yield from map(self._own, self._deinterlaced(self._prepare(frame)))
        yield from map(self._own, self._deinterlaced(None))

    @property
    def has_times(self) -> bool:
        """Whether the stream says when frames are shown; elementary streams do not, and cannot be sought in."""
        return self._stream.start_time is not None

    def _start_after_zero(self) -> Fraction:
        """By how many seconds all times are moved, since hardly a container holds what is before 0."""
        name, first = self.container.format.name, self._stream.start_time or 0
        if name in _WRAPPING:
            return _WRAP_S if (self.container.start_time or 0) < 0 else Fraction(0)
        if first >= 0 or name.startswith(_HIDING):
            return Fraction(0)
        before = -first * self._info.time_base
        log.log(self._log_level, "%s begins %.3f s before 0; all its times are moved by that.", self._info.path, before)
        return before

    def _demux(self, stream: Stream | None = None) -> Iterator[Packet[Any]]:
        try:
            for packet in read_packets(self.container, stream):
                if self._later:
                    ticks = round(self._later / packet.time_base)
                    packet.pts = None if packet.pts is None else packet.pts + ticks
                    packet.dts = None if packet.dts is None else packet.dts + ticks
                yield packet
        except av.FFmpegError as error:
            self._report(f"reading stopped early ({reason(error)})")

    def _decode(self, packet: Packet[Any]) -> list[av.VideoFrame]:
        try:
            return self._stream.decode(packet if packet.size else None)
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            # Before the first frame this is a stream that was cut between key frames: players skip it too.
            if self._completeness.frames:
                self._report(f"a frame cannot be decoded ({reason(error)}){self._position()}")
            return []

    def _prepare(self, frame: av.VideoFrame) -> av.VideoFrame:
        info = self._info
        if frame.is_corrupt:
            self._report(f"a frame is damaged{self._position()}")
        coded = info.coded_format
        if (frame.width, frame.height) != (coded.width, coded.height):
            raise InputError(
                f"{info.path}: the picture changes from {coded.width}x{coded.height} to "
                f"{frame.width}x{frame.height}{self._position()}; split the file there first."
            )
        if frame.format.name != info.pixel_format:
            raise InputError(
                f"{info.path}: the pixel format changes from {info.pixel_format} to "
                f"{frame.format.name}{self._position()}; split the file there first."
            )
        if frame.interlaced_frame and self._deinterlacer is None:
            raise InputError(f"{info.path} is interlaced{self._position()}; {HOW_TO_DEINTERLACE}.")
        self._stamp(frame)
        return frame

    def _deinterlaced(self, frame: av.VideoFrame | None) -> Iterable[av.VideoFrame]:
        """The frames that are ready once one has come, or, with None, the last one."""
        if self._deinterlacer is None:
            return () if frame is None else (frame,)
        return self._deinterlacer.flush() if frame is None else self._deinterlacer.push(frame)

    def _own(self, frame: av.VideoFrame) -> DecodedFrame:
        try:
            shown = self._presenter(frame)
        except InputError as error:
            raise InputError(f"{self._info.path}{self._position()}: {error}") from None
        if self._writable and shown is frame:
            # The decoder may still predict from this buffer, so what will be overwritten is copied first.
            shown.make_writable()
        return DecodedFrame(shown, self._info)

    def _stamp(self, frame: av.VideoFrame) -> None:
        """Gives a frame without a time stamp the next one, and keeps time stamps strictly increasing."""
        step = frame.duration or max(1, round(1 / (self._info.rate * self._info.time_base)))
        last = self._last_pts
        if self._stamped_by_dts:
            frame.pts = frame.dts
        if frame.pts is None:
            frame.pts = 0 if last is None else last + self._last_step
        elif last is not None and frame.pts <= last:
            if (last - frame.pts) * self._info.time_base > _NUDGE_S:
                raise InputError(f"{self._info.path}: time stamps jump back{self._position()}; split it first.")
            frame.pts = last + 1
            self._nudged += 1
        frame.time_base = self._info.time_base
        frame.duration = step
        self._last_pts, self._last_step = frame.pts, step

    def _position(self) -> str:
        if self._last_pts is None:
            return ""
        return f" after {float(self._last_pts * self._info.time_base):.2f} s"

    def _report(self, problem: str | None) -> None:
        if problem is None:
            return
        if not self._tolerant:
            raise InputError(f"{self._info.path} is damaged or cut short: {problem}.")
        self.damage += 1
        if self.damage <= _NAMED:
            log.log(self._log_level, "%s: %s.", self._info.path, problem)
