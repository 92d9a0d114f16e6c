"""Clips made in the tests: a slow pan over a photograph that scikit-image carries."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from skimage import data

from scene.picture import Picture, PictureFormat
from scene.video.rawvideo.y4m import Y4MHeader, write_frame, write_header

WIDTH, HEIGHT, RATE = 320, 192, Fraction(25)


def write_pan(path: Path, frames: int, *, first: int = 0, step: int = 3) -> Path:
    """A YUV4MPEG2 clip of 320x192 whose frame n shows the photograph `(first + n) * step` columns further."""
    photograph = data.astronaut().astype(np.float64)
    red, green, blue = np.moveaxis(photograph, 2, 0)
    luma = 16 + (65.738 * red + 129.057 * green + 25.064 * blue) / 256
    cb = 128 + (-37.945 * red - 74.494 * green + 112.439 * blue) / 256
    cr = 128 + (112.439 * red - 94.154 * green - 18.285 * blue) / 256
    fmt = PictureFormat(WIDTH, HEIGHT, matrix="bt601")
    with path.open("wb") as stream:
        write_header(stream, Y4MHeader(fmt, RATE))
        for number in range(first, first + frames):
            window = (slice(40, 40 + HEIGHT), slice(number * step, number * step + WIDTH))
            planes = [plane[window].round().astype(np.uint8) for plane in (luma, cb, cr)]
            write_frame(stream, Picture(fmt, (planes[0], planes[1][::2, ::2], planes[2][::2, ::2])))
    return path
