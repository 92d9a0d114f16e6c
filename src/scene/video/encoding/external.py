"""Encoders that only the ffmpeg program has: a trial of its arguments, and the stream that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from scene.errors import SceneError, UsageError
from scene.picture import Picture, PictureFormat
from scene.video.encoders.base import StatisticsPass
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.process import FrameNumbers, PacketProcess
from scene.video.encoding.session import CodecSession, EncoderSession
from scene.video.ffmpeg import GLOBAL_OPTIONS, ProcessError, find_encoding_ffmpeg
from scene.video.pixel_format import frame_picture
from scene.video.source.decode import DecodedFrame

_BIT_DEPTH = 10


def open_session(output: OutputContainer, plan: EncodePlan) -> EncoderSession:
    """Adds the video's stream to an output that has not begun, with the encoder that will fill it.

    Raises:
        ValueError: the container holds no such video.
        UsageError: an encoder outside of this process refuses its settings.
        MissingError: there is no ffmpeg program for it.
    """
    return ProgramSession(output, plan) if plan.encoder.is_external else CodecSession(output, plan)


class ProgramSession:
    """An `EncoderSession` whose encoder runs in the ffmpeg program.

    The program is given frames without times and numbers them; `FrameNumbers` gives its packets the times of the
    source, whatever its clock and however variable its rate. Before that a trial with one grey picture shows whether
    it takes its arguments, and gives the parameter sets, which a container's header needs before there are frames.

    Raises:
        ValueError: the container holds no such video.
        UsageError: the encoder refuses the settings.
        MissingError: there is no ffmpeg program with the encoder.
    """

    def __init__(self, output: OutputContainer, plan: EncodePlan) -> None:
        self._plan = plan
        self._info = plan.info
        self._size = plan.size
        self._name = f"ffmpeg's {plan.ffmpeg_name}"
        self._words = [str(find_encoding_ffmpeg(plan.ffmpeg_name).path), *program_arguments(plan)]
        self._numbers = FrameNumbers(plan.info.time_base, plan.encoder.external_rate(plan.info))
        self._process: PacketProcess | None = None
        self._first: int | None = None
        trial = PacketProcess(self._words, self._name)
        try:
            self._try(trial)
            self._header = trial.header
            self.stream = cast(VideoStream, output.add_stream_from_template(cast(Any, trial.stream), opaque=True))
        finally:
            trial.close()
        self.stream.time_base = plan.info.time_base

    def start(self, statistics_pass: StatisticsPass | None) -> None:
        """As `EncoderSession` has it."""
        self._process = PacketProcess(self._words, self._name)

    def encode(self, frame: DecodedFrame) -> Iterator[Packet[Any]]:
        """As `EncoderSession` has it."""
        assert self._process is not None
        assert frame.av_frame.pts is not None
        self._numbers.add(frame.av_frame.pts)
        try:
            self._process.send(raw_planes(frame_picture(frame.av_frame, self._info.format), self._size))
            yield from map(self._timed, self._process.ready())
        except ProcessError as error:
            raise _with_hint(error) from None

    def finish(self, check: Callable[[], None]) -> Iterator[Packet[Any]]:
        """As `EncoderSession` has it."""
        assert self._process is not None
        try:
            yield from map(self._timed, self._process.finish(check))
        except ProcessError as error:
            raise _with_hint(error) from None

    def kill(self) -> None:
        """As `EncoderSession` has it."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """As `EncoderSession` has it."""
        if self._process is not None:
            self._process.close()

    def _try(self, trial: PacketProcess) -> None:
        width, height = self._size
        grey = PictureFormat(width, height, _BIT_DEPTH, "420")
        planes = tuple(np.full(shape, 1 << _BIT_DEPTH - 1, np.uint16) for shape in grey.plane_shapes)
        try:
            trial.send(raw_planes(Picture(grey, planes), self._size))
            packets = list(trial.finish(lambda: None))
        except ProcessError as error:
            said = self._plan.encoder.external_refusal(trial.messages, self._size)
            if said is None:
                raise SceneError(f"a trial of one frame failed: {error}") from None
            raise UsageError(said) from None
        if len(packets) != 1 or not trial.header:
            raise SceneError(f"{self._name} gave {len(packets)} packets of one frame.")

    def _timed(self, packet: Packet[Any]) -> Packet[Any]:
        """A packet with the source's times; the program's first one is the first frame."""
        assert self._process is not None
        if self._first is None:
            if self._process.header != self._header:
                raise SceneError(f"{self._name} has other parameter sets than in a trial before.")
            self._first = packet.pts
        packet.pts, packet.dts = (self._time(stamp, packet.duration) for stamp in (packet.pts, packet.dts))
        packet.time_base = self._info.time_base
        packet.duration = 0
        return packet

    def _time(self, stamp: int | None, ticks: int | None) -> int:
        """The source's time for one of the program's, which has as many ticks for each frame."""
        try:
            assert stamp is not None and self._first is not None and ticks
            number, rest = divmod(stamp - self._first, ticks)
            assert not rest
            return self._numbers.time(number)
        except (AssertionError, IndexError):
            raise SceneError(f"{self._name} gave a packet that is of no frame.") from None


def program_arguments(plan: EncodePlan) -> list[str]:
    """ffmpeg's arguments: uncompressed frames of 10 bit on standard input, fragments of mp4 on standard output."""
    width, height = plan.size
    return [
        *GLOBAL_OPTIONS,
        *("-f", "rawvideo", "-pixel_format", plan.pixel_format, "-video_size", f"{width}x{height}"),
        *("-framerate", str(plan.encoder.external_rate(plan.info)), "-i", "pipe:0", "-fps_mode", "passthrough"),
        *plan.encoder.external_arguments(plan.settings, plan.info),
        *("-f", "mp4", "-movflags", "+frag_every_frame+empty_moov+default_base_moof", "-flush_packets", "1", "pipe:1"),
    ]


def raw_planes(picture: Picture, size: tuple[int, int]) -> Iterator[memoryview]:
    """The samples of a 4:2:0 picture as 16-bit words of 10 bit, its last column and line repeated up to a size.

    Samples of 8 bit become those of 10 bit by two zero bits: four times the value, so that nothing is rounded.
    """
    whole = PictureFormat(*size, _BIT_DEPTH, "420")
    for plane, shape in zip(picture.planes, whole.plane_shapes, strict=True):
        rows, columns = plane.shape
        samples = np.empty(shape, "<u2")
        np.left_shift(plane, _BIT_DEPTH - picture.format.bit_depth, out=samples[:rows, :columns], dtype="<u2")
        samples[:rows, columns:] = samples[:rows, columns - 1 : columns]
        samples[rows:] = samples[rows - 1]
        yield samples.data.cast("B")


def _with_hint(error: ProcessError) -> ProcessError:
    """FFmpeg has as many bytes for a coded picture as it has pixels, and says nothing where they are too few."""
    if "Error flushing encoder" not in str(error) and "Error submitting video frame" not in str(error):
        return error
    return ProcessError(f"{str(error).rstrip('.')}; if pictures were coded too finely for its buffer, raise `crf`.")
