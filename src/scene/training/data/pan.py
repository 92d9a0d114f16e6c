"""Photographs as short clips: a window that moves slowly over the picture. Pure: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scene.training.data.frames import Image

# In pixels of the clip.
_PIXELS_A_FRAME = 2
_ZOOM = 0.05
# The largest window, over the largest one that fits: what is left is room to move.
_WINDOW = 0.8


def pan(photo: Image, frames: int, width: int, height: int, seed: int) -> Iterator[Image]:
    """Moves a window over a photograph, about two pixels a frame, and zooms in by up to 5 %.

    The window's first size is four fifths of the largest that fits, so a photograph of less than 1.25 times the
    clip's width or height is enlarged. Where it meets the edge of the photograph, it stays there.

    Args:
        photo: (H, W, 3) uint8 RGB.
        frames: how many are yielded.
        width, height: of each, in pixels.
        seed: of the direction, which is all that is random.

    Yields:
        (height, width, 3) uint8 RGB, resampled by Lanczos.
    """
    from PIL import Image as PillowImage

    image = PillowImage.fromarray(photo)
    scale = _WINDOW * min(image.width / width, image.height / height)
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    for index in range(frames):
        position = index - (frames - 1) / 2
        zoom = scale * (1 - _ZOOM * index / frames)
        reach_x, reach_y = (image.width - zoom * width) / 2, (image.height - zoom * height) / 2
        x = reach_x + np.clip(_PIXELS_A_FRAME * scale * position * np.cos(angle), -reach_x, reach_x)
        y = reach_y + np.clip(_PIXELS_A_FRAME * scale * position * np.sin(angle), -reach_y, reach_y)
        box = (float(x), float(y), float(x + zoom * width), float(y + zoom * height))
        yield np.asarray(image.resize((width, height), PillowImage.Resampling.LANCZOS, box=box))


def spread(available: int, wanted: int) -> list[int]:
    """Up to `wanted` indices below `available`, from the first to the last, as evenly as whole numbers go."""
    return [int(index) for index in np.linspace(0, available - 1, min(wanted, available)).round()]
