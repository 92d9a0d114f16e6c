"""The smallest assembled convolution: fixed base kernels, mixed by a few numbers, the quantiser and the detail itself.

The base kernels are the bands of a Laplacian pyramid (Burt and Adelson 1983). Mixing kernels is mixing their outputs,
so the change of a picture is the sum of its bands, each with a gain of its own at every sample.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from scene.model.calibration import BANDS, LEAST_SIDE, MIDDLE_STEP, Bank
from scene.picture import Plane

Floats = npt.NDArray[np.float32]
P = TypeVar("P", Floats, Plane)
S = TypeVar("S", Floats, npt.NDArray[np.int16])
# Parts of a code that the change of bytes is reckoned in.
_FRACTION = 64
# What a band of bytes has where there is no detail.
_ZERO = 128


def bank_change(luma: Floats, bank: Bank, step: float) -> Floats:
    """What a bank changes.

    Args:
        luma: (H, W), on the scale of 8-bit limited-range codes.
        step: the quantiser step of the encoder to come, in 8-bit codes.

    Returns:
        The change, of the shape and on the scale of `luma`.
    """
    bands = _bands(luma, lambda level, predicted: level - predicted)
    return _summed([_mixed(band, gains) for band, gains in zip(bands, _gains(bank, step), strict=False)])


def changed_bytes(luma: Plane, bank: Bank, step: float, scale: float, strength: float) -> Plane:
    """What a bank makes of a plane of bytes, in a third of the time: bands are whole codes, whose change is looked up.

    The result is within a code of the exact one, and within half a code, as rounding is, in nine samples of ten.

    Args:
        luma: (H, W).
        bank, step: see `bank_change`.
        scale: 8-bit limited-range codes in one code of the plane.
        strength: how much of the change to apply.
    """
    bands = _bands(luma, lambda level, predicted: cast(Plane, cv2.addWeighted(level, 1, predicted, -1, _ZERO)))
    tables = _tables(bank, step, scale, strength)
    change = _summed(
        [cast("npt.NDArray[np.int16]", cv2.LUT(band, table)) for band, table in zip(bands, tables, strict=False)]
    )
    codes = (change + _FRACTION // 2) // _FRACTION
    return cast(Plane, cv2.add(luma, codes, dtype=cv2.CV_8U))


@functools.lru_cache(maxsize=8)
def _tables(bank: Bank, step: float, scale: float, strength: float) -> tuple[npt.NDArray[np.int16], ...]:
    """Of each band what its bytes add to the change, in parts of a code."""
    band = (np.arange(256, dtype=np.float32) - _ZERO)[None] * np.float32(scale)
    unit = strength * _FRACTION / scale
    limits = np.iinfo(np.int16)
    return tuple(
        np.clip(np.rint(_mixed(band, gains) * unit), limits.min, limits.max).astype(np.int16)
        for gains in _gains(bank, step)
    )


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


def _bands(luma: P, less: Callable[[P, P], P]) -> list[P]:
    """The bands of a Laplacian pyramid, the finest first; fewer on small pictures. `less` is a level less another."""
    bands: list[P] = []
    level = luma
    while len(bands) < BANDS and (not bands or min(level.shape) >= LEAST_SIDE):
        coarser = cast(P, cv2.pyrDown(level))
        bands.append(less(level, cast(P, cv2.pyrUp(coarser, dstsize=level.shape[::-1]))))
        level = coarser
    return bands


def _summed(bands: Sequence[S]) -> S:
    """The plane of a pyramid's bands, the finest first."""
    plane = bands[-1]
    for band in reversed(bands[:-1]):
        plane = cast(S, cv2.add(cv2.pyrUp(plane, dstsize=band.shape[::-1]), band))
    return plane
