"""The smallest assembled convolution: fixed base kernels, mixed by a few numbers, the quantiser and local activity.

The base kernels are the bands of a Laplacian pyramid (Burt and Adelson 1983). Mixing kernels is mixing their outputs,
so the change of a picture is the sum of its bands, each with a gain of its own at every sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from scene.model.calibration import MIDDLE_STEP, Gains

Floats = npt.NDArray[np.float32]

# A level of less has nothing to be halved.
_LEAST_SIDE = 4
_AROUND = (5, 5)


def bank_change(luma: Floats, gains: Gains, step: float) -> Floats:
    """What a bank changes.

    Args:
        luma: (H, W), on the scale of 8-bit limited-range codes.
        gains: see `scene.model.calibration.Calibration`, the finest band first. A band's gain is the first row's
            number, plus the second row's times log2(step / 20) / 2, plus the third row's times the local activity,
            which goes from -0.5 in flat parts to 0.5 where detail is much stronger than the step.
        step: the quantiser step of the encoder to come, in 8-bit codes.

    Returns:
        The change, of the shape and on the scale of `luma`.
    """
    bands = _bands(luma, len(gains[0]))
    constant, slope, by_activity = gains
    position = math.log2(step / MIDDLE_STEP) / 2
    activity = _activity(bands, step) if any(by_activity) else None
    change: Floats | None = None
    for band, c, s, a in reversed(list(zip(bands, constant, slope, by_activity, strict=False))):
        gain = c + s * position
        if activity is None or a == 0:
            own = band * np.float32(gain)
        else:
            # The activity is smooth: the nearest size will do for every band.
            local = cv2.resize(activity, band.shape[::-1], interpolation=cv2.INTER_LINEAR)
            own = cast(Floats, band * (local * np.float32(a) + np.float32(gain)))
        change = own if change is None else cast(Floats, cv2.pyrUp(change, dstsize=band.shape[::-1]) + own)
    assert change is not None
    return change


def _bands(luma: Floats, count: int) -> list[Floats]:
    """The bands of a Laplacian pyramid, the finest first; fewer on small pictures."""
    bands: list[Floats] = []
    level = luma
    while len(bands) < count and (not bands or min(level.shape) >= _LEAST_SIDE):
        coarser = cast(Floats, cv2.pyrDown(level))
        bands.append(cast(Floats, level - cv2.pyrUp(coarser, dstsize=level.shape[::-1])))
        level = coarser
    return bands


def _activity(bands: Sequence[Floats], step: float) -> Floats:
    """From -0.5 to 0.5, (H / 2, W / 2): how strong the finest detail is around each place, over the step."""
    power = cast(Floats, cv2.pyrDown(bands[0] * bands[0]))
    if len(bands) > 1:
        power = cast(Floats, power + bands[1] * bands[1])
    strength = cv2.sqrt(cv2.boxFilter(power, -1, _AROUND)) * np.float32(1 / step)
    return cast(Floats, strength / (1 + strength) - np.float32(0.5))
