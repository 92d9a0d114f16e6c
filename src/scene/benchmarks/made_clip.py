"""A clip that is made rather than filmed: what encodes and enhancements are timed on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from scene.picture import Picture, PictureFormat, Plane

# Amplitudes fall with frequency as in photographs; it pans, and every frame has new noise. In 8-bit codes.
_FALL = 1.1
_PAN = 4
_MEAN, _SPREAD, _NOISE = 112.0, 40.0, 2.0
_CHROMA_SPREAD = 10.0


def made_pictures(width: int, height: int, frames: int) -> Iterator[Picture]:
    """A pan over a random texture with the spectrum of photographs, under noise that is new in every frame.

    The same ones every time, in 8-bit 4:2:0.
    """
    random = np.random.default_rng(0)
    fmt = PictureFormat(width, height)
    # By this much the planes move from frame to frame.
    steps = (_PAN, _PAN // 2, _PAN // 2)
    looks = ((_MEAN, _SPREAD), (128.0, _CHROMA_SPREAD), (128.0, _CHROMA_SPREAD))
    textures = [
        mean + spread * _texture(random, rows, columns + (frames - 1) * step)
        for (mean, spread), step, (rows, columns) in zip(looks, steps, fmt.plane_shapes, strict=True)
    ]
    for number in range(frames):
        planes: list[Plane] = []
        for texture, step, shape in zip(textures, steps, fmt.plane_shapes, strict=True):
            noise = random.standard_normal(shape, np.float32) * _NOISE
            shown = texture[:, number * step : number * step + shape[1]] + noise
            planes.append(shown.round().clip(16, 235).astype(np.uint8))
        yield Picture(fmt, tuple(planes))


def _texture(random: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float32]:
    """(rows, columns) of mean 0 and standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    frequency[0, 0] = np.inf
    phases = np.fft.rfft2(random.standard_normal((rows, columns)))
    texture = np.fft.irfft2(phases / frequency**_FALL, (rows, columns))
    return np.asarray(texture / texture.std(), np.float32)
