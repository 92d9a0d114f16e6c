"""Colour maths in torch: integer codes, the studio scale that networks see, and R'G'B'.

The *studio scale* is the 8-bit limited-range code divided by 255, whatever the depth and range of the source:
luma runs from 16/255 (black) to 235/255 (white), chroma from 16/255 to 240/255 around 128/255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from scene.picture import Chroma, Matrix, Picture, PictureFormat

# (Kr, Kb) of ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance).
_LUMA_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


@dataclass(frozen=True, slots=True)
class CodeScale:
    """The straight line from codes to the studio scale: studio = code * gain + offset."""

    gain: float
    offset: float

    def to_studio(self, codes: torch.Tensor) -> torch.Tensor:
        """Integer codes of any shape to float32 on the studio scale."""
        return codes.to(torch.float32).mul_(self.gain).add_(self.offset)

    def to_code_delta(self, delta: torch.Tensor) -> torch.Tensor:
        """A difference on the studio scale to a whole number of codes (int32)."""
        return (delta / self.gain).round().to(torch.int32)


def luma_scale(fmt: PictureFormat) -> CodeScale:
    """The scale of a format's luma plane."""
    if fmt.full_range:
        return CodeScale(219 / 255 / (2**fmt.bit_depth - 1), 16 / 255)
    return CodeScale(1 / (255 * 2 ** (fmt.bit_depth - 8)), 0.0)


def studio_luma(picture: Picture) -> torch.Tensor:
    """A picture's luma on the studio scale, (1, 1, H, W) on the CPU."""
    codes = torch.from_numpy(np.ascontiguousarray(picture.planes[0]))[None, None]
    return luma_scale(picture.format).to_studio(codes)


def chroma_scale(fmt: PictureFormat) -> CodeScale:
    """The scale of a format's chroma planes; the neutral code maps to 128/255 in both ranges."""
    if fmt.full_range:
        gain = 224 / 255 / (2**fmt.bit_depth - 1)
        return CodeScale(gain, 128 / 255 - 2 ** (fmt.bit_depth - 1) * gain)
    return CodeScale(1 / (255 * 2 ** (fmt.bit_depth - 8)), 0.0)


def add_code_delta(codes: torch.Tensor, delta: torch.Tensor, bit_depth: int) -> torch.Tensor:
    """codes + delta, clipped to the codes that the depth has, in the dtype of `codes`."""
    return (codes.to(torch.int32) + delta).clamp_(0, 2**bit_depth - 1).to(codes.dtype)


def studio_to_rgb(luma: torch.Tensor, chroma: tuple[torch.Tensor, torch.Tensor] | None, matrix: Matrix) -> torch.Tensor:
    """Studio-scale planes at luma size, each (N, 1, H, W), to R'G'B' (N, 3, H, W) in [0, 1].

    Without chroma the picture is grey. Colours outside the RGB cube are clipped to it.
    """
    y = (luma * 255 - 16) / 219
    if chroma is None:
        return y.expand(-1, 3, -1, -1).clamp(0, 1)
    kr, kb = _LUMA_WEIGHTS[matrix]
    cb, cr = ((plane * 255 - 128) / 224 for plane in chroma)
    red = y + 2 * (1 - kr) * cr
    blue = y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return torch.cat([red, green, blue], dim=1).clamp_(0, 1)


def rgb_delta_to_studio(delta: torch.Tensor, matrix: Matrix) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A difference in R'G'B' (N, 3, H, W) to those of Y, Cb, Cr on the studio scale, each (N, 1, H, W)."""
    kr, kb = _LUMA_WEIGHTS[matrix]
    red, green, blue = delta[:, 0:1], delta[:, 1:2], delta[:, 2:3]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb = (blue - y) / (2 * (1 - kb))
    cr = (red - y) / (2 * (1 - kr))
    return y * (219 / 255), cb * (224 / 255), cr * (224 / 255)


def upsample_chroma(plane: torch.Tensor, chroma: Chroma, height: int, width: int) -> torch.Tensor:
    """A chroma plane (N, 1, h, w) to luma size (N, 1, height, width), bilinear."""
    if chroma == "444":
        return plane
    rows = plane.shape[-2] * (2 if chroma == "420" else 1)
    up = F.interpolate(plane, size=(rows, plane.shape[-1] * 2), mode="bilinear", align_corners=False)
    return up[..., :height, :width]


def full_size_chroma(studio: Sequence[torch.Tensor], fmt: PictureFormat) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Cb and Cr at luma size from the planes of a picture on the studio scale; nothing where it has luma alone."""
    if len(studio) < 3:
        return None
    cb, cr = (upsample_chroma(plane, fmt.chroma, fmt.height, fmt.width) for plane in studio[1:])
    return cb, cr


def subsample_chroma(plane: torch.Tensor, chroma: Chroma) -> torch.Tensor:
    """A plane at luma size (N, 1, H, W) to chroma size by averaging; odd edges are repeated."""
    if chroma == "444":
        return plane
    kernel = (2, 2) if chroma == "420" else (1, 2)
    return F.avg_pool2d(pad_to_multiple(plane, *kernel), kernel)


def pad_to_multiple(plane: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """(N, C, H, W) with its last row and column repeated until H and W are multiples of `rows` and `cols`."""
    bottom, right = -plane.shape[-2] % rows, -plane.shape[-1] % cols
    return F.pad(plane, (0, right, 0, bottom), mode="replicate") if bottom or right else plane
