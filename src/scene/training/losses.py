"""The training loss: the paper's Eq. 3 over the network, the codec proxy and the differentiable VMAF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scene.errors import MissingError, UsageError
from scene.metrics.thin_convolutions import ThinConvolutions
from scene.metrics.vmaf import DifferentiableVmaf, bound_score
from scene.proxy import JpegProxy
from scene.training.config import LossConfig, ProxyConfig
from scene.training.data.crops import Sample, rgb_to_luma

# An identical pair scores about 97.4 to 100, depending on motion.
_PERFECT = 100.0
# Keeps crops that survive coding almost unchanged from deciding the mean of the logarithms.
_STRUCTURE_FLOOR = 1e-3


@dataclass(frozen=True, slots=True)
class LossTerms:
    """One evaluation of a loss.

    Attributes:
        total: a scalar with a gradient.
        scores: (B,) unclipped scores, detached; of the first metric where there are several.
        bits_per_pixel: batch mean after enhancement, detached.
        rate_change: mean log of rate over the unprocessed crop's at the same step, detached.
        structure: mean log(1 - MS-SSIM), detached; zero where it has no weight.
        before, after: batch means of the two L1 terms in 8-bit code values, detached.
        sums: (5, M) what savings are computed from, see `scene.training.rate_saving`; M is 0 with Eq. 3. Detached.
    """

    total: Tensor
    scores: Tensor
    bits_per_pixel: Tensor
    rate_change: Tensor
    structure: Tensor
    before: Tensor
    after: Tensor
    sums: Tensor


class CodecLoss(nn.Module):
    """``lambda_p L_perceptual + lambda_b L_bitrate + lambda_1 L_pre + lambda_2 L_post`` (paper Eq. 3).

    A weighted log(1 - MS-SSIM) may be added; see `LossConfig.structure`.
    """

    def __init__(
        self, loss: LossConfig, proxy: ProxyConfig, planes: str, gather: Callable[[Tensor], Tensor] = lambda x: x
    ) -> None:
        """
        Args:
            loss, proxy: see there.
            planes: of the network.
            gather: the values of all processes of a run, along dimension 0; see `Processes.gather`.
        """
        super().__init__()
        try:
            from pytorch_msssim import MS_SSIM
        except ImportError as error:
            raise MissingError("training needs pytorch-msssim: pip install 'scene-codec[train]'") from error
        if planes == "yuv420":
            raise UsageError("planes = 'yuv420' can be built but not trained yet; use rgb or luma")
        self.config = loss
        self._gather = gather
        self.planes = planes
        self.proxy: nn.Module = JpegProxy(proxy.tables, proxy.rounding, proxy.smoothing)
        self.vmaf = DifferentiableVmaf()
        self.ms_ssim = MS_SSIM(data_range=1.0, size_average=False, channel=1)

    def prepare(self, batch: Sample, shifts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """A batch of 8-bit RGB as network input (B, C, H, W) and VMAF's motion (B,).

        Args:
            batch: on the loss's device.
            shifts: (B, 2) of windows that move over the crops; a single frame has none.
        """
        frame, neighbour = (x.float() / 255.0 for x in (batch.frame, batch.neighbour))
        luma = rgb_to_luma(frame)
        motion = self.vmaf.motion(luma * 255.0, rgb_to_luma(neighbour)[None] * 255.0)
        return (luma if self.planes == "luma" else frame), motion

    def gain_limits(self, batch: int) -> Tensor:
        """The configured gain limits, one a sample in turn, (batch,)."""
        limits = torch.tensor(self.config.gain_limits)
        return limits.repeat(-(-batch // len(limits)))[:batch]

    def forward(
        self,
        source: Tensor,
        enhanced: Tensor,
        motion: Tensor,
        step: Tensor,
        gain_limit: Tensor,
        shifts: Tensor | None = None,
    ) -> LossTerms:
        """Evaluates Eq. 3.

        Args:
            source: (B, C, H, W) network input.
            enhanced: the network's output for it.
            motion: (B,) motion feature of the source.
            step: (B,) quantiser steps in code values.
            gain_limit: (B,) enhancement gain limits of the score.
            shifts: unused, a single frame does not move.
        """
        config = self.config
        decoded, bits = self.proxy(enhanced, step)
        with torch.no_grad():
            source_bits = self.proxy(source, step).bits_per_pixel
        # Crops without detail cost next to nothing; the floor keeps their logarithm from deciding the batch.
        rate_change = torch.log((bits + 0.01) / (source_bits + 0.01))
        distorted = decoded if self.planes == "luma" else rgb_to_luma(decoded)
        if distorted.requires_grad:
            distorted.register_hook(self._cap_gradient)
        reference = source if self.planes == "luma" else rgb_to_luma(source)
        scores = self.vmaf(reference * 255.0, distorted * 255.0, motion, gain_limit)
        perceptual = (_PERFECT - bound_score(scores)).mean()
        rate = (bits if config.rate_unit == "bits_per_pixel" else rate_change).mean()
        before = (enhanced - source).abs().mean()
        after = (decoded - source).abs().mean()
        total = config.perceptual * perceptual + config.bitrate * rate + config.before * before + config.after * after
        structure = distorted.new_zeros(())
        if config.structure > 0:
            with ThinConvolutions():
                similarity = self.ms_ssim(distorted.float(), reference.float())
            structure = torch.log(1.0 - similarity + _STRUCTURE_FLOOR).mean()
            total = total + config.structure * structure
        return LossTerms(
            total,
            scores.detach(),
            bits.detach().mean(),
            rate_change.detach().mean(),
            structure.detach(),
            before.detach() * 255.0,
            after.detach() * 255.0,
            bits.new_zeros(5, 0),
        )

    def _cap_gradient(self, gradient: Tensor) -> Tensor:
        """Scales samples with outlying gradients down; see `LossConfig.gradient_cap`."""
        # Exactly flat samples divide zero by zero inside VMAF; they have nothing to teach.
        gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        norms = gradient.flatten(1).norm(dim=1)
        cap = self.config.gradient_cap * self._gather(norms).median()
        scale: Tensor = (cap / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(max=1.0)
        return gradient * scale[:, None, None, None]
