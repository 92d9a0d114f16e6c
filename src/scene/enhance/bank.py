"""The smallest assembled convolution: fixed base kernels, mixed by a few numbers, the quantiser and the detail itself.

The base kernels are the bands of a Laplacian pyramid (Burt and Adelson 1983). Mixing kernels is mixing their outputs,
so the change of a picture is the sum of its bands, each with a gain of its own at every sample.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from scene.model.calibration import BANDS, LEAST_SIDE, MIDDLE_STEP, Bank

Floats = npt.NDArray[np.float32]


def bank_change(luma: Floats, bank: Bank, step: float) -> Floats:
    """What a bank changes.

    Args:
        luma: (H, W), on the scale of 8-bit limited-range codes.
        step: the quantiser step of the encoder to come, in 8-bit codes.

    Returns:
        The change, of the shape and on the scale of `luma`.
    """
    position = math.log2(step / MIDDLE_STEP) / 2
    rows = zip(bank.gain, bank.gain_slope, bank.faint, bank.faint_slope, bank.reach, strict=True)
    change: Floats | None = None
    for band, (gain, gain_slope, faint, faint_slope, reach) in reversed(list(zip(_bands(luma), rows, strict=False))):
        own = band * np.float32(gain + position * gain_slope)
        further = faint + position * faint_slope
        if further:
            share = cv2.exp(cv2.multiply(band, band, scale=-1 / (reach * step) ** 2))
            own += cv2.multiply(band, share, scale=further)
        change = own if change is None else cast(Floats, cv2.pyrUp(change, dstsize=band.shape[::-1]) + own)
    assert change is not None
    return change


def _bands(luma: Floats) -> list[Floats]:
    """The bands of a Laplacian pyramid, the finest first; fewer on small pictures."""
    bands: list[Floats] = []
    level = luma
    while len(bands) < BANDS and (not bands or min(level.shape) >= LEAST_SIDE):
        coarser = cast(Floats, cv2.pyrDown(level))
        bands.append(cast(Floats, level - cv2.pyrUp(coarser, dstsize=level.shape[::-1])))
        level = coarser
    return bands
