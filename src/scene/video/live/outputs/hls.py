"""An HLS playlist that grows, with segments of fragmented mp4 (RFC 8216), which goes on where an earlier run ended.

FFmpeg's muxer makes one fragment a group of pictures. A segment is one or more of them, and appears whole or not at
all, as does each playlist. Of FFmpeg's own HLS muxer this differs in what matters to whoever watches: segments that
cannot be written are an error, and a run that follows another is told apart by its own header (EXT-X-MAP).
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream

from scene.errors import SceneError, UsageError
from scene.files import remove_unwritten, write_atomically
from scene.video.live.outputs.muxer import Done, Muxer
from scene.video.source.open import reason

FORMAT = "mp4"
_OPTIONS = {"movflags": "+frag_keyframe+delay_moov+default_base_moof+skip_trailer"}
_VERSION = 7
# Pieces that are no longer listed stay for as many that are, for players that have read an older playlist.
_KEPT_BEHIND = 1
_ENTRY = re.compile(
    r"(?P<discontinuity>#EXT-X-DISCONTINUITY\n)?(?:#EXT-X-MAP:URI=\"(?P<header>[^\"\n]+)\"\n)?"
    r"#EXTINF:(?P<seconds>[0-9.]+),\n(?P<name>[^#\n/]+)\n"
)
_TOP = re.compile(
    r"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:(?P<target>\d+)\n#EXT-X-MEDIA-SEQUENCE:(?P<first>\d+)\n"
    r"#EXT-X-DISCONTINUITY-SEQUENCE:(?P<joins>\d+)\n#EXT-X-INDEPENDENT-SEGMENTS\n"
)
_END = "#EXT-X-ENDLIST\n"


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of a playlist.

    Attributes:
        header: name of the file that describes its streams.
        discontinuity: whether its clock is not that of the segment before.
    """

    name: str
    seconds: float
    header: str
    discontinuity: bool = False


@dataclass(slots=True)
class Playlist:
    """What a playlist says.

    Attributes:
        target: no segment is longer, in whole seconds.
        first: number of the first segment that is listed.
        joins: discontinuities before it.
    """

    target: int
    first: int = 0
    joins: int = 0
    segments: deque[Segment] = field(default_factory=deque)

    @property
    def next(self) -> int:
        """Number of the segment to come."""
        return self.first + len(self.segments)

    def text(self, *, ended: bool) -> str:
        """The file."""
        lines = [
            "#EXTM3U",
            f"#EXT-X-VERSION:{_VERSION}",
            f"#EXT-X-TARGETDURATION:{self.target}",
            f"#EXT-X-MEDIA-SEQUENCE:{self.first}",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{self.joins}",
            "#EXT-X-INDEPENDENT-SEGMENTS",
        ]
        header = ""
        for segment in self.segments:
            if segment.discontinuity:
                lines.append("#EXT-X-DISCONTINUITY")
            if segment.header != header:
                header = segment.header
                lines.append(f'#EXT-X-MAP:URI="{header}"')
            lines += [f"#EXTINF:{segment.seconds:.6f},", segment.name]
        return "\n".join(lines) + "\n" + (_END if ended else "")

    @classmethod
    def read(cls, path: Path) -> Playlist:
        """A playlist that an earlier run wrote. Raises UsageError where it is another's."""
        other = UsageError(f"{path} is no playlist of this command; give another name, or move it away.")
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise other from None
        top = _TOP.match(text)
        if top is None:
            raise other
        playlist = cls(int(top["target"]), int(top["first"]), int(top["joins"]))
        place, header = top.end(), ""
        while entry := _ENTRY.match(text, place):
            header = entry["header"] or header
            playlist.segments.append(
                Segment(entry["name"], float(entry["seconds"]), header, entry["discontinuity"] is not None)
            )
            place = entry.end()
        if text[place:] not in {"", _END} or (playlist.segments and not header):
            raise other
        return playlist


class HlsOutput:
    """Segments and a playlist beside each other.

    Args:
        path: of the playlist.
        streams: descriptions of what it holds, the video first, which is in units of `clock`.
        seconds: of a segment, at least; it ends at the first key frame after that.
        window: seconds that the playlist lists, 0 for all; what is older is removed.
        done: see `Done`.

    Raises:
        UsageError: there is a playlist of something else.
        SceneError: nothing can be written there.
    """

    def __init__(
        self, path: Path, streams: Sequence[Stream], clock: Fraction, seconds: float, window: float, done: Done
    ) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise SceneError(f"{path.parent} cannot be made: {error.strerror}.") from None
        self._path = path
        self._done = done
        self._clock = clock
        self._seconds = seconds
        self._window = window
        # A segment ends with a frame, and a pause between two frames is at most half a second.
        target = math.ceil(seconds + 0.5)
        self._playlist = Playlist.read(path) if path.exists() else Playlist(target)
        self._playlist.target = max(target, self._playlist.target)
        self._behind = self._left() if window else deque()
        self._joins = bool(self._playlist.segments)
        self._header_name = f"{path.stem}-{self._playlist.next:06d}-init.mp4"
        self._header = b""
        self._piece = bytearray()
        self._begin: Fraction | None = None
        self._keys: deque[Fraction] = deque()
        self._end = Fraction(0)
        self._boxes = _Boxes()
        remove_unwritten(path.parent)
        self._muxer = Muxer(self._boxes, FORMAT, streams, _OPTIONS)

    def write(self, packet: Packet[Any], stream: int) -> None:
        """As `Output` has it. Raises SceneError."""
        stamp, size = packet.pts or 0, packet.size
        if stream == 0:
            assert packet.pts is not None
            time = packet.pts * self._clock
            if packet.is_keyframe:
                self._keys.append(time)
            self._end = max(self._end, time + (packet.duration or 0) * self._clock)
        try:
            written = self._muxer.write(packet, stream)
        except (av.FFmpegError, OSError) as error:
            raise SceneError(f"writing the output failed: {reason(error)}.") from None
        self._take()
        self._done(stream, stamp, size, written)

    def finish(self) -> None:
        """Writes the last segment and ends the playlist. Raises SceneError."""
        try:
            self._muxer.close()
        except (av.FFmpegError, OSError) as error:
            raise SceneError(f"writing the output failed: {reason(error)}.") from None
        self._take()
        if self._piece and self._begin is not None:
            self._publish(self._end)
        self._save(ended=True)

    def abandon(self) -> None:
        """Ends the playlist after what it lists, if that can be written."""
        self._muxer.abandon()
        with contextlib.suppress(SceneError):
            self._save(ended=True)

    def _take(self) -> None:
        """Takes what the muxer has written by now."""
        for kind, box in self._boxes.taken():
            if kind in {b"ftyp", b"moov"}:
                self._header += box
            elif kind == b"moof":
                begin = self._keys.popleft()
                self._begin = begin if self._begin is None else self._begin
                self._piece += box
            elif kind == b"mdat":
                self._piece += box
                assert self._begin is not None
                # A fragment is written when the next one has begun, but for the last of all.
                if self._keys and self._keys[0] - self._begin >= Fraction(self._seconds) - self._clock:
                    self._publish(self._keys[0])

    def _publish(self, end: Fraction) -> None:
        assert self._begin is not None
        playlist = self._playlist
        if self._header:
            self._store(self._path.with_name(self._header_name), self._header)
            self._header = b""
        name = f"{self._path.stem}-{playlist.next:06d}.m4s"
        self._store(self._path.with_name(name), bytes(self._piece))
        playlist.segments.append(Segment(name, float(end - self._begin), self._header_name, self._joins))
        self._piece.clear()
        self._begin, self._joins = None, False
        self._save(ended=False)
        self._forget()

    def _left(self) -> deque[str]:
        """Files of earlier runs that the playlist lists no more."""
        listed = {name for segment in self._playlist.segments for name in (segment.name, segment.header)}
        own = re.compile(re.escape(self._path.stem) + r"-[0-9]{6,}(\.m4s|-init\.mp4)")
        names = sorted(path.name for path in self._path.parent.iterdir() if own.fullmatch(path.name))
        return deque(name for name in names if name not in listed)

    def _save(self, *, ended: bool) -> None:
        self._store(self._path, self._playlist.text(ended=ended))

    def _forget(self) -> None:
        """Takes away what is older than the window."""
        playlist = self._playlist
        if not self._window:
            return
        listed = sum(segment.seconds for segment in playlist.segments)
        while listed - playlist.segments[0].seconds >= self._window:
            gone = playlist.segments.popleft()
            listed -= gone.seconds
            playlist.first += 1
            playlist.joins += gone.discontinuity
            self._behind.append(gone.name)
            if playlist.segments[0].header != gone.header:
                self._behind.append(gone.header)
        while len(self._behind) > _KEPT_BEHIND * len(playlist.segments) + 1:
            self._path.with_name(self._behind.popleft()).unlink(missing_ok=True)

    def _store(self, path: Path, content: bytes | str) -> None:
        try:
            write_atomically(path, content)
        except OSError as error:
            raise SceneError(f"{path} cannot be written ({error.strerror}); what was delivered before stays.") from None


class _Boxes:
    """A file that takes what a muxer of mp4 writes apart into its boxes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def taken(self) -> list[tuple[bytes, bytes]]:
        """Kind and content of the boxes that are complete by now."""
        found = []
        while len(self._data) >= 16:
            size, kind = struct.unpack_from(">I4s", self._data)
            if size == 1:
                size = struct.unpack_from(">Q", self._data, 8)[0]
            if size < 8 or len(self._data) < size:
                break
            found.append((kind, bytes(self._data[:size])))
            del self._data[:size]
        return found
