"""The sample aspect ratio of AV1 in Matroska and WebM, which PyAV gives no way to hand to the muxer.

AV1's headers have no place for it. So once a file is whole, its display size is put into the track's description,
in the room that FFmpeg's muxer leaves there: longer numbers than needed, and padding. Nothing moves.

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
_TRACK_NUMBER, _TRACK_UID = 0xD7, 0x73C5
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_VOID, _CRC = 0xEC, 0xBF
_CRC_BYTES = 6
# Descriptions of tracks are far shorter; what claims more is no file of ours.
_MAX_TRACKS_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class _Element:
    identity: int
    data: bytes

    def coded(self, wider: int = 0) -> bytes:
        """All bytes of the element, its length in as few as possible and `wider` more."""
        return _identity(self.identity) + _length(len(self.data), wider) + self.data


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
    elements = list(_elements(tracks))
    checked = any(element.identity == _CRC for element in elements)
    kept = [
        _entry(element, number, width, height) if element.identity == _TRACK_ENTRY else element
        for element in elements
        if element.identity not in {_CRC, _VOID}
    ]
    room = len(tracks) - (_CRC_BYTES if checked else 0) - sum(len(element.coded()) for element in kept)
    if room < 0:
        raise SceneError("the written file has no room for its sample aspect ratio; write .mp4 instead.")
    # Padding takes two bytes at least.
    wider = 1 if room == 1 else 0
    content = kept[0].coded(wider) + b"".join(element.coded() for element in kept[1:]) + _void(room - wider)
    # Kept first, as it must be; little-endian, over all that follows.
    return (_Element(_CRC, zlib.crc32(content).to_bytes(4, "little")).coded() if checked else b"") + content


def _entry(entry: _Element, number: int, width: int, height: int) -> _Element:
    children = [child for child in _elements(entry.data) if child.identity != _VOID]
    if not any(c.identity == _TRACK_NUMBER and int.from_bytes(c.data, "big") == number for c in children):
        return entry
    changed = []
    for child in children:
        if child.identity == _VIDEO:
            child = _video(child, width, height)
        elif child.identity == _TRACK_UID:
            child = _unsigned(_TRACK_UID, int.from_bytes(child.data, "big"))
        changed.append(child.coded())
    return _Element(entry.identity, b"".join(changed))


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


def _length(value: int, wider: int = 0) -> bytes:
    # All ones would mean an unknown length.
    length = next(n for n in range(1, 9) if value < (1 << 7 * n) - 1) + wider
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
