"""The temporal filter's arithmetic as tensors, for a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from scene.picture import Picture, Plane
from scene.temporal.blend import SQUARE, Blend, Neighbour
from scene.temporal.tensor_motion import estimate, warp


class TensorBlend(Blend[Tensor]):
    """See `Blend`; planes are (1, 1, H, W). The motion is that of `scene.temporal.tensor_motion`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def small(self, luma: npt.NDArray[np.uint8]) -> Tensor:
        """As `Blend` has it, (1, 1, H / 2, W / 2)."""
        return F.avg_pool2d(self._floats(luma), 2).round()

    @torch.inference_mode()
    def blended(
        self, picture: Picture, small: Tensor, neighbours: Sequence[Neighbour], sigma: float, strength: float
    ) -> Picture:
        """As `Blend` has it."""
        return super().blended(picture, small, neighbours, sigma, strength)

    def fit(self, difference: Tensor, sigma: float) -> Tensor:
        """As `Blend` has it."""
        squared = difference * difference
        reach = SQUARE // 2
        around = F.avg_pool2d(F.pad(squared, (reach,) * 4, mode="replicate"), SQUARE, stride=1)
        return torch.exp((squared + around) * (-0.25 / sigma**2))

    def _estimate(self, small: Tensor, other: Tensor) -> Tensor:
        return estimate(small, other)

    def _floats(self, plane: Plane) -> Tensor:
        # It crosses to the device as integers.
        return torch.from_numpy(np.ascontiguousarray(plane)).to(self._device)[None, None].float()

    def _warp(self, motion: Tensor, plane: Plane, *, sharp: bool) -> Tensor:
        return warp(self._floats(plane), motion, sharp=sharp)

    def _shrunk(self, weight: Tensor, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        return F.adaptive_avg_pool2d(weight, (height, width))

    def _medians(self, planes: Sequence[Tensor]) -> list[float]:
        # One transfer for all.
        return torch.stack([plane.median() for plane in planes]).tolist()

    def _codes(self, plane: Tensor, change: Tensor, largest: float, like: Plane) -> Plane:
        codes = (plane + change.round()).clamp(0, largest)[0, 0].cpu().numpy()
        return cast(Plane, codes.astype(like.dtype))
