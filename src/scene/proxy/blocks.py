"""What every block of a codec proxy goes through: a square transform, rounding with a smoothed gradient, a rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# JPEG's; video encoders choose among these from block to block.
BLOCK = 8
BLOCKS = (4, 8, 16, 32)

# Bits = sum(log2(1 + |level|)) * (_BITS_BASE + _BITS_SPARSE * log2(1 / share of levels that are not zero)),
# fitted to real baseline JPEG with optimised Huffman tables: `scripts/calibrate_rate.py`. Other sizes than JPEG's use
# the same two.
_BITS_BASE = 2.06
_BITS_SPARSE = 0.482


def dct_matrix(size: int = BLOCK) -> Tensor:
    """The orthonormal DCT-II of a number of points, (size, size), rows are frequencies."""
    n = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * n[None, :] + 1) * n[:, None] / (2 * size)) * math.sqrt(2.0 / size)
    matrix[0] /= math.sqrt(2.0)
    return matrix.float()


def to_blocks(plane: Tensor, size: int = BLOCK) -> Tensor:
    """(B, 1, h, w), whole blocks of s x s, to (B, h/s, w/s, s, s)."""
    batch, _, height, width = plane.shape
    blocks = plane.reshape(batch, height // size, size, width // size, size)
    return blocks.transpose(2, 3)


def from_blocks(blocks: Tensor) -> Tensor:
    """(B, rows, cols, s, s) to (B, 1, rows * s, cols * s)."""
    batch, rows, cols, size = blocks.shape[:4]
    return blocks.transpose(2, 3).reshape(batch, 1, rows * size, cols * size)


def quantise(z: Tensor, rounding: float, smoothing: float) -> tuple[Tensor, Tensor]:
    """Rounds coefficients to levels; gradients are those of rounding under uniform noise, see `JpegProxy`.

    Args:
        z: coefficients over the step, any shape.
        rounding: what is added to |z| before truncation, above 0 and at most 0.5.
        smoothing: width of the noise in levels, above 0 and at most 1.

    Returns:
        Levels, and a stand-in for log2(1 + |level|) whose gradient alone counts; both of the shape of `z`.
    """
    magnitude = z.detach().abs()
    # The threshold nearest to a coefficient, between levels `below` and `below + 1`.
    below = torch.floor(magnitude - 0.5 + rounding).clamp(min=0.0)
    crossing = (magnitude - (below + 1.0 - rounding)).abs() <= smoothing / 2
    slope = crossing.to(z.dtype) / smoothing
    soft = z * slope
    hard = torch.sign(z.detach()) * torch.floor(magnitude + rounding)
    return soft + (hard - soft).detach(), z.abs() * slope * torch.log2((2.0 + below) / (1.0 + below))


def bits_per_magnitude(levels: Tensor) -> Tensor:
    """Bits that a unit of log2(1 + |level|) costs: the rarer levels are, the longer the runs between them.

    Args:
        levels: (B, rows, cols, s * s), as they are coded.

    Returns:
        (B,).
    """
    share = (levels != 0).to(levels.dtype).mean(dim=(1, 2, 3))
    return _BITS_BASE - _BITS_SPARSE * torch.log2(share.clamp(min=1e-4))
