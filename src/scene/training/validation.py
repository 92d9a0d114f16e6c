"""Validation during training: what the network does to held-out photographs, through the proxy and through x264."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from scene.enhance import Enhancer
from scene.errors import InputError
from scene.model import Network
from scene.model.semantics import Conditioner, SemanticEncoder
from scene.options import RuntimeName
from scene.picture import Picture
from scene.training.conditioning import EmbeddingLookup
from scene.training.config import TrainingConfig
from scene.training.data.crops import Sample, collate
from scene.training.data.frames import FrameSource
from scene.training.encoder_validation import EncoderValidation, EncoderValidator
from scene.training.losses import LossTerms, TrainingLoss
from scene.training.rate_saving import savings
from scene.training.step import draw_shifts

# Where the quantiser is measured, within the range that training draws from.
_STEPS_MEASURED = 4
_BATCH = 8
# A data set may hold thousands of sequences.
_MOST_CROPS = 48


@dataclass(frozen=True, slots=True)
class ProxyValidation:
    """Means over the held-out crops and quantiser steps.

    Attributes:
        loss: of the training.
        score_gains: for each gain limit, VMAF points above the unprocessed crop at the same step; none where the
            objective is "saving".
        structure_change: of the mean log(1 - MS-SSIM) against the unprocessed crops; negative is better.
        savings: for each metric of `LossConfig.saving_metrics`, and each step in turn, the saving at equal score over
            all crops, as the log of a rate; none where the objective is "weighted".
        rate_change: mean change of rate at the same step, 0.01 is +1 %.
        before: mean absolute change of the frame, in 8-bit code values.
    """

    loss: float
    score_gains: tuple[float, ...]
    structure_change: float
    rate_change: float
    before: float
    savings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


Embed = Callable[[Sample, torch.device], Tensor]


class ProxyValidator:
    """Centre crops of held-out frames, coded at fixed steps.

    Args:
        source: held-out frames; those smaller than the crop or unreadable are left out.
        config: side of the crops; shift of the neighbour, to the right, that motion is measured against where a
            sequence has a single frame; range of quantiser steps, of which four are measured, evenly spaced by ratio.
        embed: the embeddings of a batch, for a network that takes any.

    Raises:
        InputError: no usable frame in the source.
    """

    def __init__(self, source: FrameSource, config: TrainingConfig, embed: Embed | None = None) -> None:
        crop = config.crop_side
        picks = np.unique(np.linspace(0, len(source) - 1, _MOST_CROPS).round().astype(int))
        samples = [_centre_crop(source, int(sequence), crop, config.data.pan) for sequence in picks]
        self.samples = [sample for sample in samples if sample is not None]
        if not self.samples:
            raise InputError(f"no held-out frame is readable and at least {crop} by {crop} pixels to validate on")
        self.steps = [float(s) for s in np.geomspace(*config.proxy.steps, _STEPS_MEASURED)]
        self._conditioned = config.network.quantiser is not None
        self._metrics = config.loss.saving_metrics
        self._limits = (0.0,) if self._metrics else config.loss.gain_limits
        self._shifts = draw_shifts(len(self.samples), config.proxy.shift, torch.Generator().manual_seed(0))
        self._embed = embed
        self._unprocessed: Tensor | None = None

    @torch.no_grad()
    def __call__(self, network: Network, loss: TrainingLoss, device: torch.device) -> ProxyValidation:
        """Measures a network in eval mode."""
        readings = list(self._read(network, loss, device))
        if self._unprocessed is None:
            self._unprocessed = _means(list(self._read(None, loss, device)), len(self._limits))
        changes = _means(readings, len(self._limits)) - self._unprocessed
        rate = torch.stack([r.named["rate_change"] for r in readings]).mean()
        return ProxyValidation(
            float(torch.stack([r.total for r in readings]).mean()),
            () if self._metrics else tuple(float(g) for g in changes[:-1]),
            float(changes[-1]),
            float(torch.expm1(rate)),
            float(torch.stack([r.named["l1_before"] for r in readings]).mean()),
            self._savings(readings),
        )

    def _savings(self, readings: Sequence[LossTerms]) -> dict[str, tuple[float, ...]]:
        if not self._metrics:
            return {}
        sums = torch.stack([r.sums for r in readings]).reshape(-1, len(self.steps), *readings[0].sums.shape).sum(dim=0)
        by_metric = zip(*(savings(of_step).tolist() for of_step in sums), strict=True)
        return dict(zip(self._metrics, by_metric, strict=True))

    def _read(self, network: Network | None, loss: TrainingLoss, device: torch.device) -> Iterator[LossTerms]:
        """Every crop at every step and every gain limit; unprocessed without a network."""
        for start in range(0, len(self.samples), _BATCH):
            batch = collate(self.samples[start : start + _BATCH])
            shifts = self._shifts[start : start + _BATCH].to(device)
            ones = torch.ones(len(shifts), device=device)
            inputs = loss.prepare(Sample(*(x.to(device) for x in batch)), ones, ones, shifts)
            embedding = self._embed(batch, device) if self._embed else None
            enhanced = inputs.source
            for number, step in enumerate(self.steps):
                if network is not None and (number == 0 or self._conditioned):
                    enhanced = network(inputs.source, embedding, step * ones)
                for limit in self._limits:
                    yield loss(replace(inputs, step=step * ones, gain_limit=limit * ones), enhanced)


def _means(readings: Sequence[LossTerms], limits: int) -> Tensor:
    """Mean score of each gain limit, then the mean structure; readings in the order of `ProxyValidator._read`."""
    scores = torch.stack([r.named["score"] for r in readings]).reshape(-1, limits).mean(dim=0)
    structure = torch.stack([r.named["structure"] for r in readings]).mean()
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


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """What validation says of the weights at one step.

    Attributes:
        proxy: through the codec proxy.
        encoder: through x264, where that was due.
        figure: the lower the better: the BD-rate of `EncoderValidation.objective` in a run that has it, else the loss.
        comparable: whether there is such a figure; in a run with x264, steps without it have none.
    """

    proxy: ProxyValidation
    encoder: EncoderValidation | None
    figure: float
    comparable: bool


class Validator:
    """Validates weights on held-out frames, through x264 where the configuration says so.

    Args:
        config: see there.
        held_out: frames that training never sees.
        lookup: their embeddings, for a network that takes any.
        encoder: that gave them.
        loss: of the training.
        device: of the training.

    Raises:
        InputError: no usable frame.
        MissingError: x264 is asked for and there is no ffmpeg that has it.
    """

    def __init__(
        self,
        config: TrainingConfig,
        held_out: FrameSource,
        lookup: EmbeddingLookup | None,
        encoder: SemanticEncoder | None,
        loss: TrainingLoss,
        device: torch.device,
    ) -> None:
        self._loss = loss
        self._device = device
        self._encoder = encoder
        self._precision = config.run.precision
        self._every = config.validation.encode_every
        self._validator = ProxyValidator(held_out, config, lookup)
        self._x264 = EncoderValidator(held_out, config.validation) if self._every else None

    def __call__(self, network: Network, step: int, *, last: bool) -> ValidationResult:
        """Validates a network in eval mode; x264 takes part every `encode_every` steps and after the last."""
        proxy = self._validator(network, self._loss, self._device)
        if self._x264 is None:
            return ValidationResult(proxy, None, proxy.loss, math.isfinite(proxy.loss))
        if step % self._every and not last:
            return ValidationResult(proxy, None, math.inf, False)
        semantics = None
        if network.semantics is not None:
            control = network.semantics.control
            semantics = Conditioner(self._encoder if control == "embedding" else None, control, "")

        conditioned = network.config.quantiser is not None
        # A quantiser-conditioned network enhances every clip several times.
        runtime: RuntimeName = "torch-bf16" if conditioned and self._precision == "bfloat16" else "torch"

        def enhance(pictures: list[Picture], encoder_step: float | None) -> list[Picture]:
            # An enhancer a clip: each is a video of its own.
            enhancer = Enhancer(
                network, device=self._device.type, semantics=semantics, step=encoder_step, runtime=runtime
            )
            return list(enhancer.stream(pictures))

        reading = self._x264(enhance, conditioned)
        return ValidationResult(proxy, reading, reading.objective, math.isfinite(reading.objective))
