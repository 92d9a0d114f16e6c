"""The streams that are copied as they are: audio, subtitles, attachments, covers, data, and their tags."""

from __future__ import annotations

import io
import logging
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.rational import AVRational
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from scene.errors import InputError, UsageError
from scene.video.containers import Container
from scene.video.languages import container_language
from scene.video.opening import open_input, reason
from scene.video.probe import SourceInfo, is_cover
from scene.video.subtitles import Conversion, conversion
from scene.video.track_sum import TrackSum, codec_name

log = logging.getLogger(__name__)

# What an edit list hides reaches back to a key frame, or, for audio, by the little that decoding needs.
# Only containers with edit lists can go on hiding the former; the latter does no harm in the others.
_PREROLL_S = Fraction(1, 10)

# Tags that describe the source's file rather than its content, and would be untrue of the output.
_FILE_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_frames"}
    | {"number_of_bytes", "bps", "rotate", "vendor_id"}
)
# What each container says in its own way, or what nobody would miss.
_TACIT = frozenset({"language", "title", "name", "handler_name", "creation_time", "filename", "mimetype"})
# Pictures that Matroska's readers take for covers, when they are attached.
_COVER_TYPES = {"mjpeg": "jpg", "png": "png"}
_MIME_TYPES = {"jpg": "jpeg", "png": "png"}
# How FFmpeg names layouts without speakers.
_GUESSED_LAYOUTS = {"1 channels": "mono", "2 channels": "stereo"}


class CopiedStreams:
    """Adds the source's other streams to an output and readies their packets for it."""

    def __init__(
        self,
        output: OutputContainer,
        container: Container,
        source: InputContainer,
        info: SourceInfo,
        *,
        tolerant: bool,
    ) -> None:
        self._output = output
        self._container = container
        self._source = source
        self._path = info.path
        self._tolerant = tolerant
        self._refused: set[int] = set()
        self._streams: dict[int, Stream] = {}
        self._conversions: dict[int, Conversion] = {}
        self._last_dts: dict[int, int] = {}
        self._disordered: set[int] = set()
        self._sums: dict[int, TrackSum] = {}

    def add(self, stream: Stream) -> None:
        """Makes room for a stream in the output, or logs a warning that names it.

        Raises:
            UsageError: it is audio or video and the container cannot hold it.
        """
        if _is_written_anew(stream):
            return
        if _kind(stream) == "cover" and self._add_cover(stream):
            return
        copy = self._add_template(stream) or self._add_conversion(stream)
        if copy is not None:
            copy_tags(stream, copy, self._container, self._path)
            self._streams[stream.index] = copy
            self._sums[stream.index] = TrackSum(_kind(stream), codec_name(copy), describe(stream))
        elif _kind(stream) in {"audio", "video"}:
            other = "" if self._container.attachments else "use .mkv, or "
            raise UsageError(
                f"{self._container.name} files cannot hold {describe(stream)} of {self._path}; {other}leave it out "
                f"with --map -0:{stream.index}."
            )
        else:
            log.warning(
                "%s: %s cannot be held by %s files and is left out.",
                self._path,
                describe(stream),
                self._container.name,
            )

    def prepare(self, packet: Packet[Any]) -> Packet[Any] | None:
        """The packet to write for one of the source's, None if there is none to write."""
        stream = self._streams.get(packet.stream_index)
        if stream is None or stream.type == "attachment":
            return None
        start = (packet.pts or 0) * packet.time_base
        if packet.is_discard and not self._container.edit_lists and start < -_PREROLL_S:
            return None
        converted = self._conversions.get(packet.stream_index)
        if converted is not None:
            data = converted.convert(bytes(packet))
            if data is None:
                return None
            packet = _with_data(packet, data)
        assert stream.time_base is not None  # the header has been written
        # In the output's own ticks, since two times that differ may fall on one of them.
        packet.rescale_ts(AVRational(*stream.time_base.as_integer_ratio()))
        self._order(packet, stream)
        packet.stream = stream
        return packet

    def wrote(self, source: int, packet: Packet[Any]) -> None:
        """Notes that the packet which `prepare` made for the source's stream was taken."""
        self._sums[source].add(packet)

    def refused(self, source: int, error: Exception) -> None:
        """Warns, once a stream, that the muxer did not take a packet of it. Raises InputError unless tolerant."""
        problem = f"a packet of {self._sums[source].name} cannot be copied ({reason(error)})"
        if not self._tolerant:
            raise InputError(f"{self._path} is damaged: {problem}.") from None
        if source not in self._refused:
            log.warning("%s: %s and is left out.", self._path, problem)
        self._refused.add(source)

    @property
    def sums(self) -> tuple[TrackSum, ...]:
        """What was handed to each track so far, in the order of the output's tracks; attachments have none."""
        return tuple(track for track in self._sums.values() if track.kind != "attachment")

    def _add_cover(self, stream: Stream) -> bool:
        """Attaches a cover where the container has it so; False where it has not, or knows no such picture."""
        kind = _COVER_TYPES.get(codec_name(stream))
        if not self._container.attachments or kind is None:
            return False
        with open_input(self._path) as source:
            packet = next(iter(source.demux(source.streams[stream.index])))
        name = stream.metadata.get("filename", f"cover.{kind}")
        self._output.add_attachment(name, stream.metadata.get("mimetype", f"image/{_MIME_TYPES[kind]}"), bytes(packet))
        cover = TrackSum("cover", codec_name(stream), describe(stream))
        cover.add(packet)
        self._sums[stream.index] = cover
        return True

    def _add_template(self, stream: Stream) -> Stream | None:
        if not _holds(self._container, stream):
            return None
        try:
            copy = cast(Stream, self._output.add_stream_from_template(cast(Any, stream), opaque=True))
        except (ValueError, av.FFmpegError):
            return None
        guessed = _guessed_layout(stream)
        if guessed is not None:
            cast(AudioStream, copy).codec_context.layout = guessed
        return copy

    def _add_conversion(self, stream: Stream) -> Stream | None:
        found = conversion(codec_name(stream), self._container.muxer) if stream.type == "subtitle" else None
        if found is None:
            return None
        log.warning(
            "%s: %s is converted for %s files and loses its styling.",
            self._path,
            describe(stream),
            self._container.name,
        )
        converted = self._output.add_stream(found.encoder)
        # The encoder insists on an ASS header although nothing passes through it.
        cast(Any, converted.codec_context).subtitle_header = b"[Script Info]\n"
        self._conversions[stream.index] = found
        return converted

    def _order(self, packet: Packet[Any], stream: Stream) -> None:
        """Moves a packet that comes too late in its stream, since muxers refuse to step back."""
        if packet.dts is None:
            return
        last = self._last_dts.get(stream.index)
        # Matroska takes two packets at one time, as simultaneous subtitles are.
        floor = packet.dts if last is None else last + (0 if self._container.attachments else 1)
        if packet.dts < floor:
            if stream.index not in self._disordered:
                log.warning("%s: %s has time stamps out of order, which are moved.", self._path, describe(stream))
            self._disordered.add(stream.index)
            packet.dts = floor
            packet.pts = max(packet.pts or floor, floor)
        self._last_dts[stream.index] = packet.dts


def copy_tags(source: Stream, target: Stream, container: Container, path: Path, without: str = "") -> None:
    """Gives a stream another one's language, title and other tags, and its disposition; warns of what is lost.

    Args:
        path: of the source, for messages.
        without: the key of a tag to leave out.
    """
    tags = {key: value for key, value in content_tags(source.metadata).items() if key.lower() != without}
    # What mp4 and mov call a track's name is its title elsewhere.
    if "name" in tags:
        tags.setdefault("title", tags.pop("name"))
    lost = []
    language = tags.get("language", "und")
    if language != "und":
        written = container_language(language, container.muxer)
        if written is None:
            del tags["language"]
            lost.append(f"language {language}")
        else:
            tags["language"] = written
            if "-" in language and written != language:
                lost.append(f"language {language} (kept as {written})")
    if not container.track_tags and "title" in tags:
        lost.append(f"title {tags['title']!r}")
    if container.tags is not None:
        kept = _TACIT | (container.tags & {"timecode"})
        lost += [f"tag {key}" for key in sorted(tags) if key.lower() not in kept]
    # The default one is chosen by place where a container has no flag for it.
    names = [d.name or "" for d in Disposition if d & source.disposition and d not in _SELF_EVIDENT]
    lost += [f"disposition {name}" for name in names if name not in container.dispositions]
    if lost:
        log.warning("%s: %s loses in %s files its %s.", path, describe(source), container.name, ", ".join(lost))
    target.metadata.update(tags)
    target.disposition = source.disposition


_SELF_EVIDENT = Disposition.default | Disposition.attached_pic | Disposition.timed_thumbnails


def content_tags(metadata: dict[str, str]) -> dict[str, str]:
    """The tags that are still true when a file is written anew."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().split("-")[0] not in _FILE_TAGS and not key.startswith("_STATISTICS")
    }


def describe(stream: Stream) -> str:
    """A stream's name in messages, for example "stream 1 (aac audio)"."""
    return f"stream {stream.index} ({codec_name(stream)} {stream.type})"


def _kind(stream: Stream) -> str:
    return "cover" if stream.type == "video" and is_cover(cast(VideoStream, stream)) else stream.type


def _is_written_anew(stream: Stream) -> bool:
    """Whether a data track needs no copy: mp4's chapters are a track, and so are its time codes, which are tags too."""
    if stream.type != "data":
        return False
    return stream.discard == Discard.all or "timecode" in stream.metadata


def _holds(container: Container, stream: Stream) -> bool:
    """Whether a muxer takes a stream: it is asked to begin a file with it, in memory."""
    if stream.type == "attachment":
        return container.attachments
    if stream.type == "data":
        # Without a codec only its tag, which is mp4's own, tells what it is.
        foreign = codec_name(stream) == "bin_data" and "mp4" not in stream.container.format.name
        if foreign or codec_name(stream) not in container.data:
            return False
    if _is_pcm_without_speakers(stream) and container.muxer == "mp4":
        return False
    if container.codecs is not None and codec_name(stream) not in container.codecs:
        return False
    if _kind(stream) == "cover":
        return container.covers
    trial = av.open(io.BytesIO(), "w", format=container.muxer, container_options=dict(container.options))
    try:
        trial.add_stream_from_template(cast(Any, stream), opaque=True)
        trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    finally:
        with suppress(ValueError, av.FFmpegError):
            trial.close()
    return True


def _is_pcm_without_speakers(stream: Stream) -> bool:
    """Which mp4 refuses only at the end."""
    return (
        isinstance(stream, AudioStream)
        and stream.codec_context is not None
        and codec_name(stream).startswith("pcm_")
        and stream.codec_context.layout.name.endswith(" channels")
        and _guessed_layout(stream) is None
    )


def _guessed_layout(stream: Stream) -> str | None:
    """Which speakers one or two channels are for, where the source does not say: mp4 insists on it for PCM."""
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        return _GUESSED_LAYOUTS.get(stream.codec_context.layout.name)
    return None


def _with_data(packet: Packet[Any], data: bytes) -> Packet[Any]:
    """A packet at the same time with other content."""
    other: Packet[Any] = Packet(data)
    other.time_base = packet.time_base
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.is_keyframe = True
    return other
