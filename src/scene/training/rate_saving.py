"""The rate that a network saves at equal score, as a loss. Beyond the paper, whose Eq. 3 weighs scores against rates.

No weight between score and rate fits every quantiser and metric. But the codec itself says what a point is worth: the
unprocessed windows are coded at two steps, and score and rate of the two give the metric's own slope along the codec's
curve, in points for a unit of the log of the rate. With it every metric's gain becomes a saving in the same unit, and
savings can be weighed against one another. The sums are over the batch before they are divided: windows without detail
have slopes near zero, and the mean of their ratios would be noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from scene.metrics.loss_metrics import LOSS_METRICS, STRUCTURE_SCALE, LumaPair, Scorers
from scene.proxy import SequenceProxy, windows
from scene.training.config import LossConfig, ProxyConfig, TrainingConfig
from scene.training.data.crops import Sample, rgb_to_luma
from scene.training.losses import (
    GradientCap,
    LossInputs,
    LossTerms,
    TrainingLoss,
    WeightedLoss,
    prepare_crops,
    require_trainable,
    to_luma,
)
from scene.training.processes import Processes

# The coarser step at which the unprocessed windows are coded, over the finer one: two points near enough for a tangent,
# and far enough apart for rounding not to decide.
_COARSER = 1.15
# Bits per pixel, all frames together, that keep the logarithm of a window without detail from deciding the batch.
_RATE_FLOOR = 0.005
# Points for a unit of the log of the rate; natural windows give 5 to 30.
_LEAST_SLOPE = 1e-3


def saving_sums(scores: Tensor, rates: Tensor) -> Tensor:
    """What savings are computed from; sums over several batches may be added up or averaged.

    Samples in which a metric is not finite for all three pictures are left out of it.

    Args:
        scores: (3, M, B), of the processed windows, of the unprocessed ones at the same step, and at the coarser one.
        rates: (3, B) logs of the rates of the same.

    Returns:
        (5, M): how many samples count, the sums of the score's gain and of the log rate's, and of what the coarser step
        takes from both.
    """
    usable = scores.isfinite().all(dim=0)
    counted = usable.to(scores.dtype)
    processed, base, coarser = torch.where(usable, scores, 0.0)
    gain, loss = processed - base, base - coarser
    rate_gain, rate_loss = (rates[0] - rates[1]) * counted, (rates[1] - rates[2]) * counted
    return torch.stack([part.sum(dim=-1) for part in (counted, gain, rate_gain, loss, rate_loss)])


def savings(sums: Tensor) -> Tensor:
    """The saving at equal score of each metric, (M,), as the log of a rate: 0.1 is about 10 %; from `saving_sums`."""
    count, gain, rate_gain, loss, rate_loss = sums
    slope = (loss / rate_loss.clamp(min=torch.finfo(sums.dtype).tiny)).clamp(min=_LEAST_SLOPE)
    saving: Tensor = (gain / slope - rate_gain) / count.clamp(min=torch.finfo(sums.dtype).tiny)
    return saving


class RateSavingLoss(nn.Module):
    """Minus the weighted mean of the bounded savings at equal score; see `LossConfig.objective`.

    A saving s counts as ``bound * tanh(s / bound)``: the metric that is easiest to please does not drown the others.

    Args:
        loss, proxy, planes, gather: as for `WeightedLoss`.
        mean: of a value over all processes of a run; see `Processes.mean`.

    Raises:
        MissingError, UsageError: as for `WeightedLoss`.
    """

    def __init__(
        self,
        loss: LossConfig,
        proxy: ProxyConfig,
        planes: str,
        gather: Callable[[Tensor], Tensor] = lambda x: x,
        mean: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        super().__init__()
        require_trainable(planes)
        self.config = loss
        self.cap = GradientCap(loss.gradient_cap, gather)
        self.proxy: nn.Module = SequenceProxy(
            proxy.tables,
            proxy.rounding,
            proxy.smoothing,
            inter_rounding=proxy.inter_rounding,
            inter_step=proxy.inter_step,
            blocks=proxy.blocks,
        )
        self.scorers = Scorers()
        self._metrics = [LOSS_METRICS[name] for name in loss.saving_metrics]
        self._planes = planes
        self._mean = mean
        self._frames, self._margin = proxy.frames, proxy.margin

    def prepare(self, batch: Sample, step: Tensor, gain_limit: Tensor, shifts: Tensor) -> LossInputs:
        """As in `TrainingLoss`; with several frames the motion is that of the last window against the one before."""
        if self._frames == 1:
            return prepare_crops(batch, self._planes, self.scorers, step, gain_limit, shifts)
        luma = rgb_to_luma(batch.frame.float() / 255.0)
        before, last = windows(luma, shifts, self._frames, self._margin)[:, -2:].unbind(dim=1)
        motion = self.scorers.vmaf.motion(last * 255.0, before[None] * 255.0)
        return LossInputs(luma, motion, step, gain_limit, shifts)

    def forward(self, inputs: LossInputs, enhanced: Tensor) -> LossTerms:
        """Evaluates the savings on the last of the frames, at the rate of all; every metric has its own gain limit.

        Pictures are larger than a window by the margin.
        """
        source, step = inputs.source, inputs.step
        original, processed = (windows(x, inputs.shifts, self._frames, self._margin) for x in (source, enhanced))
        with torch.no_grad():
            base, coarser = (self._score(inputs, original, original, q)[1:] for q in (step, step * _COARSER))
        decoded, scores, bits = self._score(inputs, original, processed, step)
        rates = torch.log(torch.stack([bits, base[1], coarser[1]]) + _RATE_FLOOR)
        sums = saving_sums(torch.stack([scores, base[0], coarser[0]]), rates)
        if sums.requires_grad:
            # The joint batch decides slopes and bounds; each process has the gradient of its own part, and the
            # network's gradients are averaged. In validation one process is alone.
            sums = sums + (self._mean(sums.detach()) - sums.detach())
        saved = savings(sums)
        bound = self.config.bound
        weights = torch.tensor([self.config.weights[metric.name] for metric in self._metrics], device=sums.device)
        objective = (weights * bound * torch.tanh(saved / bound)).sum() / weights.sum()
        before = (enhanced - source).abs().mean()
        after = (decoded - original).abs().mean()
        of_metrics = dict(zip((metric.name for metric in self._metrics), scores, strict=True))
        structure = of_metrics["ms_ssim"].mean() / -STRUCTURE_SCALE if "ms_ssim" in of_metrics else before.new_zeros(())
        named = {
            "bits_per_pixel": bits.mean() / self._frames,
            "rate_change": (rates[0] - rates[1]).mean(),
            "structure": structure,
            "l1_before": before * 255.0,
            "l1_after": after * 255.0,
            "score": scores[0].mean(),
            **{f"saving_{name}": value for name, value in zip(of_metrics, saved, strict=True)},
        }
        return LossTerms(
            self.config.before * before + self.config.after * after - objective,
            {name: value.detach() for name, value in named.items()},
            sums.detach(),
        )

    def _score(
        self, inputs: LossInputs, original: Tensor, frames: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded frames (B, T, C, h, w), scores of the last one (M, B), and bits per pixel of all together (B,)."""
        decoded, bits = self.proxy(frames, inputs.shifts, step)
        distorted = self.cap.watch(to_luma(decoded[:, -1], self._planes))
        pair = LumaPair(to_luma(original[:, -1], self._planes), distorted, inputs.motion)
        return decoded, torch.stack([metric.points(self.scorers, pair) for metric in self._metrics]), bits.sum(dim=1)


def open_loss(config: TrainingConfig, processes: Processes) -> TrainingLoss:
    """The loss that a configuration asks for, on the device and over the joint batch of all processes."""
    loss: RateSavingLoss | WeightedLoss
    if config.loss.objective == "saving":
        loss = RateSavingLoss(config.loss, config.proxy, config.network.planes, processes.gather, processes.mean)
    else:
        loss = WeightedLoss(config.loss, config.proxy, config.network.planes, processes.gather)
    return loss.to(processes.device)
