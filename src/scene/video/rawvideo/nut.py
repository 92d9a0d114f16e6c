"""nut between programs: uncompressed frames with exact time stamps, at a constant rate or not."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import av
from av.container import InputContainer

from scene.errors import InputError
from scene.picture import Frame, Picture, PictureFormat
from scene.video.pixel_format import frame_picture, planar_name, source_format, to_planar, write_picture
from scene.video.rawvideo.frames import RawInfo, RawSource
from scene.video.source.decode import DecodedFrame
from scene.video.source.open import DEMUXING, reason
from scene.video.source.probe import best_video, nominal_rate

log = logging.getLogger(__name__)

# Of one call of ours: a 1080p frame is 3 MB.
_IO_BYTES = 1 << 20


class _AsItComes:
    """A stream as FFmpeg reads it: each read gives what is there, and does not wait for all that was asked for."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.read = stream.read1


class NutFrame:
    """A frame of a nut stream, in FFmpeg's memory."""

    __slots__ = ("_format", "av_frame", "pts")

    def __init__(self, frame: av.VideoFrame, fmt: PictureFormat, pts: int) -> None:
        self.av_frame = frame
        self.pts = pts
        self._format = fmt

    def picture(self) -> Picture:
        """The frame's planes, which alias the frame."""
        return frame_picture(self.av_frame, self._format)

    def replace(self, picture: Picture) -> None:
        """Puts another picture of the same format in the frame's place."""
        self.av_frame.make_writable()
        write_picture(self.av_frame, picture)


def open_nut(stream: BinaryIO, name: str) -> RawSource:
    """Frames of the first video stream of nut; its first frame is read at once.

    Raises:
        InputError: it is no nut, has no video, or video that is compressed or of a format that is not supported.
    """
    file = _AsItComes(cast(io.BufferedReader, stream))
    try:
        container = av.open(file, mode="r", format="nut", options=DEMUXING, buffer_size=_IO_BYTES)
        video = best_video(container, name)
        if video.codec_context.name != "rawvideo":
            raise InputError(
                f"{name} holds {video.codec_context.name} video; send it uncompressed (-c:v rawvideo -f nut)."
            )
        frames = container.decode(video)
        first = next(frames, None)
    except av.FFmpegError as error:
        raise InputError(f"{name} cannot be read as y4m or nut: {reason(error)}.") from None
    if first is None:
        raise InputError(f"{name} holds no frames.")
    others = len(container.streams) - 1
    if others:
        log.warning("%s: only its video is carried over, and %d other streams are not.", name, others)
    fmt = source_format(first, name)
    assert video.time_base is not None
    pixel_format = planar_name(first.format.name)
    info = RawInfo(fmt, pixel_format, video.time_base, nominal_rate(video), video.sample_aspect_ratio)
    return RawSource(info, _frames(container, first, frames, info))


def _frames(
    container: InputContainer, first: av.VideoFrame, rest: Iterator[av.VideoFrame], info: RawInfo
) -> Iterator[Frame]:
    frame: av.VideoFrame | None = first
    coded = first.format.name
    last: int | None = None
    with container:
        while frame is not None:
            if frame.is_corrupt:
                raise InputError("a frame is damaged")
            if (frame.format.name, frame.width, frame.height) != (
                coded,
                info.format.width,
                info.format.height,
            ):
                raise InputError("the picture changes its size or pixel format")
            pts = frame.pts
            if pts is None:
                pts = 0 if last is None else last + 1
            yield NutFrame(to_planar(frame), info.format, pts)
            last = pts
            try:
                frame = next(rest, None)
            except av.FFmpegError as error:
                raise InputError(f"a frame cannot be decoded ({reason(error)})") from None


class NutSink:
    """Writes nut with uncompressed video; time stamps stay exactly what they are.

    Raises:
        OSError: the stream cannot be written to.
    """

    def __init__(self, stream: Any, info: RawInfo) -> None:
        self._info = info
        self._container = av.open(stream, mode="w", format="nut", buffer_size=_IO_BYTES)
        self._video = self._container.add_stream("rawvideo", rate=info.rate)
        context = self._video.codec_context
        context.width, context.height = info.format.width, info.format.height
        context.pix_fmt = info.pixel_format
        context.time_base = info.time_base
        if info.aspect is not None and info.aspect != 1:
            # FFmpeg's muxer takes it from a field that PyAV does not let us set.
            ratio = f"{info.aspect.numerator}:{info.aspect.denominator}"
            log.warning("the sample aspect ratio of %s cannot be written to nut; tell the encoder, or use y4m.", ratio)

    def write(self, frame: Frame) -> None:
        """Writes a frame; it is on its way when this returns. Raises OSError."""
        if isinstance(frame, NutFrame | DecodedFrame):
            ready = frame.av_frame
        else:
            ready = av.VideoFrame(self._info.format.width, self._info.format.height, self._info.pixel_format)
            write_picture(ready, frame.picture())
        ready.pts, ready.time_base = frame.pts, self._info.time_base
        self._container.mux(self._video.encode(ready))

    def finish(self) -> None:
        """Writes nut's index and ends it. Raises OSError."""
        self._container.mux(self._video.encode(None))
        self._container.close()
