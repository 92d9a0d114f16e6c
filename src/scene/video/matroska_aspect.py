"""The sample aspect ratio of AV1 in Matroska and WebM, which PyAV gives no way to hand to the muxer.

AV1's headers have no place for it. So once a file is whole, its display size is put into the track's description,
in the room that FFmpeg's muxer leaves there: longer fields for lengths than needed, and padding. Nothing moves.

Elements: RFC 9559 (Matroska); their encoding: RFC 8794 (EBML).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from scene.errors import SceneError

_SEGMENT, _TRACKS, _CLUSTER, _TRACK_ENTRY, _VIDEO = 0x18538067, 0x1654AE6B, 0x1F43B675, 0xAE, 0xE0
_TRACK_NUMBER = 0xD7
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_VOID, _CRC = 0xEC, 0xBF
# Descriptions of tracks are far shorter; what claims more is no file of ours.
_MAX_TRACKS_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class _Element:
    identity: int
    data: bytes

    def coded(self) -> bytes:
        return _identity(self.identity) + _length(len(self.data)) + self.data


def write_display_size(path: Path, track: int, size: tuple[int, int], aspect: Fraction) -> None:
    """Makes a Matroska file show a video track with a sample aspect ratio, by its display width in whole pixels.

    Args:
        track: number of the track, from 0.
        size: width and height of the coded pictures.
        aspect: width of a sample over its height; where it is below 1, the display height grows instead.

    Raises:
        SceneError: the file is not laid out as FFmpeg does it.
    """
    width, height = size
    if aspect >= 1:
        width = round(width * aspect)
    else:
        height = round(height / aspect)
    with path.open("r+b") as file:
        start, length = _find_tracks(file)
        file.seek(start)
        before = file.read(length)
        after = _with_display_size(before, track + 1, width, height)
        file.seek(start)
        file.write(after)


def _find_tracks(file: BinaryIO) -> tuple[int, int]:
    """Where the content of the Tracks element begins and how long it is."""
    while True:
        head = file.read(12)
        try:
            identity, used = _read_number(head, 0, marked=True)
            length, used = _read_number(head, used, marked=False)
        except IndexError:
            raise SceneError("the written file has no description of its tracks.") from None
        start = file.seek(used - len(head), 1)
        if identity == _TRACKS and length <= _MAX_TRACKS_BYTES:
            return start, length
        if identity == _CLUSTER:
            raise SceneError("the written file has no description of its tracks.")
        if identity != _SEGMENT:
            file.seek(length, 1)


def _with_display_size(tracks: bytes, number: int, width: int, height: int) -> bytes:
    entries = []
    checked = False
    for element in _elements(tracks):
        if element.identity == _TRACK_ENTRY:
            entries.append(_entry(element, number, width, height).coded())
        elif element.identity == _CRC:
            checked = True
        elif element.identity != _VOID:
            entries.append(element.coded())
    content = b"".join(entries)
    room = len(tracks) - len(content) - (6 if checked else 0)
    if room < 0 or room == 1:
        raise SceneError("the written file has no room for its sample aspect ratio; write .mp4 instead.")
    content += _void(room)
    # Kept first, as it must be; little-endian, over all that follows.
    return (_Element(_CRC, zlib.crc32(content).to_bytes(4, "little")).coded() if checked else b"") + content


def _entry(entry: _Element, number: int, width: int, height: int) -> _Element:
    children = [child for child in _elements(entry.data) if child.identity != _VOID]
    if not any(c.identity == _TRACK_NUMBER and int.from_bytes(c.data, "big") == number for c in children):
        return entry
    return _Element(
        entry.identity,
        b"".join((_video(child, width, height) if child.identity == _VIDEO else child).coded() for child in children),
    )


def _video(video: _Element, width: int, height: int) -> _Element:
    replaced = {_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT}
    kept = b"".join(child.coded() for child in _elements(video.data) if child.identity not in replaced)
    # Without a unit, these are pixels.
    return _Element(
        video.identity, kept + _unsigned(_DISPLAY_WIDTH, width).coded() + _unsigned(_DISPLAY_HEIGHT, height).coded()
    )


def _elements(data: bytes) -> Iterator[_Element]:
    position = 0
    while position < len(data):
        identity, position = _read_number(data, position, marked=True)
        length, position = _read_number(data, position, marked=False)
        yield _Element(identity, data[position : position + length])
        position += length


def _read_number(data: bytes, position: int, *, marked: bool) -> tuple[int, int]:
    """A number of variable length and where it ends; identities keep the bit that marks their length."""
    length = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + length], "big")
    return (value if marked else value & ((1 << 7 * length) - 1)), position + length


def _identity(identity: int) -> bytes:
    return identity.to_bytes((identity.bit_length() + 7) // 8, "big")


def _length(value: int) -> bytes:
    # All ones would mean an unknown length.
    length = next(n for n in range(1, 9) if value < (1 << 7 * n) - 1)
    return (value | 1 << 7 * length).to_bytes(length, "big")


def _unsigned(identity: int, value: int) -> _Element:
    return _Element(identity, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _void(room: int) -> bytes:
    """An element that says nothing, of `room` bytes in all; none for 0."""
    if room == 0:
        return b""
    length = 1 if room <= 127 else 8
    content = room - 1 - length
    return bytes([_VOID]) + (content | 1 << 7 * length).to_bytes(length, "big") + bytes(content)
