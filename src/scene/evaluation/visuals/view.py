"""What a slide is: one frame of one clip in several versions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pane:
    """One version of a slide's picture.

    Attributes:
        label: the method, or "source".
        caption: what is said beneath it: CRF, bitrate, scores.
        image: the whole frame, WebP.
        crop: the slide's detail, pixel for pixel, lossless WebP.
    """

    label: str
    caption: str
    image: bytes
    crop: bytes


@dataclass(frozen=True, slots=True)
class Slide:
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
