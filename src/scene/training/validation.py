"""Validation during training: what the network does to held-out photographs, judged through the proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scene.errors import InputError
from scene.model import Network
from scene.training.data import Sample, collate
from scene.training.frames import FrameSource
from scene.training.loss import CodecLoss, LossTerms

# Where the quantiser is measured, within the range that training draws from.
_STEPS_MEASURED = 4
_BATCH = 8
# A data set may hold thousands of sequences.
_MOST_CROPS = 48


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


Embed = Callable[[Sample, torch.device], Tensor]


class Validator:
    """Centre crops of held-out frames, coded at fixed steps.

    Args:
        source: held-out frames; those smaller than the crop or unreadable are left out.
        crop: side of the crops.
        pan: shift of the neighbour, in pixels to the right, that motion is measured against where a sequence has a
            single frame.
        steps: range of quantiser steps; four of it are measured, evenly spaced by ratio.
        embed: what steers the network for a batch, if it takes embeddings.

    Raises:
        InputError: no usable frame in the source.
    """

    def __init__(
        self, source: FrameSource, crop: int, pan: int, steps: tuple[float, float], embed: Embed | None = None
    ) -> None:
        picks = np.unique(np.linspace(0, len(source) - 1, _MOST_CROPS).round().astype(int))
        samples = [_centre_crop(source, int(sequence), crop, pan) for sequence in picks]
        self.samples = [sample for sample in samples if sample is not None]
        if not self.samples:
            raise InputError(f"no held-out frame is readable and at least {crop} by {crop} pixels to validate on")
        self.steps = [float(s) for s in np.geomspace(*steps, _STEPS_MEASURED)]
        self._embed = embed
        self._unprocessed: Tensor | None = None

    @torch.no_grad()
    def __call__(self, network: Network, loss: CodecLoss, device: torch.device) -> Validation:
        """Measures a network in eval mode."""
        limits = len(loss.config.gain_limits)
        readings = list(self._read(network, loss, device))
        if self._unprocessed is None:
            self._unprocessed = _means(list(self._read(None, loss, device)), limits)
        changes = _means(readings, limits) - self._unprocessed
        rate = torch.stack([r.rate_change for r in readings]).mean()
        return Validation(
            float(torch.stack([r.total for r in readings]).mean()),
            tuple(float(g) for g in changes[:-1]),
            float(changes[-1]),
            float(torch.expm1(rate)),
            float(torch.stack([r.before for r in readings]).mean()),
        )

    def _read(self, network: Network | None, loss: CodecLoss, device: torch.device) -> Iterator[LossTerms]:
        """Every crop at every step and every gain limit; unprocessed without a network."""
        limits = torch.tensor(loss.config.gain_limits, device=device)
        for start in range(0, len(self.samples), _BATCH):
            batch = collate(self.samples[start : start + _BATCH])
            source, motion = loss.prepare(Sample(*(x.to(device) for x in batch)))
            embedding = self._embed(batch, device) if self._embed else None
            enhanced = source if network is None else network(source, embedding)
            for step in self.steps:
                for limit in limits:
                    ones = torch.ones_like(motion)
                    yield loss(source, enhanced, motion, step * ones, limit * ones)


def _means(readings: Sequence[LossTerms], limits: int) -> Tensor:
    """Mean score of each gain limit, then the mean structure; readings in the order of `Validator._read`."""
    scores = torch.stack([r.scores.mean() for r in readings]).reshape(-1, limits).mean(dim=0)
    structure = torch.stack([r.structure for r in readings]).mean()
    return torch.cat([scores, structure[None]])


def _centre_crop(source: FrameSource, sequence: int, crop: int, pan: int) -> Sample | None:
    """The middle of a sequence's middle frame, or nothing where it is too small or unreadable."""
    length = source.length(sequence)
    middle = length // 2
    try:
        frame = source.read(sequence, middle)
        beside = source.read(sequence, middle - 1) if length > 1 else None
    except InputError:
        return None
    height, width = frame.shape[:2]
    top, left = (height - crop) // 2, (width - crop) // 2
    if min(top, left) < 0:
        return None
    places = [(frame, left), (frame, min(left + pan // 2, width - crop)) if beside is None else (beside, left)]
    crops = [
        torch.from_numpy(np.ascontiguousarray(image[top : top + crop, x : x + crop].transpose(2, 0, 1)))
        for image, x in places
    ]
    region = torch.tensor([left / width, top / height, (left + crop) / width, (top + crop) / height])
    return Sample(crops[0], crops[1], torch.tensor(sequence), region)
