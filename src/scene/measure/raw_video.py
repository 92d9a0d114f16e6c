"""Uncompressed video on disk, as the stages of an evaluation hand it on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scene.errors import InputError
from scene.picture import Matrix, Picture, Plane
from scene.video.rawvideo.y4m import Y4MHeader, read_frames, read_header, write_frame, write_header


@dataclass(frozen=True, slots=True)
class RawVideo:
    """A YUV4MPEG2 file whose frames have been counted."""

    path: Path
    header: Y4MHeader
    frames: int


def count_raw_video(path: Path, matrix: Matrix) -> RawVideo:
    """Reads the header of a YUV4MPEG2 file that ffmpeg wrote, and counts its frames by its size.

    Raises:
        InputError: it holds no frame, or a fraction of one.
    """
    with path.open("rb") as stream:
        header = read_header(stream, matrix=matrix)
        payload = path.stat().st_size - stream.tell()
    frames, rest = divmod(payload, header.frame_bytes + len(b"FRAME\n"))
    if rest or not frames:
        raise InputError(f"decoding gave {frames} frames and {rest} bytes more")
    return RawVideo(path, header, frames)


def write_raw_video(path: Path, header: Y4MHeader, pictures: Iterable[Picture]) -> RawVideo:
    """Writes pictures, all of the header's format, as a YUV4MPEG2 file.

    Raises:
        OSError: there is no room.
    """
    frames = 0
    with path.open("wb") as stream:
        write_header(stream, header)
        for picture in pictures:
            write_frame(stream, picture)
            frames += 1
    return RawVideo(path, header, frames)


def read_lumas(video: RawVideo) -> Iterator[Plane]:
    """The luma plane of each frame, (H, W), in order."""
    with video.path.open("rb") as stream:
        header = read_header(stream, matrix=video.header.format.matrix)
        for picture in read_frames(stream, header):
            yield picture.planes[0]
