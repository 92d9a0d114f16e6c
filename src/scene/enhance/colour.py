"""Colour maths in torch: integer codes, the studio scale that networks see, and R'G'B'.

The *studio scale* is the 8-bit limited-range code divided by 255, whatever the depth and range of the source:
luma runs from 16/255 (black) to 235/255 (white), chroma from 16/255 to 240/255 around 128/255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from scene.picture import Matrix, Picture, PictureFormat

# (Kr, Kb) of ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance), 47 CFR 73.682 (FCC) and SMPTE ST 240.
_LUMA_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
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
    scale = luma_scale(picture.format)
    planes = picture.planes if picture.format.matrix == "rgb" else picture.planes[:1]
    studio = [scale.to_studio(torch.from_numpy(np.ascontiguousarray(plane))[None, None]) for plane in planes]
    return gbr_luma(studio) if len(studio) > 1 else studio[0]


def gbr_luma(studio: Sequence[torch.Tensor]) -> torch.Tensor:
    """Luma of G', B' and R' planes, all on the studio scale, by the weights of BT.709."""
    kr, kb = _LUMA_WEIGHTS["bt709"]
    green, blue, red = studio
    return (1 - kr - kb) * green + kb * blue + kr * red


def plane_scales(fmt: PictureFormat) -> tuple[CodeScale, ...]:
    """The scale of each plane; those of RGB are scaled as luma is."""
    luma, chroma = luma_scale(fmt), chroma_scale(fmt)
    if fmt.chroma == "400":
        return (luma,)
    return (luma, luma, luma) if fmt.matrix == "rgb" else (luma, chroma, chroma)


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

    Without chroma, and with a matrix that is "other", the picture is grey. Colours outside the RGB cube are clipped to
    it.
    """
    y = (luma * 255 - 16) / 219
    if chroma is None or matrix == "other":
        return y.expand(-1, 3, -1, -1).clamp(0, 1)
    cb, cr = ((plane * 255 - 128) / 224 for plane in chroma)
    if matrix == "ycgco":
        green, magenta = y + cb, y - cb
        return torch.cat([magenta + cr, green, magenta - cr], dim=1).clamp_(0, 1)
    kr, kb = _LUMA_WEIGHTS[matrix]
    red = y + 2 * (1 - kr) * cr
    blue = y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return torch.cat([red, green, blue], dim=1).clamp_(0, 1)


def rgb_delta_to_studio(delta: torch.Tensor, matrix: Matrix) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A difference in R'G'B' (N, 3, H, W) to those of Y, Cb, Cr on the studio scale, each (N, 1, H, W)."""
    red, green, blue = delta[:, 0:1], delta[:, 1:2], delta[:, 2:3]
    if matrix == "ycgco":
        y, cg, co = (red + 2 * green + blue) / 4, (2 * green - red - blue) / 4, (red - blue) / 2
        return y * (219 / 255), cg * (224 / 255), co * (224 / 255)
    kr, kb = _LUMA_WEIGHTS[matrix]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb = (blue - y) / (2 * (1 - kb))
    cr = (red - y) / (2 * (1 - kr))
    return y * (219 / 255), cb * (224 / 255), cr * (224 / 255)


def gbr_to_rgb(studio: Sequence[torch.Tensor]) -> torch.Tensor:
    """G', B' and R' planes (N, 1, H, W) on the studio scale to R'G'B' (N, 3, H, W) in [0, 1], clipped."""
    green, blue, red = studio
    return ((torch.cat([red, green, blue], dim=1) * 255 - 16) / 219).clamp_(0, 1)


def rgb_delta_to_gbr(delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A difference in R'G'B' (N, 3, H, W) to those of G', B', R' on the studio scale, each (N, 1, H, W)."""
    scaled = delta * (219 / 255)
    return scaled[:, 1:2], scaled[:, 2:3], scaled[:, 0:1]


def picture_rgb(studio: Sequence[torch.Tensor], fmt: PictureFormat) -> torch.Tensor:
    """All planes of pictures on the studio scale to R'G'B' (N, 3, H, W) in [0, 1]; see `studio_to_rgb`."""
    if fmt.matrix == "rgb":
        return gbr_to_rgb(studio)
    if len(studio) < 3:
        return studio_to_rgb(studio[0], None, fmt.matrix)
    cb, cr = (upsample_chroma(plane, fmt) for plane in studio[1:])
    return studio_to_rgb(studio[0], (cb, cr), fmt.matrix)


def rgb_to_pictures(frames: Sequence[npt.NDArray[np.uint8]], fmt: PictureFormat) -> list[Picture]:
    """8-bit R'G'B' frames, (H, W, 3), as pictures of a limited-range 8-bit Y'CbCr format of their size."""
    rgb = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2) / 255
    # A colour is its difference from black.
    luma, cb, cr = rgb_delta_to_studio(rgb, fmt.matrix)
    studio = ((luma, 16), (subsample_chroma(cb, fmt), 128), (subsample_chroma(cr, fmt), 128))
    planes = [(plane[:, 0] * 255 + offset).round().to(torch.uint8).numpy() for plane, offset in studio]
    return [Picture(fmt, tuple(plane[index] for plane in planes)) for index in range(len(frames))]


def upsample_chroma(plane: torch.Tensor, fmt: PictureFormat) -> torch.Tensor:
    """A chroma plane (N, 1, h, w) to luma size (N, 1, H, W), bilinear from where its samples lie."""
    for dim, offset in _subsampled(fmt):
        plane = _double(plane.movedim(dim, -1), offset).movedim(-1, dim)
    return plane[..., : fmt.height, : fmt.width]


def subsample_chroma(plane: torch.Tensor, fmt: PictureFormat) -> torch.Tensor:
    """A plane at luma size (N, 1, H, W) to chroma size; odd edges are repeated.

    Chroma that lies between two luma samples is the mean of both; where it lies with one, it is half of that and a
    quarter of each neighbour.
    """
    for dim, offset in _subsampled(fmt):
        plane = _halve(plane.movedim(dim, -1), offset).movedim(-1, dim)
    return plane


def _subsampled(fmt: PictureFormat) -> list[tuple[int, float]]:
    """The subsampled dimensions, each with the place of the first chroma sample, in luma samples from the first."""
    location = fmt.chroma_location
    down = 0.0 if location.startswith("top") else 1.0 if location.startswith("bottom") else 0.5
    right = 0.0 if location.endswith("left") else 0.5
    return {"420": [(-2, down), (-1, right)], "422": [(-1, right)]}.get(fmt.chroma, [])


def _double(plane: torch.Tensor, offset: float) -> torch.Tensor:
    before = torch.cat([plane[..., :1], plane[..., :-1]], dim=-1)
    after = torch.cat([plane[..., 1:], plane[..., -1:]], dim=-1)
    # Luma samples 2i and 2i + 1 lie at -offset and 1 - offset from chroma sample i; chroma samples are 2 apart.
    even = plane + (before - plane) * (offset / 2)
    odd = plane + (after - plane) * ((1 - offset) / 2)
    return torch.stack([even, odd], dim=-1).flatten(-2)


def _halve(plane: torch.Tensor, offset: float) -> torch.Tensor:
    plane = pad_to_multiple(plane, 1, 2)
    even, odd = plane[..., 0::2], plane[..., 1::2]
    if offset == 0:
        before = torch.cat([even[..., :1], odd[..., :-1]], dim=-1)
        return (before + 2 * even + odd) / 4
    if offset == 1:
        after = torch.cat([even[..., 1:], odd[..., -1:]], dim=-1)
        return (even + 2 * odd + after) / 4
    return (even + odd) / 2


def pad_to_multiple(plane: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """(N, C, H, W) with its last row and column repeated until H and W are multiples of `rows` and `cols`."""
    bottom, right = -plane.shape[-2] % rows, -plane.shape[-1] % cols
    return F.pad(plane, (0, right, 0, bottom), mode="replicate") if bottom or right else plane
