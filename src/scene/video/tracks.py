"""The streams that are copied as they are: audio, subtitles, attachments, covers, and their tags."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any, cast

import av
from av.codec.context import CodecContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from scene.errors import UsageError
from scene.video.probe import SourceInfo, is_cover
from scene.video.subtitles import Conversion, conversion

log = logging.getLogger(__name__)

# Muxers that can hide the start of a stream.
EDIT_LISTED = frozenset({"mp4", "mov"})

# What an edit list hides reaches back to a key frame, or, for audio, by the little that decoding needs.
# Only containers with edit lists can go on hiding the former; the latter does no harm in the others.
_PREROLL_S = Fraction(1, 10)

# Tags that describe the source's file rather than its content, and would be untrue of the output.
_FILE_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_frames"}
    | {"number_of_bytes", "bps", "rotate", "vendor_id"}
)


class CopiedStreams:
    """Adds the source's other streams to an output and readies their packets for it."""

    def __init__(self, output: OutputContainer, source: InputContainer, info: SourceInfo) -> None:
        self._output = output
        self._container = output.format.name
        self._source = source
        self._path = info.path
        self._streams: dict[int, Stream] = {}
        self._conversions: dict[int, Conversion] = {}
        self._last_dts: dict[int, int] = {}
        self._disordered: set[int] = set()

    def add(self, stream: Stream) -> None:
        """Makes room for a stream in the output, or logs a warning that names it.

        Raises:
            UsageError: it is audio or video and the container cannot hold it.
        """
        if stream.type not in {"video", "audio", "subtitle", "attachment"}:
            # Chapter tracks and time codes are written anew from the chapters and tags.
            if not self._source.chapters() and "timecode" not in stream.metadata:
                log.warning("%s: %s is not carried over.", self._path, describe(stream))
            return
        copy = self._add_template(stream) or self._add_conversion(stream)
        if copy is not None:
            copy_tags(stream, copy)
            self._streams[stream.index] = copy
        elif stream.type == "audio" or (stream.type == "video" and not is_cover(cast(VideoStream, stream))):
            raise UsageError(f"{self._container} files cannot hold {describe(stream)} of {self._path}; use .mkv.")
        else:
            log.warning(
                "%s: %s cannot be held by %s files and is left out.", self._path, describe(stream), self._container
            )

    def prepare(self, packet: Packet[Any]) -> Packet[Any] | None:
        """The packet to write for one of the source's, None if there is none to write."""
        stream = self._streams.get(packet.stream_index)
        if stream is None or stream.type == "attachment":
            return None
        start = (packet.pts or 0) * packet.time_base
        if packet.is_discard and self._container not in EDIT_LISTED and start < -_PREROLL_S:
            return None
        converted = self._conversions.get(packet.stream_index)
        if converted is not None:
            data = converted.convert(bytes(packet))
            if data is None:
                return None
            packet = _with_data(packet, data)
        self._order(packet, stream)
        packet.stream = stream
        return packet

    def _add_template(self, stream: Stream) -> Stream | None:
        if stream.type == "attachment" and self._container != "matroska":
            return None
        try:
            return cast(Stream, self._output.add_stream_from_template(cast(Any, stream), opaque=True))
        except (ValueError, av.FFmpegError):
            return None

    def _add_conversion(self, stream: Stream) -> Stream | None:
        found = conversion(_codec_name(stream), self._container) if stream.type == "subtitle" else None
        if found is None:
            return None
        log.warning(
            "%s: %s is converted for %s files and loses its styling.", self._path, describe(stream), self._container
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
        floor = packet.dts if last is None else last + (1 if self._container in EDIT_LISTED else 0)
        if packet.dts < floor:
            if stream.index not in self._disordered:
                log.warning("%s: %s has time stamps out of order, which are moved.", self._path, describe(stream))
            self._disordered.add(stream.index)
            packet.dts = floor
            packet.pts = max(packet.pts or floor, floor)
        self._last_dts[stream.index] = packet.dts


def copy_tags(source: Stream, target: Stream) -> None:
    """Gives a stream another one's language, title and other tags, and its disposition."""
    target.metadata.update(content_tags(source.metadata))
    target.disposition = source.disposition


def content_tags(metadata: dict[str, str]) -> dict[str, str]:
    """The tags that are still true when a file is written anew."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().split("-")[0] not in _FILE_TAGS and not key.startswith("_STATISTICS")
    }


def describe(stream: Stream) -> str:
    """A stream's name in messages, for example "stream 1 (aac audio)"."""
    return f"stream {stream.index} ({_codec_name(stream)} {stream.type})"


def _codec_name(stream: Stream) -> str:
    # PyAV's annotations do not admit it, but a stream without a decoder has no context, and may have no name.
    context: CodecContext | None = stream.codec_context
    return context.name if context is not None else getattr(stream, "name", None) or "unknown"


def _with_data(packet: Packet[Any], data: bytes) -> Packet[Any]:
    """A packet at the same time with other content."""
    other: Packet[Any] = Packet(data)
    other.time_base = packet.time_base
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.is_keyframe = True
    return other
