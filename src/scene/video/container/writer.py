"""The output file: the encoder's stream among the source's other streams, chapters and tags."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.rational import AVRational
from av.stream import Stream

from scene.errors import InputError, SceneError, UsageError
from scene.video.container.copies import holders
from scene.video.container.digest import OutputManifest, TrackDigest, codec_name, kind_of
from scene.video.container.formats import Container
from scene.video.container.matroska import write_display_size
from scene.video.container.tags import copy_tags, file_tags, has_own_keys
from scene.video.container.tracks import SIMULTANEOUS, CopiedStreams
from scene.video.encoders.base import StatisticsPass
from scene.video.encoding.external import open_session
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.session import EncoderSession
from scene.video.pixel_format import parse_pixel_format
from scene.video.source.decode import DecodedFrame, Unit
from scene.video.source.open import file_url, reason

log = logging.getLogger(__name__)

# FFmpeg's muxer of mp4 and mov takes no longer steps from frame to frame, in ticks. With more ticks a second than this,
# that would be a few minutes.
_LONGEST_STEP = 2**31 - 2
_FINEST_CLOCK = 1_000_000
# In microseconds: teletext is not buffered but shown within about 0.1 s after the clock that comes beside it.
_TELETEXT_DELAY = "50000"


class Writer:
    """Encodes frames, copies packets and writes both to one file, from `start` on.

    Args:
        path: of the file to write; it is overwritten.
        container: to write, see `container_of`.
        source: the source's open container, whose chapters and tags are taken over.
        plan: of the encode.
        made_with: a tag for the file that says what made it.
        copied: numbers of the source's streams to copy, None for all others.
        tolerant: leave out packets of these that are too damaged to be written.

    Attributes:
        stamps: presentation times of the frames so far, in units of the source's time base.
        bytes: coded so far, of all streams.

    Raises:
        UsageError: the container cannot hold the codec or an audio stream, or the encoder refuses its settings.
        SceneError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        container: Container,
        source: InputContainer,
        plan: EncodePlan,
        made_with: str,
        copied: frozenset[int] | None = None,
        tolerant: bool = False,
    ) -> None:
        self._info = info = plan.info
        self._container = container
        self._path = path
        self._plan = plan
        self._codec = plan.encoder
        self._size = plan.size
        self._bit_depth = parse_pixel_format(plan.pixel_format)[1]
        self._parameters = plan.settings.encoder_args
        self._durations: dict[int, int] = {}
        self._last_dts: int | None = None
        self._encoder: EncoderSession | None = None
        self.stamps: list[int] = []
        self.bytes = 0
        # Without it FFmpeg's muxers write random numbers and their version.
        options = {"fflags": "+bitexact", **container.options}
        if container.edit_lists:
            # The unit of a delayed start, by default 1 ms.
            scale = min(max(1000, info.time_base.denominator), _FINEST_CLOCK)
            options |= {"movflags": "+faststart", "movie_timescale": str(scale)}
            if info.time_base.denominator > _FINEST_CLOCK:
                options["video_track_timescale"] = str(_FINEST_CLOCK)
        others = [s for s in source.streams if s.index != info.stream_index]
        wanted = [s for s in others if copied is None or s.index in copied]
        if container.muxer == "mpegts" and any(codec_name(s) == "dvb_teletext" for s in wanted):
            options["max_delay"] = _TELETEXT_DELAY
        # FFmpeg's muxer of mp4 writes a cover or tags of the second kind.
        own_keys = not (container.covers and any(kind_of(s) == "cover" for s in wanted))
        tags = file_tags(source.metadata, container, made_with, info.path, own_keys=own_keys)
        if own_keys and has_own_keys(tags, container):
            options["movflags"] += "+use_metadata_tags"
        try:
            self._output = av.open(
                file_url(path),
                "w",
                format=container.muxer,
                container_options=options,
                metadata_errors="surrogateescape",
            )
        except (av.FFmpegError, OSError) as error:
            raise SceneError(f"{path.parent} cannot be written to: {reason(error)}.") from None
        try:
            heard_and_seen = [s for s in wanted if kind_of(s) in {"audio", "video"}]
            self._copies = CopiedStreams(
                *(self._output, container, info),
                tolerant=tolerant,
                elsewhere=lambda: holders(heard_and_seen, self._is_held_by),
            )
            for stream in source.streams:
                if stream.index == info.stream_index:
                    self._before = sum(track.kind == "video" for track in self._copies.sums)
                    self._encoder = self._add_encoder(stream)
                    self._video = self._encoder.stream
                    # Matroska numbers tracks without attached files.
                    self._track = sum(s.type != "attachment" for s in self._output.streams) - 1
                    self._sum = TrackDigest("video", codec_name(self._video), "the video")
                elif stream in wanted:
                    self._copies.add(stream)
            self._output.metadata.update(tags)
            if container.chapters:
                self._output.set_chapters(source.chapters())
            elif source.chapters():
                log.warning("%s: its chapters cannot be held by %s files.", info.path, container.name)
        except BaseException:
            self.abort()
            raise

    def start(self, statistics_pass: StatisticsPass | None = None) -> None:
        """Opens the encoder and writes the header, so that what cannot work fails before any work is done.

        Args:
            statistics_pass: which of two passes this is, and where their statistics are.

        Raises:
            UsageError: the encoder refuses its settings, or the container the streams.
        """
        assert self._encoder is not None
        self._encoder.start(statistics_pass)
        try:
            self._output.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            other = "" if self._container.attachments else "use .mkv, or "
            raise UsageError(
                f"FFmpeg cannot write the streams of {self._info.path} into one {self._container.name} file "
                f"({reason(error)}); {other}leave some out with `maps`."
            ) from None

    def write(self, unit: Unit) -> None:
        """Copies a unit's packets and encodes its frame.

        Raises:
            InputError: a packet is too damaged to be written, unless tolerant.
            SceneError: writing or encoding fails.
        """
        try:
            for packet in unit.packets:
                self._copy(packet.stream_index, self._copies.prepare(packet))
            if unit.frame is not None:
                self._encode(unit.frame)
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def finish(self, check: Callable[[], None]) -> None:
        """Empties the encoder, calling `check` between packets so that it can raise, and closes the file.

        Raises:
            InputError: the container cannot hold what is in a copied track.
            SceneError: writing or encoding fails.
        """
        assert self._encoder is not None
        try:
            for packet in self._encoder.finish(check):
                self._mux_encoded(packet)
            self._close()
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def write_coded(self, packet: Packet[Any], stamp: int) -> None:
        """Takes the next packet that another encoder of the same plan made, instead of a frame; see `finish_coded`.

        Args:
            packet: of the video, in coding order; its time base is the source's.
            stamp: when the next frame, in the order of showing, is shown.

        Raises:
            InputError, SceneError: as of `write`.
        """
        self.stamps.append(stamp)
        try:
            self._mux_encoded(packet)
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def finish_coded(self) -> None:
        """As `finish`, where `write_coded` was given all of the video."""
        try:
            self._close()
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _close(self) -> None:
        assert self._encoder is not None
        self._encoder.close()
        for source, packets in self._copies.rest():
            self._copy(source, packets)
        self._output.close()
        aspect = self._info.sample_aspect_ratio or Fraction(1)
        if not self._codec.signals_aspect and self._container.muxer in {"matroska", "webm"} and aspect != 1:
            write_display_size(self._path, self._track, self._size, aspect)

    def _failure(self, error: Exception) -> SceneError:
        if isinstance(error, av.InvalidDataError) and self._copies.sums:
            # Muxers look at some of what they copy only later, among other packets or at the end.
            return InputError(
                f"{self._info.path} is damaged: {self._container.name} files cannot hold what is in one of its copied "
                f"tracks ({reason(error)})."
            )
        return SceneError(f"writing the output failed: {reason(error)}.")

    def written(self) -> OutputManifest:
        """What the finished file must hold."""
        return OutputManifest(
            info=self._info,
            codec=self._codec,
            container=self._container,
            parameters=self._parameters,
            size=self._size,
            bit_depth=self._bit_depth,
            before=self._before,
            stamps=self.stamps,
            video=self._sum,
            tracks=self._copies.sums,
        )

    @property
    def parameter_sets(self) -> bytes:
        """The encoder's own that the header holds, empty where its stream repeats them; from `start` on."""
        return bytes(self._video.codec_context.extradata or b"")

    @property
    def converted(self) -> frozenset[int]:
        """Numbers of the source's streams that are written in another form."""
        return self._copies.converted

    @property
    def left_out(self) -> frozenset[int]:
        """Numbers of the source's streams that the container cannot hold."""
        return self._copies.left_out

    def kill(self) -> None:
        """Ends what `write` and `finish` may wait for in other threads, which raise then."""
        if self._encoder is not None:
            self._encoder.kill()

    def abort(self) -> None:
        """Closes the file as it is; to be called from the thread that leaves it behind."""
        if self._encoder is not None:
            self._encoder.close()
        try:
            self._output.close()
        except (av.FFmpegError, OSError, ValueError):
            log.debug("closing an abandoned file failed", exc_info=True)

    def _copy(self, source: int, packets: list[Packet[Any]]) -> None:
        """Writes packets that `CopiedStreams` readied for a stream of the source."""
        for packet in packets:
            try:
                self._mux(packet)
            except (av.InvalidDataError, av.ArgumentError, av.PatchWelcomeError) as error:
                # Such as audio without the header from which the muxer makes its own.
                self._copies.refused(source, error)
            else:
                self._copies.wrote(source, packet)

    def _is_held_by(self, container: Container) -> bool:
        """Whether another container holds the encoded video."""
        if container.muxer in self._codec.unheld_by:
            return False
        trial = av.open(io.BytesIO(), "w", format=container.muxer)
        try:
            trial.add_mux_stream(self._codec.raw_muxer if self._codec.is_external else self._plan.ffmpeg_name)
        except ValueError:
            return False
        return True

    def _add_encoder(self, template: Stream) -> EncoderSession:
        container = self._container
        try:
            if container.muxer in self._codec.unheld_by:
                raise ValueError
            encoder = open_session(self._output, self._plan)
        except ValueError:
            raise UsageError(
                f"{container.name} files cannot hold {self._codec.name} video; use .mkv or .mp4."
            ) from None
        video = encoder.stream
        if self._codec.apple_tag is not None and container.edit_lists:
            video.codec_context.codec_tag = self._codec.apple_tag
        if self._info.display_matrix is not None:
            if container.rotation:
                video.set_display_matrix(self._info.display_matrix)
            else:
                log.warning("%s: its rotation cannot be held by %s files.", self._info.path, container.name)
        for projection in self._info.projections:
            if projection not in self._codec.projections:
                log.warning("%s: that its picture is %s is not carried over.", self._info.path, projection)
        copy_tags(template, video, container, self._info.path, without="alpha_mode")
        if self._info.hdr and not self._codec.signals_hdr10:
            log.warning("%s: its HDR10 metadata is not handed to %s.", self._info.path, self._codec.name)
        if self._info.captions and not self._codec.keeps_captions:
            log.warning("%s: its closed captions are not carried over.", self._info.path)
        if self._size != (self._info.format.width, self._info.format.height):
            log.warning(
                "%s: %s cannot code %dx%d in this format; the last line or column is repeated to make %dx%d.",
                self._info.path,
                self._codec.name,
                self._info.format.width,
                self._info.format.height,
                *self._size,
            )
        return encoder

    def _encode(self, frame: DecodedFrame) -> None:
        assert self._encoder is not None
        assert frame.av_frame.pts is not None
        self._durations[frame.av_frame.pts] = frame.av_frame.duration
        self.stamps.append(frame.av_frame.pts)
        for packet in self._encoder.encode(frame):
            self._mux_encoded(packet)

    def _mux_encoded(self, packet: Packet[Any]) -> None:
        if packet.pts is not None and not packet.duration:
            packet.duration = self._durations.get(packet.pts, 0)
        self._durations.pop(packet.pts or 0, None)
        # PyAV forgets it for packets of `encode_lazy`, which would go to the first stream then.
        packet.stream = self._video
        self._sum.add(packet)
        assert self._video.time_base is not None  # the header has been written
        clock = self._video.time_base
        packet.rescale_ts(AVRational(*clock.as_integer_ratio()))
        if packet.dts is not None:
            step = 1 if self._last_dts is None else packet.dts - self._last_dts
            delay = 0 if packet.pts is None else packet.pts - packet.dts
            self._check_steps(step, max(step, delay, packet.duration or 0), clock)
            self._last_dts = packet.dts
        self._mux(packet)

    def _check_steps(self, step: int, longest: int, clock: Fraction) -> None:
        """Raises InputError where the muxer would not take a frame's time.

        Args:
            step: ticks of `clock` from the last coded frame to this one.
            longest: the most ticks between any two times that it says of the frame.
        """
        if step <= 0 and self._container.muxer not in SIMULTANEOUS:
            raise InputError(
                f"{self._info.path}: two of its frames are too close in time for {self._container.name} files."
            )
        if longest > _LONGEST_STEP and self._container.edit_lists:
            raise InputError(
                f"{self._info.path}: two of its frames are {float(longest * clock):.0f} s apart, more than FFmpeg can "
                f"write into {self._container.name} files in steps of {clock} s; use .mkv."
            )

    def _mux(self, packet: Packet[Any]) -> None:
        self.bytes += packet.size
        self._output.mux_one(packet)
