"""The output file: the encoder's stream among the source's other streams, chapters and tags."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from scene.errors import SceneError, UsageError
from scene.video.decode import DecodedFrame, Unit
from scene.video.encode import (
    CODECS,
    EncoderSettings,
    StatisticsPass,
    configure,
    encoded_size,
    open_encoder,
)
from scene.video.encoder_mistakes import check_taken
from scene.video.opening import file_url, reason
from scene.video.probe import SourceInfo
from scene.video.ready_frame import ready_frame
from scene.video.tracks import EDIT_LISTED, CopiedStreams, content_tags, copy_tags

log = logging.getLogger(__name__)

# Suffix to FFmpeg's muxer.
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}

# What FFmpeg's muxers refuse only when they write the header, without saying why.
_NOT_MUXED = frozenset({("mov", "svtav1"), ("mov", "nvenc-av1")})


def container_of(path: Path) -> str:
    """The muxer for a file name. Raises UsageError for a suffix that is not one of `CONTAINERS`."""
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"{path}: give the output one of the suffixes {', '.join(CONTAINERS)}.") from None


class Writer:
    """Encodes frames, copies packets and writes both to one file, from `start` on.

    Args:
        path: of the file to write; it is overwritten.
        container: a muxer's name, see `container_of`.
        source: the source's open container, whose streams, chapters and tags are taken over.
        comment: a tag for the file, unless the source has its own comment.

    Attributes:
        stamps: presentation times of the frames so far, in units of the source's time base.
        bytes: coded so far, of all streams.

    Raises:
        UsageError: the container cannot hold the codec or an audio stream.
        SceneError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        container: str,
        source: InputContainer,
        info: SourceInfo,
        settings: EncoderSettings,
        comment: str,
    ) -> None:
        self._info = info
        self._codec = CODECS[settings.codec]
        self._settings = settings
        self._size = encoded_size(self._codec, info.format)
        self._durations: dict[int, int] = {}
        self.stamps: list[int] = []
        self.bytes = 0
        if container in EDIT_LISTED:
            # The unit of a delayed start, by default 1 ms.
            scale = max(1000, info.time_base.denominator)
            options = {"movflags": "+faststart", "movie_timescale": str(scale)}
        else:
            # Otherwise FFmpeg shifts all streams by the audio's priming, which comes before zero.
            options = {"avoid_negative_ts": "disabled"}
        try:
            self._output = av.open(
                file_url(path),
                "w",
                format=container,
                container_options=options,
                metadata_errors="surrogateescape",
            )
        except (av.FFmpegError, OSError) as error:
            raise SceneError(f"{path.parent} cannot be written to: {reason(error)}.") from None
        try:
            self._copies = CopiedStreams(self._output, source, info)
            for stream in source.streams:
                if stream.index == info.stream_index:
                    self._video = self._add_video(stream)
                else:
                    self._copies.add(stream)
            self._output.metadata.update(content_tags(source.metadata))
            if not any(key.lower() == "comment" for key in self._output.metadata):
                self._output.metadata["comment"] = comment
            self._output.set_chapters(source.chapters())
        except BaseException:
            self.abort()
            raise

    def start(self, turn: StatisticsPass | None = None) -> None:
        """Opens the encoder and writes the header, so that what cannot work fails before any work is done.

        Args:
            turn: which of two passes this is, and where their statistics are.

        Raises:
            UsageError: the encoder refuses its settings, or the container the streams.
        """
        configure(self._video.codec_context, self._codec, self._settings, self._info, turn)
        open_encoder(self._video.codec_context, self._codec)
        check_taken(self._codec, self._settings)
        try:
            self._output.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            raise UsageError(
                f"{self._output.format.name} cannot hold the streams of {self._info.path} ({reason(error)}); use .mkv."
            ) from None

    def write(self, unit: Unit) -> None:
        """Copies a unit's packets and encodes its frame. Raises SceneError if either fails."""
        try:
            for packet in unit.packets:
                copy = self._copies.prepare(packet)
                if copy is not None:
                    self._mux(copy)
            if unit.frame is not None:
                self._mux_encoded(self._video.encode(self._prepare(unit.frame)))
        except (av.FFmpegError, OSError) as error:
            raise SceneError(f"writing the output failed: {reason(error)}.") from error

    def finish(self, check: Callable[[], None]) -> None:
        """Empties the encoder, calling `check` between packets so that it can raise, and closes the file."""
        try:
            for packet in self._video.encode_lazy(None):
                self._mux_encoded([packet])
                check()
            self._output.close()
        except (av.FFmpegError, OSError) as error:
            raise SceneError(f"writing the output failed: {reason(error)}.") from error

    def abort(self) -> None:
        """Closes the file as it is; to be called from the thread that leaves it behind."""
        try:
            self._output.close()
        except (av.FFmpegError, OSError, ValueError):
            log.debug("closing an abandoned file failed", exc_info=True)

    def _add_video(self, template: Stream) -> VideoStream:
        container = self._output.format.name
        try:
            if (container, self._codec.name) in _NOT_MUXED:
                raise ValueError
            video = cast(VideoStream, self._output.add_stream(self._codec.encoder, rate=self._info.rate))
        except ValueError:
            raise UsageError(f"{container} files cannot hold {self._codec.name} video; use .mkv or .mp4.") from None
        if self._codec.name in {"x265", "nvenc-hevc"} and container in EDIT_LISTED:
            video.codec_context.codec_tag = "hvc1"  # the tag that Apple's players ask for
        if self._info.display_matrix is not None:
            video.set_display_matrix(self._info.display_matrix)
        copy_tags(template, video)
        if (
            self._codec.name in {"svtav1", "nvenc-av1"}
            and container not in EDIT_LISTED
            and self._info.sample_aspect_ratio not in {None, 1}
        ):
            # AV1 itself has no place for it, and PyAV cannot set what these muxers look at.
            log.warning("%s: its sample aspect ratio is lost in %s; use .mp4.", self._info.path, container)
        if self._codec.is_nvenc and self._info.hdr:
            log.warning("%s: its HDR10 metadata is not handed to %s.", self._info.path, self._codec.name)
        if self._size != (self._info.format.width, self._info.format.height):
            log.warning(
                "%s: %s cannot code %dx%d in this format; the last line or column is repeated to make %dx%d.",
                self._info.path,
                self._codec.name,
                self._info.format.width,
                self._info.format.height,
                *self._size,
            )
        return video

    def _prepare(self, frame: DecodedFrame) -> av.VideoFrame:
        ready = ready_frame(frame, self._video.codec_context, self._info)
        assert ready.pts is not None
        self._durations[ready.pts] = frame.av_frame.duration
        self.stamps.append(ready.pts)
        return ready

    def _mux_encoded(self, packets: list[Packet[Any]]) -> None:
        for packet in packets:
            if packet.pts is not None and not packet.duration:
                packet.duration = self._durations.get(packet.pts, 0)
            self._durations.pop(packet.pts or 0, None)
            if self._codec.name == "x265" and len(self.stamps) <= 2:
                # x265 derives decoding times from its third frame; without one they are uninitialised memory.
                packet.dts = packet.pts
            self._mux(packet)

    def _mux(self, packet: Packet[Any]) -> None:
        self.bytes += packet.size
        self._output.mux_one(packet)
