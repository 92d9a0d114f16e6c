"""What a side-by-side picture is: one frame of one clip in several views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scene.measure.cache import PointCache


@dataclass(frozen=True, slots=True)
class Pane:
    """One view of a side-by-side's picture.

    Attributes:
        label: the method, or "source".
        caption: what is said beneath it: CRF, bitrate, scores.
        image: the whole frame, WebP.
        crop: the side-by-side picture's detail, pixel for pixel, lossless WebP.
    """

    label: str
    caption: str
    image: bytes
    crop: bytes


@dataclass(frozen=True, slots=True)
class Moving:
    """Versions of a part of a clip in motion, one above the other in one video.

    Attributes:
        labels: what they are, from the top, as panes are labelled.
        width, height: of each in pixels.
        pitch: how many rows each begins below the one before; at least `height`.
        first, frames: number of the first frame, from 0, and how many there are.
        rate: frames a second.
        video: MP4.
    """

    labels: tuple[str, ...]
    width: int
    height: int
    pitch: int
    first: int
    frames: int
    rate: float
    video: bytes


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One frame of one clip through one codec.

    Attributes:
        clip, codec: whose it is.
        frame: its number, from 0.
        width, height: of the frame in pixels.
        crop: left, top, width, height of the detail.
        panes: the source first, then the codec alone, then every method.
        note: what the reader has to know of it; may be empty.
        moving: the same in motion; None if there is none.
    """

    clip: str
    codec: str
    frame: int
    width: int
    height: int
    crop: tuple[int, int, int, int]
    panes: tuple[Pane, ...]
    note: str = ""
    moving: Moving | None = None


_FORMAT = "slide 2"
_SUFFIX = ".slide"


def load_side_by_side(cache: PointCache, key: Mapping[str, Any]) -> SideBySide | None:
    """The side-by-side picture under this key, or None if there is none that can be used."""
    return cache.load_record(key, _FORMAT, SideBySide, _SUFFIX)


def store_side_by_side(cache: PointCache, key: Mapping[str, Any], side_by_side: SideBySide) -> None:
    """Writes a side-by-side picture, atomically.

    Raises:
        SceneError: the folder cannot be written to.
    """
    cache.store_record(key, _FORMAT, side_by_side, _SUFFIX)
