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
class SideBySide:
    """One frame of one clip through one codec.

    Attributes:
        clip, codec: whose it is.
        frame: its number, from 0.
        width, height: of the frame in pixels.
        crop: left, top, width, height of the detail.
        panes: the source first, then the codec alone, then every method.
        note: what the reader has to know of it; may be empty.
    """

    clip: str
    codec: str
    frame: int
    width: int
    height: int
    crop: tuple[int, int, int, int]
    panes: tuple[Pane, ...]
    note: str = ""


_FORMAT = "slide 1"
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
