"""A differentiable JPEG: decoded frames and an estimate of their bits (paper section 2.3, reference 14).

It has the block transform and quantisation that JPEG shares with the intra frames of video codecs, and no prediction
from neighbouring blocks or frames. With "jpeg" tables it follows the real format closely enough to be checked against
it; with "flat" tables and a rounding offset below one half it is nearer to what x264 does to its residuals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene.errors import UsageError
from scene.proxy.blocks import BLOCK, BLOCKS, bits_per_magnitude, dct_matrix, from_blocks, quantise, to_blocks

Tables = Literal["jpeg", "flat"]

# Recommendation T.81, annex K: the luma and chroma tables of quality 50.
_LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))


def quality_to_step(quality: float) -> float:
    """libjpeg's quality (1 to 100) as this proxy's step, the luma DC step in code values (16 at quality 50)."""
    percent = 5000.0 / quality if quality < 50 else 200.0 - 2.0 * quality
    return 16.0 * percent / 100.0


class ProxyOutput(NamedTuple):
    """What a codec proxy returns.

    Attributes:
        decoded: the frames after coding, same shape and range as the input, clipped to [0, 1].
        bits_per_pixel: (B,) estimated bits over pixels of the luma plane.
    """

    decoded: Tensor
    bits_per_pixel: Tensor


@dataclass(frozen=True, slots=True)
class CodedPlane:
    """A plane after coding.

    Attributes:
        plane: (B, 1, h, w) code values, not clipped.
        bits: (B,) that it cost.
    """

    plane: Tensor
    bits: Tensor


class JpegProxy(nn.Module):
    """Codes frames as JPEG does, with gradients.

    Levels and rate are those of hard rounding. Their gradients are those of rounding under uniform noise of width
    `smoothing`: a coefficient has one where the noise can carry it over the threshold between two levels, and none
    elsewhere. So the rate's gradient does not vanish where levels round to zero, and a coefficient deep inside the
    dead zone, which is lost whatever the network does, is not rewarded for shrinking, which would only blur.

    Args:
        tables: "jpeg" for the tables of T.81 annex K, or "flat" for one step at every frequency.
        rounding: what is added to |z| before truncation: 0.5 is JPEG, 1/3 what x264 uses in intra blocks.
        smoothing: width of the noise in levels, above 0 and at most 1. At 1 all coefficients beyond half a level
            inside the dead zone count, which is plain straight-through rounding there; narrower is less biased
            and noisier.
        block: side of the transform: 8 is JPEG's; 4, 16 and 32, with flat tables only, are further ones of video
            encoders.
    """

    dct: Tensor
    luma_table: Tensor
    chroma_table: Tensor

    def __init__(
        self, tables: Tables = "jpeg", rounding: float = 0.5, smoothing: float = 1.0, block: int = BLOCK
    ) -> None:
        super().__init__()
        if tables not in ("jpeg", "flat"):
            raise UsageError(f"tables = {tables!r} must be jpeg or flat")
        if not 0.0 < rounding <= 0.5:
            raise UsageError(f"rounding = {rounding} must be above 0 and at most 0.5")
        if not 0.0 < smoothing <= 1.0:
            raise UsageError(f"smoothing = {smoothing} must be above 0 and at most 1")
        if block not in BLOCKS or (block != BLOCK and tables != "flat"):
            raise UsageError(f"block = {block} must be 8, or with flat tables one of {', '.join(map(str, BLOCKS))}")
        self.block = block
        self.rounding = rounding
        self.smoothing = smoothing
        if tables == "flat":
            luma = chroma = torch.full((block, block), 16.0)
        else:
            luma = torch.tensor(_LUMA_TABLE, dtype=torch.float32)
            chroma = torch.full((BLOCK, BLOCK), 99.0)
            chroma[:4, :4] = torch.tensor(_CHROMA_CORNER, dtype=torch.float32)
        # As multiples of the step.
        self.register_buffer("luma_table", luma / 16.0, persistent=False)
        self.register_buffer("chroma_table", chroma / 16.0, persistent=False)
        self.register_buffer("dct", dct_matrix(block), persistent=False)

    def forward(self, frames: Tensor, step: Tensor) -> ProxyOutput:
        """Codes and decodes a batch.

        Args:
            frames: (B, 3, H, W) RGB or (B, 1, H, W) luma, in [0, 1]. RGB is coded as full-range BT.601 YCbCr with
                4:2:0 chroma, as JFIF has it. Any size: planes are padded to whole blocks by repeating the border.
            step: (B,) quantiser steps in 8-bit code values, positive: that of the luma DC coefficient.
        """
        height, width = frames.shape[-2:]
        if frames.shape[1] == 1:
            luma = self.code_plane(frames * 255.0, self.luma_table, step)
            return ProxyOutput((luma.plane / 255.0).clamp(0.0, 1.0), luma.bits / (height * width))
        y, cb, cr = (p[:, None] for p in _rgb_to_ycbcr(frames * 255.0).unbind(dim=1))
        halved = [F.avg_pool2d(F.pad(c, (0, width % 2, 0, height % 2), mode="replicate"), 2) for c in (cb, cr)]
        luma_coded = self.code_plane(y, self.luma_table, step)
        coded = [luma_coded, *(self.code_plane(c, self.chroma_table, step) for c in halved)]
        # Bilinear is the triangle filter of libjpeg's chroma upsampling.
        chroma = [F.interpolate(c.plane, scale_factor=2, mode="bilinear")[..., :height, :width] for c in coded[1:]]
        decoded = _ycbcr_to_rgb(torch.cat([coded[0].plane, *chroma], dim=1)) / 255.0
        bits = coded[0].bits + coded[1].bits + coded[2].bits
        return ProxyOutput(decoded.clamp(0.0, 1.0), bits / (height * width))

    def code_plane(self, plane: Tensor, table: Tensor, step: Tensor) -> CodedPlane:
        """Codes one plane (B, 1, h, w) of code values in [0, 255]; bits are (B,)."""
        height, width = plane.shape[-2:]
        padded = F.pad(plane, (0, -width % self.block, 0, -height % self.block), mode="replicate")
        steps = table * step[:, None, None, None, None]
        z = self.dct @ to_blocks(padded - 128.0, self.block) @ self.dct.T / steps
        # Blocks are coded left to right and a DC level as its difference from the one before, as JPEG does. Counting
        # the DC level itself would reward pulling every picture towards mid grey.
        levels, bits_soft = quantise(z, self.rounding, self.smoothing)
        differences = torch.cat([_dc_difference(levels), levels.flatten(-2)[..., 1:]], dim=-1).detach()
        hard = torch.log2(1.0 + differences.abs())
        soft = torch.cat([torch.log2(1.0 + _dc_difference(z).abs()), bits_soft.flatten(-2)[..., 1:]], dim=-1)
        magnitude = (soft + (hard - soft).detach()).sum(dim=(1, 2, 3))
        bits = magnitude * bits_per_magnitude(differences)
        decoded = from_blocks(self.dct.T @ (levels * steps) @ self.dct) + 128.0
        return CodedPlane(decoded[..., :height, :width], bits)


def _dc_difference(coefficients: Tensor) -> Tensor:
    """(B, rows, cols, s, s) to (B, rows, cols, 1): each DC minus that of the block before it in its row."""
    dc = coefficients[..., 0, 0]
    before = torch.cat([F.pad(dc[:, :-1, :1], (0, 0, 1, 0)), dc[:, :, :-1]], dim=-1)
    return (dc - before)[..., None]


def _rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Full-range BT.601 in code values, chroma around 128 (JFIF)."""
    r, g, b = rgb.unbind(dim=1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return torch.stack([y, 128.0 + (b - y) / 1.772, 128.0 + (r - y) / 1.402], dim=1)


def _ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    y, cb, cr = ycbcr.unbind(dim=1)
    r = y + 1.402 * (cr - 128.0)
    b = y + 1.772 * (cb - 128.0)
    return torch.stack([r, (y - 0.299 * r - 0.114 * b) / 0.587, b], dim=1)
