"""Versions of a clip drawn as side-by-side panes: one frame of each, chosen where two of them differ most."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scene.evaluation.visuals.moving import film
from scene.evaluation.visuals.side_by_side import Pane, SideBySide
from scene.evaluation.visuals.still import lossless_webp, read_picture, to_rgb, webp
from scene.measure.raw_video import RawVideo, read_lumas
from scene.metrics.scores import Scores
from scene.picture import Picture
from scene.video.ffmpeg import FFmpeg


@dataclass(frozen=True, slots=True)
class View:
    """A clip as one pane is to show it.

    Attributes:
        label, caption: see `Pane`.
        decode: gives it as raw video, written into the folder that it is given unless there is such a file already.
    """

    label: str
    caption: str
    decode: Callable[[Path], RawVideo]


def draw(
    ffmpeg: FFmpeg,
    views: Sequence[View],
    pair: tuple[int, int],
    folder: Path,
    *,
    clip: str,
    codec: str,
    note: str = "",
    rate: Fraction | None = None,
) -> SideBySide:
    """Draws every view at the frame, and with the detail, where two of them differ most; these two in motion too.

    No more than these two and the source are on the disk at once.

    Args:
        views: of one size, bit depth and length; the source first.
        pair: indices of the two that decide.
        folder: where a private folder may be made for raw video.
        clip, codec, note: see `SideBySide`.
        rate: frames a second; None where nothing is to move.

    Raises:
        ProcessError, InputError: a view cannot be decoded.
    """
    pictures: dict[int, Picture] = {}
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        videos = [views[index].decode(_subfolder(Path(name), index)) for index in pair]
        frame, difference = most_different_frame(*videos)
        for index, video in zip(pair, videos, strict=True):
            pictures[index] = read_picture(video, frame)
        crop = most_different_crop(difference)
        moving = None
        if rate is not None:
            decoded = dict(zip(pair, videos, strict=True))
            if 0 not in decoded:
                decoded[0] = views[0].decode(_subfolder(Path(name), 0))
            shown = sorted(decoded)
            labels = [views[index].label for index in shown]
            filmed = [decoded[index] for index in shown]
            moving = film(ffmpeg, filmed, labels, rate, frame=frame, crop=crop, folder=Path(name))
    for index, view in enumerate(views):
        if index not in pictures:
            with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
                pictures[index] = read_picture(view.decode(Path(name)), frame)
    left, top, width, height = crop
    panes = []
    for index, view in enumerate(views):
        rgb = to_rgb(ffmpeg, pictures[index], folder)
        detail = rgb[top : top + height, left : left + width]
        panes.append(Pane(view.label, view.caption, webp(rgb), lossless_webp(detail)))
    fmt = pictures[0].format
    return SideBySide(clip, codec, frame, fmt.width, fmt.height, crop, tuple(panes), note, moving)


def caption(quality: str, kbps: float, scores: Scores) -> str:
    """What is said beneath a pane.

    Args:
        quality: how it was encoded, for example "x264 CRF 30".
        kbps: rate of the whole clip.
        scores: of the whole clip.
    """
    clipped = " (clipped at 100)" if scores.vmaf_clipped < scores.vmaf - 0.05 else ""
    return (
        f"{quality}, {kbps:.0f} kbit/s, VMAF {scores.vmaf_clipped:.1f}{clipped}, VMAF NEG {scores.vmaf_neg:.1f}, "
        f"MS-SSIM {scores.ms_ssim:.4f}"
    )


def _subfolder(folder: Path, index: int) -> Path:
    made = folder / str(index)
    made.mkdir(exist_ok=True)
    return made


_ALIGNMENT = 8
_SMALLEST = 64

Crop = tuple[int, int, int, int]
Difference = npt.NDArray[np.uint16]


def most_different_frame(first: RawVideo, second: RawVideo) -> tuple[int, Difference]:
    """The frame with the largest mean absolute difference of luma, and that difference, (H, W).

    The very first frame, where encoders are still finding their rate, counts only if there is no other.

    Args:
        first, second: of one size, bit depth and length.
    """
    best: tuple[float, int, Difference] | None = None
    for number, (one, other) in enumerate(zip(read_lumas(first), read_lumas(second), strict=True)):
        if number == 0 and first.frames > 1:
            continue
        difference = np.maximum(one, other).astype(np.uint16) - np.minimum(one, other)
        mean = float(difference.mean())
        if best is None or mean > best[0]:
            best = mean, number, difference
    assert best is not None
    return best[1], best[2]


def most_different_crop(difference: npt.NDArray[np.unsignedinteger]) -> Crop:
    """Left, top, width and height of the part with the largest sum of `difference`, (H, W).

    It is a quarter of the picture wide, 4:3, at least 64 samples where the picture has as many; its place and size
    are multiples of 8.
    """
    rows, columns = difference.shape
    width = min(max(_aligned(columns / 4), _SMALLEST), columns)
    height = min(max(_aligned(width * 3 / 4), _SMALLEST * 3 // 4), rows)
    table = np.zeros((rows + 1, columns + 1), np.int64)
    table[1:, 1:] = difference.astype(np.int64).cumsum(axis=0).cumsum(axis=1)
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    places = sums[::_ALIGNMENT, ::_ALIGNMENT]
    top, left = (int(index) * _ALIGNMENT for index in np.unravel_index(int(places.argmax()), places.shape))
    return left, top, width, height


def _aligned(length: float) -> int:
    return round(length / _ALIGNMENT) * _ALIGNMENT
