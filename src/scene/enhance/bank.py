"""The smallest assembled convolution: fixed base kernels, mixed by a few numbers, the quantiser and the detail itself.

The base kernels are the bands of a Laplacian pyramid (Burt and Adelson 1983). Mixing kernels is mixing their outputs,
so the change of a picture is the sum of its bands, each with a gain of its own at every sample.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from scene.model.calibration import BANDS, LEAST_SIDE, MIDDLE_STEP, Bank
from scene.picture import Plane

Floats = npt.NDArray[np.float32]
# Parts of a code that a byte bank reckons in.
_FRACTION = 64


def bank_change(luma: Floats, bank: Bank, step: float) -> Floats:
    """What a bank changes.

    Args:
        luma: (H, W), on the scale of 8-bit limited-range codes.
        step: the quantiser step of the encoder to come, in 8-bit codes.

    Returns:
        The change, of the shape and on the scale of `luma`.
    """
    change: Floats | None = None
    for band, gains in reversed(list(zip(_bands(luma), _gains(bank, step), strict=False))):
        own = _mixed(band, gains)
        change = own if change is None else cast(Floats, cv2.pyrUp(change, dstsize=band.shape[::-1]) + own)
    assert change is not None
    return change


class ByteBank:
    """A bank for planes of bytes, in a third of the time: bands are whole codes, and what a code becomes is looked up.

    Its result is within a code of the exact one, and within half a code, as rounding is, in nine samples of ten.

    Args:
        bank, step: see `bank_change`.
        scale: 8-bit limited-range codes in one code of the planes.
        strength: how much of the change to apply.
    """

    def __init__(self, bank: Bank, step: float, scale: float, strength: float) -> None:
        # A band's bytes have an offset of 128.
        band = (np.arange(256, dtype=np.float32) - 128)[None] * np.float32(scale)
        unit = strength * _FRACTION / scale
        limits = np.iinfo(np.int16)
        self._tables = [
            np.clip(np.rint(_mixed(band, gains) * unit), limits.min, limits.max).astype(np.int16)
            for gains in _gains(bank, step)
        ]

    def __call__(self, luma: Plane) -> Plane:
        """Luma (H, W) of bytes, changed."""
        bands: list[Plane] = []
        level = luma
        while len(bands) < BANDS and (not bands or min(level.shape) >= LEAST_SIDE):
            coarser = cv2.pyrDown(level)
            band = cv2.addWeighted(level, 1, cv2.pyrUp(coarser, dstsize=level.shape[::-1]), -1, 128)
            bands.append(cast(Plane, band))
            level = cast(Plane, coarser)
        change: npt.NDArray[np.int16] | None = None
        for band, table in reversed(list(zip(bands, self._tables, strict=False))):
            own = cv2.LUT(band, table)
            coarser = own if change is None else cv2.add(cv2.pyrUp(change, dstsize=band.shape[::-1]), own)
            change = cast("npt.NDArray[np.int16]", coarser)
        assert change is not None
        codes = (change + _FRACTION // 2) // _FRACTION
        return cast(Plane, cv2.add(luma, codes, dtype=cv2.CV_8U))


class _Gains(NamedTuple):
    """Of one band: of all of it, of what is faint, and how large that is, in 8-bit codes."""

    all: float
    faint: float
    reach: float


def _gains(bank: Bank, step: float) -> list[_Gains]:
    position = math.log2(step / MIDDLE_STEP) / 2
    rows = zip(bank.gain, bank.gain_slope, bank.faint, bank.faint_slope, bank.reach, strict=True)
    return [
        _Gains(gain + position * gain_slope, faint + position * faint_slope, reach * step)
        for gain, gain_slope, faint, faint_slope, reach in rows
    ]


def _mixed(band: Floats, gains: _Gains) -> Floats:
    """What a band, (H, W) in 8-bit codes, adds to the change."""
    own = band * np.float32(gains.all)
    if gains.faint:
        share = cv2.exp(cv2.multiply(band, band, scale=-1 / gains.reach**2))
        own += cv2.multiply(band, share, scale=gains.faint)
    return own


def _bands(luma: Floats) -> list[Floats]:
    """The bands of a Laplacian pyramid, the finest first; fewer on small pictures."""
    bands: list[Floats] = []
    level = luma
    while len(bands) < BANDS and (not bands or min(level.shape) >= LEAST_SIDE):
        coarser = cast(Floats, cv2.pyrDown(level))
        bands.append(cast(Floats, level - cv2.pyrUp(coarser, dstsize=level.shape[::-1])))
        level = coarser
    return bands
