"""A picture and its neighbours along the motion, as one: the temporal filter's arithmetic, as tensors for a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from scene.picture import Picture, Plane
from scene.temporal.blend import (
    LEAST_SIGMA,
    MEDIAN_TO_SIGMA,
    MOST_LIGHT,
    NOISES,
    SPARSE,
    SQUARE,
    WEIGHTS,
    Neighbour,
)
from scene.temporal.tensor_motion import estimate, warp


class TensorBlend:
    """As `scene.temporal.blend.Blend`, on another device and with the motion of `scene.temporal.tensor_motion`."""

    def __init__(self, device: torch.device | None) -> None:
        self._device = device

    def small(self, luma: npt.NDArray[np.uint8]) -> Tensor:
        """What motion is estimated on, (1, 1, H / 2, W / 2), of 8-bit luma (H, W)."""
        return F.avg_pool2d(self._upload(luma), 2).round()

    @torch.inference_mode()
    def blended(
        self, picture: Picture, small: Tensor, neighbours: Sequence[Neighbour[Tensor]], sigma: float, strength: float
    ) -> Picture:
        """See `scene.temporal.blend.Blend.blended`."""
        fmt = picture.format
        unit = float(1 << (fmt.bit_depth - 8))
        own = [self._upload(plane) for plane in picture.planes]

        def difference(other: Neighbour[Tensor], motion: Tensor, index: int) -> Tensor:
            return (warp(self._upload(other.picture.planes[index]), motion) - own[index]) / unit

        motions = [estimate(small, other.small) for other in neighbours]
        moved = [(*pair, difference(*pair, 0)) for pair in zip(neighbours, motions, strict=True)]
        # One transfer for all.
        lights = _medians([luma for _, _, luma in moved])
        moved = [one for one, light in zip(moved, lights, strict=True) if abs(light) <= MOST_LIGHT]
        if not moved:
            return picture
        noise = MEDIAN_TO_SIGMA * min(_medians([luma.abs() for _, _, luma in moved]))
        sigma = min(sigma, NOISES * noise)
        if sigma < LEAST_SIGMA:
            return picture
        weights = [WEIGHTS[other.distance - 1] * fit(luma, sigma) for other, _, luma in moved]
        changes = [_mean_change([luma for _, _, luma in moved], weights)]
        if len(own) > 1:
            height, width = own[1].shape[-2:]
            weights = [F.adaptive_avg_pool2d(weight, (height, width)) for weight in weights]
        for index in range(1, len(own)):
            differences = [difference(other, motion, index) for other, motion, _ in moved]
            coloured = [weight * fit(colour, sigma) for weight, colour in zip(weights, differences, strict=True)]
            changes.append(_mean_change(differences, coloured))
        largest = float((1 << fmt.bit_depth) - 1)
        planes = []
        for plane, change, given in zip(own, changes, picture.planes, strict=True):
            codes = (plane + (change * (unit * strength)).round()).clamp(0, largest)[0, 0].cpu().numpy()
            planes.append(cast(Plane, codes.astype(given.dtype)))
        return Picture(fmt, tuple(planes))

    def _upload(self, plane: npt.NDArray[np.integer]) -> Tensor:
        """A plane (H, W) as floats (1, 1, H, W) on the device; it crosses as integers."""
        return torch.from_numpy(np.ascontiguousarray(plane)).to(self._device)[None, None].float()


def fit(difference: Tensor, sigma: float) -> Tensor:
    """See `scene.temporal.blend.fit`; (1, 1, H, W)."""
    squared = difference * difference
    reach = SQUARE // 2
    around = F.avg_pool2d(F.pad(squared, (reach,) * 4, mode="replicate"), SQUARE, stride=1)
    return torch.exp((squared + around) * (-0.25 / sigma**2))


def _medians(planes: Sequence[Tensor]) -> list[float]:
    return torch.stack([plane[..., ::SPARSE, ::SPARSE].median() for plane in planes]).tolist()


def _mean_change(differences: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """What the weighted mean with the neighbours changes; a frame itself has the difference 0 and the weight 1."""
    total = 1 + sum(weights[1:], start=weights[0])
    changed = [difference * weight for difference, weight in zip(differences, weights, strict=True)]
    return sum(changed[1:], start=changed[0]) / total
