"""Whether a source gives all that it promises: FFmpeg ends a truncated file without an error."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_HEAD_BYTES = 4096


def declared_size(path: Path) -> int | None:
    """Bytes that a Matroska, WebM or AVI file declares in its header, None for other files and live recordings.

    RFC 8794 (EBML), section 6; an AVI above a gigabyte is a row of RIFF chunks, of which this is the first alone.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        length = int.from_bytes(head[4:8], "little")
        return 8 + length if length else None
    if head[:4] != _EBML:
        return None
    header_end = _element_end(head, 4)
    if header_end is None or head[header_end : header_end + 4] != _SEGMENT:
        return None
    return _element_end(head, header_end + 4)


def missing_bytes(path: Path) -> int:
    """How many bytes fewer a file has than it declares."""
    return max(0, (declared_size(path) or 0) - path.stat().st_size)


def _element_end(data: bytes, at: int) -> int | None:
    """Where an EBML element ends whose size field begins at `at`; None if the size is unknown."""
    if at >= len(data) or data[at] == 0:
        return None
    width = 9 - data[at].bit_length()
    field = int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1
    if len(data) < at + width or field == (1 << 7 * width) - 1:
        return None
    return at + width + field


# Containers whose header states a duration that was measured, not guessed from the bit rate.
_TRUSTED = ("mov,mp4", "matroska,webm")
# Codecs in which every packet is one shown frame. AV1, VP8 and VP9 have packets that show nothing.
_FRAME_PER_PACKET = frozenset({"h264", "hevc", "vvc", "mpeg2video", "prores", "ffv1", "mjpeg", "dnxhd"})
# Containers round durations, and audio may end a few packets before its declared end.
_SLACK_S = Fraction(1, 2)


class TruncationCheck:
    """Counts packets and frames as they come and judges them at the end."""

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self.frames = 0
        self._missing_bytes = missing_bytes(path)
        self._packets = 0
        self._video_index = stream.index
        # The sample table of mp4 and mov after its edit list was applied; `stream.frames` also counts cut samples.
        self._promised_packets = len(stream.index_entries) if "mp4" in container.format.name else 0
        self._end: Fraction | None = None
        self._promised_end: Fraction | None = None
        if container.format.name.startswith(_TRUSTED) and container.duration:
            # Matroska's duration counts from zero when FFmpeg wrote it; others leave a late start out.
            start = 0 if "matroska" in container.format.name else container.start_time or 0
            self._promised_end = Fraction(start + container.duration, av.time_base)
        self._pending: set[int] | None = set() if stream.codec_context.name in _FRAME_PER_PACKET else None
        self._first_shown: int | None = None

    def saw_packet(self, packet: Packet[Any]) -> None:
        """Notes a demuxed packet of any stream."""
        if not packet.size:
            return
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            end = (stamp + (packet.duration or 0)) * packet.time_base
            self._end = end if self._end is None else max(self._end, end)
        if packet.stream_index == self._video_index:
            self._packets += 1
            if self._pending is not None and packet.pts is not None and not packet.is_discard:
                self._pending.add(packet.pts)

    def saw_frame(self, frame: av.VideoFrame) -> None:
        """Notes a decoded frame, before its time stamp is changed."""
        self.frames += 1
        if frame.pts is not None:
            if self._first_shown is None:
                self._first_shown = frame.pts
            if self._pending is not None:
                self._pending.discard(frame.pts)

    def verdict(self) -> str | None:
        """What is missing, None where all is there."""
        if self.frames == 0:
            return "no frame can be decoded"
        if self._missing_bytes:
            return f"its last {self._missing_bytes} bytes are missing"
        if self._packets < self._promised_packets:
            return f"{self._packets} of {self._promised_packets} frames are in the file"
        if self._promised_end is not None and (self._end or 0) < self._promised_end - _SLACK_S:
            return f"it ends at {float(self._end or 0):.2f} s of {float(self._promised_end):.2f} s"
        # Frames before the first one shown belong to a group of pictures whose start is not in the file.
        first = self._first_shown
        if self._pending and first is not None:
            lost = sum(1 for pts in self._pending if pts >= first)
            if lost:
                return f"{lost} of {self.frames + lost} frames cannot be decoded"
        return None
