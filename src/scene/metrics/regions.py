"""PSNR and SSIM inside and outside a region: every sample counts as much as its mask says.

A score of a window around an object hides what happens to the object, since most of the window is background. So errors
are weighted sample by sample: by the mask inside, by what is left of one outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from scene.picture import Plane

# To be raised whenever the same pictures and masks would give other figures than before.
REGIONS_VERSION = 1
# Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment" (2004): a Gaussian of 11x11, sigma 1.5.
_TAPS, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
# Frames of which less than a sample counts have no score.
_LEAST_WEIGHT = 1.0

Map = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RegionScores:
    """Figures of one distorted clip by region; means over the frames that have such a region.

    Attributes:
        psnr_inside, psnr_outside: of the luma plane in dB, capped as libvmaf's (60 for 8 bit); None where no frame has
            such a region.
        ssim_inside, ssim_outside: of the luma plane, the mean of the SSIM of the windows around each sample; None as
            above.
        ssim_whole: the same of whole frames. (PSNR of whole frames is `Scores.psnr_y`.)
    """

    psnr_inside: float | None
    psnr_outside: float | None
    ssim_inside: float | None
    ssim_outside: float | None
    ssim_whole: float


def region_scores(frames: Iterable[tuple[Plane, Plane, Plane]], bit_depth: int) -> RegionScores:
    """Scores the frames of a clip by region.

    Args:
        frames: (source, distorted, mask) of each frame, (H, W) each; a mask is 0 outside the region and 255 inside, and
            what lies between counts for both in part.
        bit_depth: of source and distorted.
    """
    sums: dict[str, list[float]] = {name: [] for name in RegionScores.__slots__}
    peak = (1 << bit_depth) - 1
    for source, distorted, mask in frames:
        one, other = source.astype(np.float32), distorted.astype(np.float32)
        similarity = ssim_map(one, other, peak)
        squares = (one - other) ** 2
        inside = mask.astype(np.float32) / 255
        for region, weight in (("inside", inside), ("outside", 1 - inside)):
            total = float(weight.sum(dtype=np.float64))
            if total >= _LEAST_WEIGHT:
                error = float((squares * weight).sum(dtype=np.float64)) / total
                sums[f"psnr_{region}"].append(psnr(error, bit_depth))
                sums[f"ssim_{region}"].append(float((similarity * weight).sum(dtype=np.float64)) / total)
        sums["ssim_whole"].append(float(similarity.mean(dtype=np.float64)))
    means = {name: sum(values) / len(values) if values else None for name, values in sums.items()}
    return RegionScores(**means)  # type: ignore[arg-type]


def ssim_map(source: Map, distorted: Map, peak: float) -> Map:
    """SSIM of the window around each sample, (H, W); the picture is mirrored at its borders.

    Args:
        source, distorted: (H, W), in code values.
        peak: the highest code value.
    """
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    # Around mid grey, where squares keep more digits of what is left of them in variances.
    x, y = source - peak / 2, distorted - peak / 2
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x) - mean_x * mean_x + _blur(y * y) - mean_y * mean_y
    covariance = _blur(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + peak / 2, mean_y + peak / 2
    xx, yy, xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    return np.asarray((2 * xy + c1) * (2 * covariance + c2) / ((xx + yy + c1) * (variances + c2)), np.float32)


def _blur(plane: Map) -> Map:
    # BORDER_REFLECT mirrors with the border sample twice, as scipy's "reflect" does.
    blurred = cv2.GaussianBlur(plane, (_TAPS, _TAPS), _SIGMA, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32)


def psnr(error: float, bit_depth: int) -> float:
    """PSNR in dB of a mean squared error of samples, capped as libvmaf caps it."""
    peak, cap = (1 << bit_depth) - 1, 6 * bit_depth + 12
    return min(10 * math.log10(peak * peak / max(error, 1e-16)), cap)
