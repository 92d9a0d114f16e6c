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
from torch import Tensor

from scene.errors import UsageError
from scene.metrics.thin_convolutions import ThinConvolutions
from scene.metrics.vmaf import NEG_GAIN_LIMIT, VMAF_GAIN_LIMIT
from scene.proxy import SequenceProxy, windows
from scene.training.config import LossConfig, ProxyConfig, TrainingConfig
from scene.training.data.crops import Sample, rgb_to_luma
from scene.training.losses import CodecLoss, LossTerms
from scene.training.processes import Processes

# The coarser step at which the unprocessed windows are coded, over the finer one: two points near enough for a tangent,
# and far enough apart for rounding not to decide.
_COARSER = 1.15
# Bits per pixel, all frames together, that keep the logarithm of a window without detail from deciding the batch.
_RATE_FLOOR = 0.005
# Points for a unit of the log of the rate; natural windows give 5 to 30.
_LEAST_SLOPE = 1e-3
# log(1 - MS-SSIM) in the size of VMAF's points, and the floor that keeps near-perfect windows from deciding.
_STRUCTURE_SCALE = 10.0
_STRUCTURE_FLOOR = 1e-3
# PSNR of 60 dB, as libvmaf ends at.
_ERROR_FLOOR = 1e-6
_GAIN_LIMITS = {"vmaf": VMAF_GAIN_LIMIT, "vmaf_neg": NEG_GAIN_LIMIT}


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


class SavingLoss(CodecLoss):
    """Minus the weighted mean of the bounded savings at equal score; see `LossConfig.objective`.

    A saving s counts as ``bound * tanh(s / bound)``: the metric that is easiest to please does not drown the others.
    """

    def __init__(
        self,
        loss: LossConfig,
        proxy: ProxyConfig,
        planes: str,
        gather: Callable[[Tensor], Tensor] = lambda x: x,
        mean: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        """
        Args:
            loss, proxy, planes, gather: as for `CodecLoss`.
            mean: of a value over all processes of a run; see `Processes.mean`.
        """
        super().__init__(loss, proxy, planes, gather)
        self._mean = mean
        self._frames, self._margin = proxy.frames, proxy.margin
        self.proxy = SequenceProxy(
            proxy.tables,
            proxy.rounding,
            proxy.smoothing,
            inter_rounding=proxy.inter_rounding,
            inter_step=proxy.inter_step,
            blocks=proxy.blocks,
        )

    def prepare(self, batch: Sample, shifts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As in `CodecLoss`; with several frames the motion is that of the last window against the one before.

        Raises:
            UsageError: no shifts for several frames.
        """
        if self._frames == 1:
            return super().prepare(batch)
        if shifts is None:
            raise UsageError("several frames need the shifts of their windows")
        luma = rgb_to_luma(batch.frame.float() / 255.0)
        before, last = windows(luma, shifts, self._frames, self._margin)[:, -2:].unbind(dim=1)
        return luma, self.vmaf.motion(last * 255.0, before[None] * 255.0)

    def forward(
        self,
        source: Tensor,
        enhanced: Tensor,
        motion: Tensor,
        step: Tensor,
        gain_limit: Tensor,
        shifts: Tensor | None = None,
    ) -> LossTerms:
        """Evaluates the savings on the last of the frames, at the rate of all.

        Args:
            source, enhanced, motion, step: as for `CodecLoss`; the pictures are larger than a window by the margin.
            gain_limit: unused, every metric has its own.
            shifts: (B, 2) pixels down and right by which windows move from frame to frame; none where they stay.
        """
        if shifts is None:
            shifts = torch.zeros(len(source), 2, dtype=torch.int64, device=source.device)
        original, processed = (windows(x, shifts, self._frames, self._margin) for x in (source, enhanced))
        reference = self._luma(original[:, -1])
        with torch.no_grad():
            base, coarser = (self._read(reference, original, motion, shifts, q)[1:] for q in (step, step * _COARSER))
        decoded, scores, bits = self._read(reference, processed, motion, shifts, step)
        rates = torch.log(torch.stack([bits, base[1], coarser[1]]) + _RATE_FLOOR)
        sums = saving_sums(torch.stack([scores, base[0], coarser[0]]), rates)
        if sums.requires_grad:
            # The joint batch decides slopes and bounds; each process has the gradient of its own part, and the
            # network's gradients are averaged. In validation one process is alone.
            sums = sums + (self._mean(sums.detach()) - sums.detach())
        bound = self.config.bound
        weights = torch.tensor([getattr(self.config, name) for name in self.config.saving_metrics], device=sums.device)
        objective = (weights * bound * torch.tanh(savings(sums) / bound)).sum() / weights.sum()
        before = (enhanced - source).abs().mean()
        after = (decoded - original).abs().mean()
        structure = scores.new_zeros(())
        if "ms_ssim" in self.config.saving_metrics:
            index = self.config.saving_metrics.index("ms_ssim")
            structure = -scores[index].detach().mean() / _STRUCTURE_SCALE
        return LossTerms(
            self.config.before * before + self.config.after * after - objective,
            scores[0].detach(),
            bits.detach().mean() / self._frames,
            (rates[0] - rates[1]).detach().mean(),
            structure,
            before.detach() * 255.0,
            after.detach() * 255.0,
            sums.detach(),
        )

    def _read(
        self, reference: Tensor, frames: Tensor, motion: Tensor, shifts: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded frames (B, T, C, h, w), scores of the last one (M, B), and bits per pixel of all together (B,)."""
        decoded, bits = self.proxy(frames, shifts, step)
        distorted = self._luma(decoded[:, -1])
        if distorted.requires_grad:
            distorted.register_hook(self._cap_gradient)  # type: ignore[no-untyped-call]
        scores = []
        for name in self.config.saving_metrics:
            if name == "ms_ssim":
                with ThinConvolutions():
                    similarity = self.ms_ssim(distorted.float(), reference.float())
                scores.append(-_STRUCTURE_SCALE * torch.log(1.0 - similarity + _STRUCTURE_FLOOR))
            elif name == "psnr":
                error = (distorted - reference).square().mean(dim=(1, 2, 3))
                scores.append(-10.0 * torch.log10(error + _ERROR_FLOOR))
            else:
                limit = torch.full_like(motion, _GAIN_LIMITS[name])
                scores.append(self.vmaf(reference * 255.0, distorted * 255.0, motion, limit))
        return decoded, torch.stack(scores), bits.sum(dim=1)

    def _luma(self, frame: Tensor) -> Tensor:
        return frame if self.planes == "luma" else rgb_to_luma(frame)


def draw_shifts(count: int, reach: int, generator: torch.Generator) -> Tensor:
    """Even numbers of pixels from -reach to reach, (count, 2)."""
    return 2 * torch.randint(-(reach // 2), reach // 2 + 1, (count, 2), generator=generator)


def open_loss(config: TrainingConfig, processes: Processes) -> CodecLoss:
    """The loss that a configuration asks for, over the joint batch of all processes."""
    if config.loss.objective == "saving":
        return SavingLoss(config.loss, config.proxy, config.network.planes, processes.gather, processes.mean)
    return CodecLoss(config.loss, config.proxy, config.network.planes, processes.gather)
