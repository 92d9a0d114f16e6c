"""The streams that are copied as they are: audio, subtitles, attachments, covers, data, and their tags."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.rational import AVRational
from av.stream import Discard, Stream

from scene.errors import InputError, UsageError
from scene.video.container.copies import add_copy, holds
from scene.video.container.digest import TrackDigest, codec_name, is_unknown, kind_of
from scene.video.container.formats import CONTAINERS, Container
from scene.video.container.subtitles import BLANK, Conversion, blanks, conversion, parts
from scene.video.container.tags import copy_tags, describe
from scene.video.source.open import open_input, reason
from scene.video.source.probe import SourceInfo

log = logging.getLogger(__name__)

# What an edit list hides reaches back to a key frame, or, for audio, by the little that decoding needs.
# Only containers with edit lists can go on hiding the former; the latter does no harm in the others.
_PREROLL_S = Fraction(1, 10)

# Pictures that Matroska's readers take for covers, when they are attached.
_COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
_FILE_KEYS = ("filename", "mimetype")
# Muxers that take two packets of a stream at one time, as simultaneous subtitles are.
SIMULTANEOUS = frozenset({"matroska", "webm"})
# Subtitles that say themselves how long they are shown have a duration of all ones in some files, which mp4 refuses.
# Those of no duration would be lost at its end.
_UNTOLD = frozenset({None, 0, 2**31 - 1, 2**32 - 1, 2**63 - 1})
_MAX_DURATION = 2**31 - 1


class CopiedStreams:
    """Adds the source's other streams to an output and readies their packets for it.

    Args:
        output: not yet begun, and open in `container`'s muxer.
        tolerant: leave out packets that are too damaged to be written.
        elsewhere: gives the suffixes of containers that hold all audio and video of the output.
    """

    def __init__(
        self,
        output: OutputContainer,
        container: Container,
        info: SourceInfo,
        *,
        tolerant: bool,
        elsewhere: Callable[[], list[str]],
    ) -> None:
        self._output = output
        self._container = container
        self._path = info.path
        self._tolerant = tolerant
        self._elsewhere = elsewhere
        self._refused: set[int] = set()
        self._streams: dict[int, Stream] = {}
        self._conversions: dict[int, Conversion] = {}
        self._last_dts: dict[int, int] = {}
        self._disordered: set[int] = set()
        self._shown_until: dict[int, int] = {}
        self._overlapping: set[int] = set()
        self._later: dict[int, list[Packet[Any]]] = {}
        self._text_ends: dict[int, int] = {}
        self._sums: dict[int, TrackDigest] = {}
        self._left_out: list[int] = []

    def add(self, stream: Stream) -> None:
        """Makes room for a stream in the output, or logs a warning that names it.

        Raises:
            UsageError: it is audio or video and the container cannot hold it.
        """
        if _is_written_anew(stream):
            return
        if kind_of(stream) == "cover" and self._add_cover(stream):
            return
        copy = self._add_copy(stream) or self._add_conversion(stream)
        if copy is not None:
            copy_tags(stream, copy, self._container, self._path)
            self._streams[stream.index] = copy
            converted = self._conversions.get(stream.index)
            codec = codec_name(stream) if converted is None else converted.codec
            self._sums[stream.index] = TrackDigest(kind_of(stream), codec, describe(stream))
        elif kind_of(stream) in {"audio", "video"}:
            raise UsageError(self._refusal(stream))
        else:
            self._left_out.append(stream.index)
            log.warning("%s: %s is left out.", self._path, self._reason(stream))

    def _refusal(self, stream: Stream) -> str:
        others = [suffix for suffix in self._elsewhere() if CONTAINERS[suffix] != self._container]
        way = f"use {' or '.join(others[:2])}, or " if others else ""
        what, name = f"{describe(stream)} of {self._path}", self._container.name
        without = f"leave it out with `maps` -0:{stream.index}"
        if is_unknown(stream):
            return f"FFmpeg does not know the codec of {what}; {without}."
        if self._is_limit_of_ffmpeg(stream):
            return f"FFmpeg cannot write {what} into {name} files; {way}{without}."
        return f"{name} files cannot hold {what}; {way}{without}."

    def _reason(self, stream: Stream) -> str:
        """Why a stream is left out, in words to follow its file's name."""
        if is_unknown(stream):
            return f"FFmpeg does not know the codec of {describe(stream)}, which"
        if self._is_limit_of_ffmpeg(stream):
            return f"{describe(stream)} cannot be written into {self._container.name} files by FFmpeg and"
        return f"{describe(stream)} cannot be held by {self._container.name} files and"

    def _is_limit_of_ffmpeg(self, stream: Stream) -> bool:
        """Whether the container may well hold a stream that FFmpeg's muxer does not take.

        The source is such a file; or FFmpeg hardly knows the codec; or the container is Matroska, which has a way for
        all that has a number in AVI.
        """
        same = CONTAINERS.get(self._path.suffix.lower()) == self._container
        coded = kind_of(stream) in {"audio", "video"}
        return same or (coded and (stream.codec_context is None or self._container.attachments))

    def prepare(self, packet: Packet[Any]) -> list[Packet[Any]]:
        """The packets to write for one of the source's, none if there is nothing to write."""
        source = packet.stream_index
        stream = self._streams.get(source)
        if stream is None or stream.type == "attachment":
            return []
        start = (packet.pts or 0) * packet.time_base
        if packet.is_discard and not self._container.edit_lists and start < -_PREROLL_S:
            return []
        converted = self._conversions.get(source)
        if converted is not None:
            data = converted.convert(bytes(packet))
            if data is None:
                return []
            packet = _with_data(packet, data)
        told = packet.duration not in _UNTOLD
        assert stream.time_base is not None  # the header has been written
        # In the output's own ticks, since two times that differ may fall on one of them.
        packet.rescale_ts(AVRational(*stream.time_base.as_integer_ratio()))
        packets = [packet]
        if self._container.edit_lists and stream.type == "subtitle":
            is_text = self._sums[source].codec == "mov_text"
            duration = packet.duration or 0
            known = told and (is_text or duration <= _MAX_DURATION)
            packet.duration = max(1, duration) if known else 1
            if is_text:
                packets = self._timed_text(source, packet)
            self._warn_of_overlap(source, packet)
        return self._readied(packets, stream)

    def rest(self) -> Iterator[tuple[int, list[Packet[Any]]]]:
        """What is to be written at the end: numbers of the source's streams, and packets."""
        for source, packets in self._later.items():
            yield source, self._readied(packets, self._streams[source])

    def _readied(self, packets: list[Packet[Any]], stream: Stream) -> list[Packet[Any]]:
        for packet in packets:
            self._order(packet, stream)
            packet.stream = stream
        return packets

    def _timed_text(self, source: int, packet: Packet[Any]) -> list[Packet[Any]]:
        """The first sample of a packet of timed text, after the blank ones of a pause before it.

        A text that is shown for long has more; they wait, since the next text may come in between and takes its place.
        """
        start, data = packet.pts or 0, bytes(packet)
        waiting = [part for part in self._later.get(source, []) if (part.pts or 0) < start]
        end = _end(waiting[-1]) if waiting else self._text_ends.get(source, 0)
        pause = [_shown(packet, BLANK, *span) for span in blanks(end, start)]
        first, *self._later[source] = (_shown(packet, data, *span) for span in parts(start, packet.duration or 1))
        self._text_ends[source] = _end(first)
        return [*waiting, *pause, first]

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
    def converted(self) -> frozenset[int]:
        """Numbers of the source's streams that are written in another form."""
        return frozenset(self._conversions)

    @property
    def left_out(self) -> frozenset[int]:
        """Numbers of the source's streams that were to be added and that the container cannot hold."""
        return frozenset(self._left_out)

    @property
    def sums(self) -> tuple[TrackDigest, ...]:
        """What was handed to each track so far, in the order of the output's tracks; attachments have none."""
        return tuple(track for track in self._sums.values() if track.kind != "attachment")

    def _add_cover(self, stream: Stream) -> bool:
        """Attaches a cover where the container has it so; False where it has not, or knows no such picture."""
        usual = _COVERS.get(codec_name(stream))
        if not self._container.attachments or usual is None:
            return False
        with open_input(self._path) as source:
            packet = next(iter(source.demux(source.streams[stream.index])))
        name, kind = (stream.metadata.get(key, default) for key, default in zip(_FILE_KEYS, usual, strict=True))
        self._output.add_attachment(name, kind, bytes(packet))
        cover = TrackDigest("cover", codec_name(stream), describe(stream))
        cover.add(packet)
        self._sums[stream.index] = cover
        return True

    def _add_copy(self, stream: Stream) -> Stream | None:
        if not holds(self._container, stream):
            return None
        try:
            return add_copy(self._output, stream)
        except (ValueError, av.FFmpegError):
            return None

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
        converted = self._output.add_stream(found.codec)
        # The encoder insists on an ASS header although nothing passes through it.
        cast(Any, converted.codec_context).subtitle_header = b"[Script Info]\n"
        self._conversions[stream.index] = found
        return converted

    def _warn_of_overlap(self, source: int, packet: Packet[Any]) -> None:
        """Warns, once a stream, where subtitles are shown at one time, which mp4 and mov have no way to say."""
        start = packet.pts or 0
        until = self._shown_until.get(source, start)
        if start < until and source not in self._overlapping:
            log.warning(
                "%s: %s has subtitles that overlap; %s files show the latest alone.",
                self._path,
                self._sums[source].name,
                self._container.name,
            )
            self._overlapping.add(source)
        self._shown_until[source] = max(until, start + (packet.duration or 0))

    def _order(self, packet: Packet[Any], stream: Stream) -> None:
        """Moves a packet that comes too late in its stream, since muxers refuse to step back."""
        if packet.dts is None:
            return
        last = self._last_dts.get(stream.index)
        floor = packet.dts if last is None else last + (0 if self._container.muxer in SIMULTANEOUS else 1)
        if packet.dts < floor:
            # By a tick: two times of a finer clock, such as TrueHD's in Matroska, have fallen on one.
            if floor - packet.dts > 1 and stream.index not in self._disordered:
                log.warning("%s: %s has time stamps out of order, which are moved.", self._path, describe(stream))
                self._disordered.add(stream.index)
            packet.dts = floor
            packet.pts = max(packet.pts or floor, floor)
        self._last_dts[stream.index] = packet.dts


def _is_written_anew(stream: Stream) -> bool:
    """Whether a data track needs no copy: mp4's chapters are a track, and so are its time codes, which are tags too."""
    if stream.type != "data":
        return False
    return stream.discard == Discard.all or "timecode" in stream.metadata


def _with_data(packet: Packet[Any], data: bytes) -> Packet[Any]:
    """A packet at the same time with other content."""
    other: Packet[Any] = Packet(data)
    other.time_base = packet.time_base
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.is_keyframe = True
    return other


def _shown(packet: Packet[Any], data: bytes, start: int, duration: int) -> Packet[Any]:
    """A packet at another time with other content."""
    other = _with_data(packet, data)
    other.pts = other.dts = start
    other.duration = duration
    return other


def _end(packet: Packet[Any]) -> int:
    return (packet.pts or 0) + (packet.duration or 0)
