"""How long a file says it is: FFmpeg ends a Matroska or AVI file that was cut off without an error."""

from __future__ import annotations

from pathlib import Path

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
