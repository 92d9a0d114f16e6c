"""How many bytes of a file are its video."""

from __future__ import annotations

from dataclasses import dataclass

from scene.errors import InputError
from scene.measure.clip import Clip
from scene.measure.raw_names import raw_layout
from scene.video.ffmpeg import SAFE_INPUT, FFmpeg, ProcessError, input_name

_UNSET = -(1 << 63)


@dataclass(frozen=True, slots=True)
class VideoPackets:
    """The coded video of a file.

    Attributes:
        codec: as ffmpeg names it: h264, hevc, av1, vvc, vp9, rawvideo.
        bytes: of its packets; neither container nor sound count.
    """

    codec: str
    bytes: int


def video_packets(ffmpeg: FFmpeg, clip: Clip, frames: int | None = None) -> VideoPackets:
    """Adds up the packets of a clip's video stream.

    Args:
        frames: count only the packets shown first, so many; in coding order where the file has no time stamps.

    Raises:
        InputError: the file cannot be read.
    """
    if clip.raw is not None:
        size = clip.path.stat().st_size
        return VideoPackets(
            "rawvideo", size if frames is None else min(size, frames * raw_layout(clip.path).frame_bytes)
        )
    arguments = [
        *(*SAFE_INPUT, "-i", input_name(clip.path), "-map", f"0:{clip.stream}"),
        *("-c", "copy", "-f", "framecrc", "-"),
    ]
    try:
        listing = ffmpeg.run(arguments).stdout.decode("ascii", "replace").splitlines()
        codec = next(line.split()[-1] for line in listing if line.startswith("#codec_id"))
        fields = [[int(value) for value in line.split(",")[:5]] for line in listing if not line.startswith("#")]
        packets = [(pts, size) for _, _, pts, _, size in fields]
    except (ProcessError, StopIteration, ValueError) as error:
        raise InputError(f"the packets of {clip.name} cannot be read ({error})") from error
    if all(pts != _UNSET for pts, _ in packets):
        packets.sort()
    return VideoPackets(codec, sum(size for _, size in packets[:frames]))
