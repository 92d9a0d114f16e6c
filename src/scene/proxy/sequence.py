"""A differentiable codec for a few frames: the first is coded by itself, the others as residuals of a prediction.

The paper's section 2.3 leaves motion-compensated prediction out; this goes beyond it. Most frames of a video are
predicted, so most of what an encoder pays for, and takes away, is a residual: what survives the first frame is had for
nothing in the next ones, and what the network does differently from frame to frame costs bits in each.

The frames are windows that move over one larger picture, so that the motion is known and the prediction exact but for
what coding lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene.errors import UsageError
from scene.proxy.blocks import BLOCK, bits_per_magnitude, from_blocks, quantise, to_blocks
from scene.proxy.jpeg import CodedPlane, JpegProxy, Tables


class SequenceOutput(NamedTuple):
    """What `SequenceProxy` returns.

    Attributes:
        decoded: (B, T, C, H, W) frames after coding, clipped to [0, 1].
        bits_per_pixel: (B, T) estimated bits of each frame over pixels of its luma plane.
    """

    decoded: Tensor
    bits_per_pixel: Tensor


class SequenceProxy(nn.Module):
    """Codes T frames, T - 1 of them as residuals of the decoded frame before, moved by the known shift.

    Rounding, gradients and bits are those of `JpegProxy`, with which a sequence of one frame is coded.

    Args:
        tables, rounding, smoothing: of the first frame, see `JpegProxy`; residuals are quantised flat.
        inter_rounding: as `rounding`, for residuals: 1/6 is what x264 uses in predicted blocks.
        inter_step: their step over that of the first frame; above 1, as in x264, whose ipratio is 1.4.
        blocks: sides of the transform, which the samples of a batch take in turn: an encoder has several, and a network
            that has met one alone learns what suits that one.
    """

    def __init__(
        self,
        tables: Tables = "flat",
        rounding: float = 1 / 3,
        smoothing: float = 1.0,
        inter_rounding: float = 1 / 6,
        inter_step: float = 1.25,
        blocks: Sequence[int] = (BLOCK,),
    ) -> None:
        super().__init__()
        if not 0.0 < inter_rounding <= 0.5:
            raise UsageError(f"inter_rounding = {inter_rounding} must be above 0 and at most 0.5")
        if not inter_step > 0.0:
            raise UsageError(f"inter_step = {inter_step} must be above 0")
        if not blocks:
            raise UsageError("blocks = [] must name at least one size")
        self.intra = nn.ModuleList(JpegProxy(tables, rounding, smoothing, block) for block in blocks)
        self.inter_rounding = inter_rounding
        self.inter_step = inter_step

    def forward(self, frames: Tensor, shifts: Tensor, step: Tensor) -> SequenceOutput:
        """Codes and decodes a batch of sequences.

        Args:
            frames: (B, T, 1, H, W) luma in [0, 1], or (B, 1, 3, H, W) RGB, a single frame.
            shifts: (B, 2) whole pixels down and right by which each window lies further than the one before; unused
                where T is 1.
            step: (B,) quantiser steps of the first frame in 8-bit code values, positive.

        Raises:
            UsageError: several frames of RGB.
        """
        count, planes = frames.shape[1:3]
        if count > 1 and planes != 1:
            raise UsageError("a sequence of several frames is coded in luma alone")
        if len(self.intra) == 1:
            return self._code(self.intra[0], frames, shifts, step)
        sizes = len(self.intra)
        parts = [
            self._code(intra, frames[first::sizes], shifts[first::sizes], step[first::sizes])
            for first, intra in enumerate(self.intra)
            if first < len(frames)
        ]
        # Back into the order that they came in.
        order = torch.cat([torch.arange(first, len(frames), sizes) for first in range(len(parts))]).argsort()
        decoded, bits = (torch.cat(part)[order.to(frames.device)] for part in zip(*parts, strict=True))
        return SequenceOutput(decoded, bits)

    def _code(self, intra: nn.Module, frames: Tensor, shifts: Tensor, step: Tensor) -> SequenceOutput:
        """Codes sequences with one size of transform."""
        assert isinstance(intra, JpegProxy)
        if frames.shape[1] == 1:
            decoded, bits = intra(frames[:, 0], step)
            return SequenceOutput(decoded[:, None], bits[:, None])
        height, width = frames.shape[-2:]
        codes = frames * 255.0
        coded = intra.code_plane(codes[:, 0], intra.luma_table, step)
        planes_decoded, bits_of = [coded.plane.clamp(0.0, 255.0)], [coded.bits]
        for frame in codes[:, 1:].unbind(dim=1):
            prediction = take(planes_decoded[-1], shifts, height, width)
            coded = self._code_residual(intra, frame, prediction, step * self.inter_step)
            planes_decoded.append(coded.plane.clamp(0.0, 255.0))
            bits_of.append(coded.bits)
        return SequenceOutput(torch.stack(planes_decoded, 1) / 255.0, torch.stack(bits_of, 1) / (height * width))

    def _code_residual(self, intra: JpegProxy, frame: Tensor, prediction: Tensor, step: Tensor) -> CodedPlane:
        """Codes the difference of two planes (B, 1, h, w) of code values."""
        height, width = frame.shape[-2:]
        padding = (0, -width % intra.block, 0, -height % intra.block)
        residual = F.pad(frame - prediction, padding, mode="replicate")
        steps = step[:, None, None, None, None]
        dct = intra.dct
        blocks = dct @ to_blocks(residual, intra.block) @ dct.T / steps
        levels, soft = quantise(blocks, self.inter_rounding, intra.smoothing)
        # A residual's mean is no more alike from block to block than its other coefficients: DC is coded as they are.
        hard = torch.log2(1.0 + levels.detach().abs())
        magnitude = (soft + (hard - soft).detach()).sum(dim=(1, 2, 3, 4))
        decoded = from_blocks(dct.T @ (levels * steps) @ dct)[..., :height, :width]
        return CodedPlane(prediction + decoded, magnitude * bits_per_magnitude(levels.detach().flatten(-2)))


def windows(picture: Tensor, shifts: Tensor, count: int, margin: int) -> Tensor:
    """Windows that move over pictures, as the frames of a pan.

    They begin at even rows and columns where shifts are even, so that all of them fall alike on a network's
    pixel-unshuffled grid.

    Args:
        picture: (B, C, H, W).
        shifts: (B, 2) whole pixels down and right from one window to the next, at most margin / (count - 1) each.
        count: number T of windows, at least 1.
        margin: pixels by which a picture is higher and wider than a window.

    Returns:
        (B, T, C, H - margin, W - margin).
    """
    if count == 1:
        return picture[:, None, :, : picture.shape[-2] - margin, : picture.shape[-1] - margin]
    height, width = picture.shape[-2] - margin, picture.shape[-1] - margin
    way = shifts * (count - 1)
    # In the middle of what the way leaves free; a way that goes up or left begins at its far end.
    begin = torch.div(margin - way.abs(), 4, rounding_mode="floor") * 2 + (-way).clamp(min=0)
    return torch.stack([take(picture, begin + shifts * index, height, width) for index in range(count)], dim=1)


def take(picture: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """A window of each picture; outside of it its border is repeated.

    Args:
        picture: (B, C, H, W).
        corner: (B, 2) whole numbers, the window's first row and column, of any sign.
        height, width: of the windows.

    Returns:
        (B, C, height, width).
    """
    channels, rows, columns = picture.shape[1:]
    y = (corner[:, :1] + torch.arange(height, device=picture.device)).clamp(0, rows - 1)
    x = (corner[:, 1:] + torch.arange(width, device=picture.device)).clamp(0, columns - 1)
    places = (y[:, :, None] * columns + x[:, None, :]).flatten(1)
    taken = picture.flatten(2).gather(2, places[:, None].expand(-1, channels, -1))
    return taken.reshape(-1, channels, height, width)
