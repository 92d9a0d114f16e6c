"""Versions of a clip in motion: one short video in which they stand one above the other.

A browser cannot play them out of step then, and what it shows side by side, flips or subtracts is of the same moment.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from scene.evaluation.visuals.side_by_side import Moving
from scene.measure.raw_video import RawVideo
from scene.picture import Matrix
from scene.video.encoders import DEFAULT_ENCODER, ENCODERS
from scene.video.ffmpeg import FFmpeg, ProcessError, StoppedError, input_name

_log = logging.getLogger(__name__)

_MOST_FRAMES = 48
# Larger pictures are cut, not scaled: what an encoder leaves is seen pixel for pixel.
_WIDEST, _TALLEST = 640, 368
# Each version begins at a macroblock of its own, so that none is predicted from its neighbour's samples within a block.
_ALIGNMENT = 16
# The video must not add anything that could be taken for the encoders' doing.
_QUALITY = ("-preset", "medium", "-tune", "psnr", "-crf", "18", "-g", "24")
_TAGS: dict[Matrix, str] = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc", "fcc": "fcc"}


def film(
    ffmpeg: FFmpeg,
    videos: Sequence[RawVideo],
    labels: Sequence[str],
    rate: Fraction,
    *,
    frame: int,
    crop: tuple[int, int, int, int],
    folder: Path,
) -> Moving | None:
    """The videos around a frame and a detail, as one MP4; None where nothing can move or ffmpeg cannot code it.

    Args:
        videos: of one size and length, with their `labels`.
        rate: frames a second.
        frame: that is to be among those shown.
        crop: left, top, width and height of what is to be in the middle, where the pictures are cut.
        folder: where the video is made.

    Raises:
        StoppedError: the work was given up.
    """
    fmt, length = videos[0].header.format, videos[0].frames
    count = min(length, _MOST_FRAMES)
    width, height = (_even(min(size, most)) for size, most in ((fmt.width, _WIDEST), (fmt.height, _TALLEST)))
    if count < 2 or min(width, height) < 2:
        return None
    first = _placed(frame - count // 2, length - count)
    left = _even(_placed(crop[0] + crop[2] // 2 - width // 2, fmt.width - width))
    top = _even(_placed(crop[1] + crop[3] // 2 - height // 2, fmt.height - height))
    pitch = -(-height // _ALIGNMENT) * _ALIGNMENT
    # Said of the pictures before anything else: said of the output alone, ffmpeg would convert to it.
    cut = (
        f"setparams=range=tv:colorspace={_TAGS.get(fmt.matrix, 'unknown')},"
        f"trim=start_frame={first}:end_frame={first + count},setpts=PTS-STARTPTS,crop={width}:{height}:{left}:{top},"
        f"format=yuv420p,pad={width}:{pitch}:0:0"
    )
    chains = [f"[{number}:v]{cut}[v{number}]" for number in range(len(videos))]
    stacked = "".join(f"[v{number}]" for number in range(len(videos))) + f"vstack=inputs={len(videos)}[out]"
    path = folder / "moving.mp4"
    try:
        ffmpeg.run(
            [
                *(word for video in videos for word in ("-r", f"{rate}", "-i", input_name(video.path))),
                *("-filter_complex", ";".join([*chains, stacked]), "-map", "[out]", "-frames:v", str(count)),
                *("-c:v", ENCODERS[DEFAULT_ENCODER].ffmpeg_name, *_QUALITY),
                *("-movflags", "+faststart", "-y", input_name(path)),
            ]
        )
    except StoppedError:
        raise
    except ProcessError as error:
        _log.warning("no moving comparison (%s)", error)
        return None
    return Moving(tuple(labels), width, height, pitch, first, count, float(rate), path.read_bytes())


def _even(length: int) -> int:
    return length // 2 * 2


def _placed(wanted: int, most: int) -> int:
    """As wanted, but within 0 and `most`."""
    return max(0, min(wanted, most))
