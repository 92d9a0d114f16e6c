"""Versions of a clip drawn as a slide's panes: one frame of each, chosen where two of them differ most."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scene.evaluation.visuals.detail import Crop, most_different_crop, most_different_frame
from scene.evaluation.visuals.still import lossless_webp, read_picture, to_rgb, webp
from scene.evaluation.visuals.view import Pane
from scene.measure.raw_video import RawVideo
from scene.metrics.scores import Scores
from scene.picture import Picture
from scene.video.ffmpeg import FFmpeg


@dataclass(frozen=True, slots=True)
class Version:
    """A clip as one pane is to show it.

    Attributes:
        label, caption: see `Pane`.
        decode: gives it as raw video, written into the folder that it is given unless there is such a file already.
    """

    label: str
    caption: str
    decode: Callable[[Path], RawVideo]


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a slide shows; see `scene.evaluation.visuals.view.Slide`."""

    frame: int
    width: int
    height: int
    crop: Crop
    panes: tuple[Pane, ...]


def draw(ffmpeg: FFmpeg, versions: Sequence[Version], pair: tuple[int, int], folder: Path) -> Drawing:
    """Draws every version at the frame, and with the detail, where two of them differ most.

    No more than two versions are on the disk at once.

    Args:
        versions: of one size, bit depth and length.
        pair: indices of the two that decide.
        folder: where a private folder may be made for raw video.

    Raises:
        ProcessError, InputError: a version cannot be decoded.
    """
    pictures: dict[int, Picture] = {}
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        videos = [versions[index].decode(_subfolder(Path(name), index)) for index in pair]
        frame, difference = most_different_frame(*videos)
        for index, video in zip(pair, videos, strict=True):
            pictures[index] = read_picture(video, frame)
    crop = most_different_crop(difference)
    for index, version in enumerate(versions):
        if index not in pictures:
            with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
                pictures[index] = read_picture(version.decode(Path(name)), frame)
    left, top, width, height = crop
    panes = []
    for index, version in enumerate(versions):
        rgb = to_rgb(ffmpeg, pictures[index], folder)
        detail = rgb[top : top + height, left : left + width]
        panes.append(Pane(version.label, version.caption, webp(rgb), lossless_webp(detail)))
    fmt = pictures[0].format
    return Drawing(frame, fmt.width, fmt.height, crop, tuple(panes))


def caption(quality: str, kbps: float, scores: Scores) -> str:
    """What is said beneath a pane.

    Args:
        quality: how it was encoded, for example "x264 CRF 30".
        kbps: rate of the whole clip.
        scores: of the whole clip.
    """
    return (
        f"{quality}, {kbps:.0f} kbit/s, VMAF {scores.vmaf:.1f}, VMAF NEG {scores.vmaf_neg:.1f}, "
        f"MS-SSIM {scores.ms_ssim:.4f}"
    )


def _subfolder(folder: Path, index: int) -> Path:
    made = folder / str(index)
    made.mkdir(exist_ok=True)
    return made
