"""VVenC, which only the ffmpeg program has: its arguments, a trial of them, and the stream that it gives."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from scene.errors import SceneError, UsageError
from scene.picture import Picture, PictureFormat
from scene.video.encoders.codecs import Codec, StatisticsPass
from scene.video.encoders.encode import encoded_size
from scene.video.encoders.frame_numbers import FrameNumbers
from scene.video.encoders.packet_process import PacketProcess
from scene.video.encoders.params import join_encoder_args, joined_items
from scene.video.encoders.settings import EncoderSettings
from scene.video.ffmpeg import GLOBAL_OPTIONS, ProcessError, find_encoding_ffmpeg
from scene.video.hdr import vvenc_params
from scene.video.pixel_format import FULL_RANGE, frame_picture
from scene.video.source.decode import DecodedFrame
from scene.video.source.probe import SourceInfo

log = logging.getLogger(__name__)

_BIT_DEPTH = 10
_NAME = "ffmpeg's libvvenc"
# Otherwise pictures come before the first key frame, which readers of mp4 leave out.
_KEY_FRAME_FIRST = "poc0idr=1"
_EXTENDED_SAR = 255
_UNSPECIFIED = {0, 2}
# Below that VVenC makes 0 frames of its interval of key frames, which is a second.
_LEAST_RATE = Fraction(1)


class VvencEncoder:
    """An `Encoder` in a process of its own, see `scene.video.encoders.encoder`.

    The program is given frames without times and numbers them; `FrameNumbers` gives its packets the times of the
    source, whatever its clock and however variable its rate. Before that a trial with one grey picture shows whether
    it takes its arguments, and gives the parameter sets, which a container's header needs before there are frames.

    Raises:
        ValueError: the container holds no VVC.
        UsageError: VVenC refuses the settings.
        MissingError: there is no ffmpeg program with VVenC.
    """

    def __init__(self, output: OutputContainer, codec: Codec, settings: EncoderSettings, info: SourceInfo) -> None:
        self._codec = codec
        self._info = info
        self._size = encoded_size(codec, info.format)
        self._words = [str(find_encoding_ffmpeg(codec.encoder).path), *vvenc_arguments(codec, settings, info)]
        self._numbers = FrameNumbers(info.time_base, vvenc_rate(info))
        self._process: PacketProcess | None = None
        self._first: int | None = None
        trial = PacketProcess(self._words, _NAME)
        try:
            self._try(trial)
            self._header = trial.header
            self.stream = cast(VideoStream, output.add_stream_from_template(cast(Any, trial.stream), opaque=True))
        finally:
            trial.close()
        self.stream.time_base = info.time_base

    def start(self, turn: StatisticsPass | None) -> None:
        """As `Encoder` has it."""
        self._process = PacketProcess(self._words, _NAME)

    def encode(self, frame: DecodedFrame) -> Iterator[Packet[Any]]:
        """As `Encoder` has it."""
        assert self._process is not None
        assert frame.av_frame.pts is not None
        self._numbers.add(frame.av_frame.pts)
        try:
            self._process.send(raw_planes(frame_picture(frame.av_frame, self._info.format), self._size))
            yield from map(self._timed, self._process.ready())
        except ProcessError as error:
            raise _with_hint(error) from None

    def finish(self, check: Callable[[], None]) -> Iterator[Packet[Any]]:
        """As `Encoder` has it."""
        assert self._process is not None
        try:
            yield from map(self._timed, self._process.finish(check))
        except ProcessError as error:
            raise _with_hint(error) from None

    def kill(self) -> None:
        """As `Encoder` has it."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """As `Encoder` has it."""
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
            said = refusal(trial.messages, self._size)
            if said is None:
                raise SceneError(f"a trial of one frame failed: {error}") from None
            raise UsageError(said) from None
        if len(packets) != 1 or not trial.header:
            raise SceneError(f"{_NAME} gave {len(packets)} packets of one frame.")

    def _timed(self, packet: Packet[Any]) -> Packet[Any]:
        """A packet with the source's times; the program's first one is the first frame."""
        assert self._process is not None
        if self._first is None:
            if self._process.header != self._header:
                raise SceneError(f"{_NAME} has other parameter sets than in a trial before.")
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
            raise SceneError(f"{_NAME} gave a packet that is of no frame.") from None


def vvenc_arguments(codec: Codec, settings: EncoderSettings, info: SourceInfo) -> list[str]:
    """ffmpeg's arguments: uncompressed frames of 10 bit on standard input, fragments of mp4 on standard output."""
    width, height = encoded_size(codec, info.format)
    if settings.bitrate is not None:
        rate = ["-b:v", f"{settings.bitrate}k"]
    else:
        rate = ["-qp", f"{codec.default_crf if settings.crf is None else settings.crf:g}"]
    own = join_encoder_args(joined_items(settings.encoder_args))
    params = ":".join(filter(None, [_KEY_FRAME_FIRST, *signalled(info), own]))
    return [
        *GLOBAL_OPTIONS,
        *("-f", "rawvideo", "-pixel_format", "yuv420p10le", "-video_size", f"{width}x{height}"),
        *("-framerate", str(vvenc_rate(info)), "-i", "pipe:0", "-fps_mode", "passthrough"),
        *_colour(info),
        *("-c:v", codec.encoder, "-preset", settings.preset or codec.default_preset, *rate, "-vvenc-params", params),
        *("-f", "mp4", "-movflags", "+frag_every_frame+empty_moov+default_base_moof", "-flush_packets", "1", "pipe:1"),
    ]


def vvenc_rate(info: SourceInfo) -> Fraction:
    """Frames per second as VVenC is told; it only sets the interval of its key frames, and a bitrate's budget."""
    return max(info.rate, _LEAST_RATE)


def signalled(info: SourceInfo) -> list[str]:
    """Parameters by which VVenC says of the source what ffmpeg does not tell it."""
    params = ["range=full"] if info.colour.range == FULL_RANGE else []
    aspect = Fraction(info.sample_aspect_ratio or 1)
    if aspect != 1:
        width, height = aspect.limit_denominator(0xFFFF).as_integer_ratio()
        params += ["aspectratioinfopresent=1", f"aspectratioidc={_EXTENDED_SAR}"]
        params += [f"sarwidth={width}", f"sarheight={height}"]
    return [*params, *vvenc_params(info.hdr)]


def _colour(info: SourceInfo) -> list[str]:
    colour = info.colour
    numbers = (("color_primaries", colour.primaries), ("color_trc", colour.transfer), ("colorspace", colour.matrix))
    tags = [f"{name}={number}" for name, number in numbers if number not in _UNSPECIFIED]
    if colour.range:
        tags.append(f"range={colour.range}")
    return ["-vf", f"setparams={':'.join(tags)}"] if tags else []


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


def refusal(messages: Sequence[str], size: tuple[int, int]) -> str | None:
    """The sentence for arguments that VVenC does not take, None where its messages have no reason."""
    lines = [line.rpartition("] ")[2].strip().rstrip(".") for line in messages]
    for line in lines:
        match = re.fullmatch(r"(?:Unknown vvenc option: |Invalid vvenc value for )(.+)", line)
        if match:
            return f"vvenc does not take this of `encoder_args`: {match[1].replace(': ', '=')}."
    if any("payload size is too small" in line for line in lines):
        return f"pictures of {size[0]}x{size[1]} are too small for ffmpeg's libvvenc; use x264, x265 or svtav1."
    problems = [line.partition(": ")[2] for line in lines if line.startswith("Parameter Check Error: ")]
    if problems:
        return f"vvenc refuses {size[0]}x{size[1]} with these settings: {'; '.join(problems)}."
    if any("Error while opening encoder" in line for line in lines):
        return f"vvenc refuses {size[0]}x{size[1]} with these settings: {lines[0]}."
    return None
