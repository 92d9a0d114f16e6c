"""Validation during training: what the network does to held-out photographs, judged through the proxy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scene.errors import InputError
from scene.model import Network
from scene.training.data import Sample, collate, list_images, read_image
from scene.training.loss import CodecLoss, LossTerms

# Where the quantiser is measured, within the range that training draws from.
_STEPS_MEASURED = 4
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Validation:
    """Means over the held-out crops and quantiser steps.

    Attributes:
        loss: Eq. 3.
        score_gains: for each gain limit, VMAF points above the unprocessed crop at the same step.
        structure_change: of the mean log(1 - MS-SSIM) against the unprocessed crops; negative is better.
        rate_change: mean change of rate at the same step, 0.01 is +1 %.
        before: mean absolute change of the frame, in 8-bit code values.
    """

    loss: float
    score_gains: tuple[float, ...]
    structure_change: float
    rate_change: float
    before: float


class Validator:
    """Centre crops of a folder of photographs, coded at fixed steps.

    Args:
        folder: held-out photographs; those smaller than the crop are left out.
        crop: side of the crops.
        pan: shift of the neighbour, in pixels to the right, that motion is measured against.
        steps: range of quantiser steps; four of it are measured, evenly spaced by ratio.

    Raises:
        InputError: no usable photograph in the folder.
    """

    def __init__(self, folder: Path, crop: int, pan: int, steps: tuple[float, float]) -> None:
        samples = []
        for path in list_images(folder):
            image = read_image(path)
            height, width = image.shape[:2]
            top, left = (height - crop) // 2, (width - crop) // 2
            if min(top, left) < 0:
                continue
            shifted = min(left + pan // 2, width - crop)
            crops = [image[top : top + crop, x : x + crop].transpose(2, 0, 1) for x in (left, shifted)]
            samples.append(Sample(*(torch.from_numpy(np.ascontiguousarray(c)) for c in crops)))
        if not samples:
            raise InputError(f"{folder} holds no photograph of at least {crop} by {crop} pixels to validate on")
        self.samples = samples
        self.steps = [float(s) for s in np.geomspace(*steps, _STEPS_MEASURED)]
        self._unprocessed: Tensor | None = None

    @torch.no_grad()
    def __call__(self, network: Network, loss: CodecLoss, device: torch.device) -> Validation:
        """Measures a network in eval mode."""
        limits = len(loss.config.gain_limits)
        readings = list(self._read(network, loss, device))
        if self._unprocessed is None:
            self._unprocessed = _means(list(self._read(torch.nn.Identity(), loss, device)), limits)
        changes = _means(readings, limits) - self._unprocessed
        rate = torch.stack([r.rate_change for r in readings]).mean()
        return Validation(
            float(torch.stack([r.total for r in readings]).mean()),
            tuple(float(g) for g in changes[:-1]),
            float(changes[-1]),
            float(torch.expm1(rate)),
            float(torch.stack([r.before for r in readings]).mean()),
        )

    def _read(self, network: torch.nn.Module, loss: CodecLoss, device: torch.device) -> Iterator[LossTerms]:
        """Every crop at every step and every gain limit."""
        limits = torch.tensor(loss.config.gain_limits, device=device)
        for start in range(0, len(self.samples), _BATCH):
            batch = collate(self.samples[start : start + _BATCH])
            source, motion = loss.prepare(Sample(*(x.to(device) for x in batch)))
            enhanced = network(source)
            for step in self.steps:
                for limit in limits:
                    ones = torch.ones_like(motion)
                    yield loss(source, enhanced, motion, step * ones, limit * ones)


def _means(readings: Sequence[LossTerms], limits: int) -> Tensor:
    """Mean score of each gain limit, then the mean structure; readings in the order of `Validator._read`."""
    scores = torch.stack([r.scores.mean() for r in readings]).reshape(-1, limits).mean(dim=0)
    structure = torch.stack([r.structure for r in readings]).mean()
    return torch.cat([scores, structure[None]])
