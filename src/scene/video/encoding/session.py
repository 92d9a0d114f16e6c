"""An encoder at work: opened for a plan, frames in, packets out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, Protocol, cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.stream import VideoStream

from scene.errors import TargetError, UsageError
from scene.video.av_log import ffmpeg_log
from scene.video.encoders.base import Encoder, StatisticsPass
from scene.video.encoding.diagnose import hint, refusal, warn_of_corrections
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.regions import RegionMarker
from scene.video.pixel_format import frame_picture, write_picture
from scene.video.source.decode import DecodedFrame
from scene.video.source.open import reason
from scene.video.source.probe import SourceInfo

log = logging.getLogger(__name__)

# The planar format of the same samples, for encoders that take chroma interleaved.
_PLANAR = {"p010le": "yuv420p10le"}


class EncoderSession(Protocol):
    """Makes packets of frames.

    Packets come in coding order, with the presentation times of their frames and the decoding times that belong to
    them; the stream that they are of is for the caller to set.

    Attributes:
        stream: of the output, which the encoder added to it; it belongs to its packets.
    """

    @property
    def stream(self) -> VideoStream: ...

    def start(self, statistics_pass: StatisticsPass | None) -> None:
        """Begins; to be called before the output's header is written.

        Raises:
            UsageError: the encoder refuses its settings.
        """

    def encode(self, frame: DecodedFrame) -> Iterable[Packet[Any]]:
        """Takes a frame, and gives what is ready of it and of those before it. Raises SceneError or FFmpegError."""

    def finish(self, check: Callable[[], None]) -> Iterator[Packet[Any]]:
        """The rest. `check` is called while it is waited for, and may raise. Raises SceneError or FFmpegError."""

    def kill(self) -> None:
        """Ends what other threads wait for in `encode` and `finish`, which raise then; from any thread, at any time."""

    def close(self) -> None:
        """Leaves nothing behind, whatever came before; not beside `encode` or `finish`."""


def configure(context: VideoCodecContext, plan: EncodePlan, statistics_pass: StatisticsPass | None = None) -> None:
    """Sets an encoder's context up for a plan; `open_encoder` then opens it."""
    info = plan.info
    context.width, context.height = plan.size
    context.pix_fmt = plan.pixel_format
    context.time_base = info.time_base
    context.framerate = info.rate
    if info.sample_aspect_ratio:
        context.sample_aspect_ratio = Fraction(info.sample_aspect_ratio)
    context.color_primaries = info.colour.primaries
    context.color_trc = info.colour.transfer
    context.colorspace = info.colour.matrix
    context.color_range = info.colour.range
    context.options = plan.options(statistics_pass)


def new_context(plan: EncodePlan, statistics_pass: StatisticsPass | None = None) -> VideoCodecContext:
    """A configured encoder that is not part of an output."""
    context = cast(VideoCodecContext, av.CodecContext.create(plan.ffmpeg_name, "w"))
    configure(context, plan, statistics_pass)
    return context


def open_encoder(context: VideoCodecContext, encoder: Encoder) -> None:
    """Opens a configured encoder.

    Raises:
        UsageError: the encoder refuses its size, format or parameters, or does not know one of them.
        TargetError: x264 saw in the first pass that the bitrate is too low.
    """
    options = dict(context.options)
    failure: Exception | None = None
    with ffmpeg_log() as lines:
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            failure = error
    # FFmpeg only logs parameters that an encoder does not know, and goes on without them.
    for text in lines:
        match = re.search(r"(?:Error parsing option|Unknown option:?|Invalid value for)\s*(.+?)\.?\s*$", text)
        if match:
            said = match[1].strip("'")
            raise UsageError(f"{encoder.name} does not take this of `encoder_args`: {said}{hint(encoder, said)}.")
    if failure is not None:
        said = next((text for text in lines if "Cannot open" not in text), reason(failure))
        if "bitrate is too low" in said:
            raise TargetError(f"`bitrate` cannot be reached with {encoder.name}: {said.strip()}.")
        raise UsageError(refusal(context, encoder, options, said))
    for text in lines:
        if "ignored" in text or "disabling" in text:
            log.warning("%s: %s.", encoder.name, text.strip().rstrip("."))
    if encoder.params_option is None:
        left = sorted(set(context.options) - {"chroma_sample_location"})
        if left:
            raise UsageError(f"{encoder.name} does not take this of `encoder_args`: {left[0]}.")


def ready_frame(frame: DecodedFrame, context: VideoCodecContext, info: SourceInfo) -> av.VideoFrame:
    """The frame in the size and the pixel format of an encoder, with the source's colour tags; copied where need be."""
    ready = frame.av_frame
    target = context.pix_fmt or ""
    if ready.format.name != target or (ready.width, ready.height) != (context.width, context.height):
        layout = _PLANAR.get(target, target)
        ready = av.VideoFrame(context.width, context.height, layout)
        write_picture(ready, frame_picture(frame.av_frame, info.format))
        if layout != target:
            ready = ready.reformat(format=target)
        ready.pts, ready.time_base = frame.av_frame.pts, info.time_base
    # Without this the encoder repeats the source's own choice of I, P and B frames.
    ready.pict_type = PictureType.I if frame.begins else PictureType.NONE
    colour = info.colour
    ready.color_primaries, ready.color_trc = colour.primaries, colour.transfer
    ready.colorspace, ready.color_range = colour.matrix, colour.range
    return ready


class CodecSession:
    """An `EncoderSession` in this process. Raises ValueError where the container holds no such video."""

    def __init__(self, output: OutputContainer, plan: EncodePlan) -> None:
        self._plan = plan
        self._frames = 0
        self._regions = RegionMarker(plan.focus, plan.info.format.bit_depth) if plan.focus else None
        self.stream = cast(VideoStream, output.add_stream(plan.ffmpeg_name, rate=plan.info.rate))

    def start(self, statistics_pass: StatisticsPass | None) -> None:
        """As `EncoderSession` has it."""
        configure(self.stream.codec_context, self._plan, statistics_pass)
        open_encoder(self.stream.codec_context, self._plan.encoder)
        warn_of_corrections(self._plan.encoder, self._plan.settings)

    def encode(self, frame: DecodedFrame) -> Iterator[Packet[Any]]:
        """As `EncoderSession` has it."""
        self._frames += 1
        ready = ready_frame(frame, self.stream.codec_context, self._plan.info)
        if self._regions is not None and frame.importance is not None:
            ready = self._regions.mark(ready, frame.importance, self._plan.info.time_base)
        packets = self.stream.encode(ready)
        return map(self._timed, packets)

    def finish(self, check: Callable[[], None]) -> Iterator[Packet[Any]]:
        """As `EncoderSession` has it."""
        for packet in self.stream.encode_lazy(None):
            yield self._timed(packet)
            check()

    def kill(self) -> None:
        """As `EncoderSession` has it: nothing waits for long."""

    def close(self) -> None:
        """As `EncoderSession` has it: PyAV does."""

    def _timed(self, packet: Packet[Any]) -> Packet[Any]:
        if self._frames < self._plan.encoder.frames_for_dts:
            packet.dts = packet.pts
        return packet
