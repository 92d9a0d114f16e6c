"""Short clips to calibrate on: windows of videos, and photographs, panned or still, with a camera's noise."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from scene.enhance.colour import rgb_to_pictures
from scene.errors import InputError
from scene.measure.clip import Recipe, make_reference, open_clips
from scene.picture import Picture, PictureFormat, cut_out, middle_window
from scene.training.data.images import image_size, list_images, read_image
from scene.training.data.pan import pan, spread
from scene.training.data.videos import list_videos
from scene.video.ffmpeg import FFmpeg
from scene.video.rawvideo.y4m import read_frames, read_header

# Large enough for every metric, small enough that an encoder takes a fraction of a second.
SIZE = (512, 256)
FRAMES = 16
_PAN_RATE = Fraction(24)
# Of the photographs in turn: whether the camera moves, and the standard deviation of its noise in 8-bit codes.
_SHOTS = ((True, 0.0), (False, 0.7), (True, 0.7), (True, 2.0))
# A photograph of less has to be enlarged.
_LARGE = (640, 320)


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationClip:
    """A clip in memory.

    Attributes:
        name: for messages and logs.
        pictures: of one format and even sides.
        rate: frames per second.
        digest: of the file that it was made of.
    """

    name: str
    pictures: tuple[Picture, ...]
    rate: Fraction
    digest: str


def video_clips(ffmpeg: FFmpeg, folder: Path, *, frames: int = FRAMES) -> list[CalibrationClip]:
    """The middle window of the first frames of every video below a folder.

    Raises:
        InputError: there is none, one cannot be decoded, is too short or smaller than the window.
    """
    return [_window(ffmpeg, path, frames) for path in list_videos(folder)]


def photograph_clips(folder: Path, count: int, *, frames: int = FRAMES) -> list[CalibrationClip]:
    """Photographs below a folder, evenly over their names: panned without noise, still, panned with some and with more.

    Photographs of less than 640x320 are left out, if there are enough others.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    files = list_images(folder)
    large = [path for path in files if _is_large(path)]
    if len(large) >= count:
        files = large
    return [
        _filmed(files[index], index, *_SHOTS[number % len(_SHOTS)], frames)
        for number, index in enumerate(spread(len(files), count))
    ]


def _window(ffmpeg: FFmpeg, path: Path, frames: int) -> CalibrationClip:
    (clip,) = open_clips([path])
    width, height = SIZE
    if clip.width < width or clip.height < height:
        raise InputError(f"{clip.name} is {clip.width}x{clip.height}; clips to calibrate on need {width}x{height}.")
    with tempfile.TemporaryDirectory(prefix="scene-calibrate-", ignore_cleanup_errors=True) as name:
        reference = make_reference(ffmpeg, clip, Recipe(frames), Path(name) / "reference.y4m")
        if reference.frames < frames:
            raise InputError(f"{clip.name} has {reference.frames} frames; clips to calibrate on need {frames}.")
        with reference.path.open("rb") as stream:
            header = read_header(stream, matrix=clip.matrix)
            window = middle_window(header.format, width, height)
            pictures = tuple(cut_out(picture, window) for picture in read_frames(stream, header))
    return CalibrationClip(clip.name, pictures, clip.rate, clip.sha256)


def _is_large(path: Path) -> bool:
    width, height = image_size(path)
    return width >= _LARGE[0] and height >= _LARGE[1]


def _filmed(path: Path, seed: int, moving: bool, sigma: float, frames: int) -> CalibrationClip:
    images = list(pan(read_image(path), frames if moving else 1, *SIZE, seed=seed))
    if not moving:
        images *= frames
    fmt = PictureFormat(*SIZE)
    pictures = tuple(_noisy(rgb_to_pictures(images, fmt), sigma, seed))
    return CalibrationClip(path.name, pictures, _PAN_RATE, hashlib.sha256(path.read_bytes()).hexdigest())


def _noisy(pictures: Sequence[Picture], sigma: float, seed: int) -> Iterator[Picture]:
    """With normal noise on luma and half of it on chroma, as sensors have it after a camera's own processing."""
    random = np.random.default_rng(seed)
    for picture in pictures:
        planes = []
        for index, plane in enumerate(picture.planes):
            noise = random.normal(0, sigma / (2 if index else 1), plane.shape)
            planes.append(np.clip(np.rint(plane + noise), 0, 255).astype(np.uint8))
        yield Picture(picture.format, tuple(planes))
