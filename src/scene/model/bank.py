"""The bank of `scene.enhance.bank` on tensors: for GPUs, and with gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from scene.model.calibration import BANDS, LEAST_SIDE, MIDDLE_STEP, Bank

# Burt and Adelson's binomial filter.
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def bank_change(luma: torch.Tensor, bank: Bank, step: torch.Tensor) -> torch.Tensor:
    """What a bank changes.

    Args:
        luma: (N, 1, H, W), on the scale of 8-bit limited-range codes.
        step: (N,) or (1,), the quantiser step of the encoder to come, in 8-bit codes.

    Returns:
        The change, of the shape and on the scale of `luma`.
    """
    step = step.to(luma).reshape(-1, 1, 1, 1)
    position = torch.log2(step / MIDDLE_STEP) / 2
    rows = zip(bank.gain, bank.gain_slope, bank.faint, bank.faint_slope, bank.reach, strict=True)
    change: torch.Tensor | None = None
    for band, (gain, gain_slope, faint, faint_slope, reach) in reversed(list(zip(_bands(luma), rows, strict=False))):
        share = torch.exp(-((band / (reach * step)) ** 2))
        own = band * (gain + position * gain_slope + (faint + position * faint_slope) * share)
        change = own if change is None else _doubled(change, band) + own
    assert change is not None
    return change


def _bands(luma: torch.Tensor) -> list[torch.Tensor]:
    """The bands of a Laplacian pyramid, the finest first; fewer on small pictures."""
    bands: list[torch.Tensor] = []
    # On the device at once: a CUDA graph cannot wait for main memory.
    taps = torch.stack([luma.new_full((), tap) for tap in _BINOMIAL])
    level = luma
    while len(bands) < BANDS and (not bands or all(side >= LEAST_SIDE for side in level.shape[-2:])):
        coarser = _halved(level, taps)
        bands.append(level - _doubled(coarser, level))
        level = coarser
    return bands


def _halved(x: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) smoothed by five taps, and of it every second sample in both directions."""
    mode = "reflect" if all(side > 2 for side in x.shape[-2:]) else "replicate"
    x = F.conv2d(F.pad(x, (2, 2, 0, 0), mode), taps.reshape(1, 1, 1, 5), stride=(1, 2))
    return F.conv2d(F.pad(x, (0, 0, 2, 2), mode), taps.reshape(1, 1, 5, 1), stride=(2, 1))


def _doubled(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(N, 1, h, w) interpolated by the same filter to the size of `like`."""
    wide = _doubled_along(x, 3, like.shape[3])
    return _doubled_along(wide, 2, like.shape[2])


def _doubled_along(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    # Beyond the beginning as OpenCV has it the second sample, beyond the end the last.
    before = x.narrow(dim, min(1, x.shape[dim] - 1), 1)
    after = x.narrow(dim, x.shape[dim] - 1, 1)
    padded = torch.cat((before, x, after), dim)
    left, right = padded.narrow(dim, 0, x.shape[dim]), padded.narrow(dim, 2, x.shape[dim])
    even, odd = (left + 6 * x + right) / 8, (x + right) / 2
    return cut(torch.stack((even, odd), dim + 1).flatten(dim, dim + 1), dim, size)


def cut(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """The first `size` samples along a dimension."""
    if torch.compiler.is_exporting():
        # Whether `narrow` cuts anything off depends on the size, and a graph is for all sizes.
        return x.index_select(dim, torch.arange(size, device=x.device))
    return x.narrow(dim, 0, size)
