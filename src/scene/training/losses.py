"""The paper's Eq. 3 over the codec proxy and differentiable VMAF, and what it shares with `rate_saving`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from scene.errors import UsageError
from scene.metrics.loss_metrics import LumaPair, Scorers
from scene.metrics.vmaf import bound_score
from scene.proxy import JpegProxy
from scene.training.config import LossConfig, ProxyConfig
from scene.training.data.crops import Sample, rgb_to_luma

# An identical pair scores about 97.4 to 100, depending on motion.
_PERFECT = 100.0


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What a loss needs beside the network's output.

    Attributes:
        source: (B, C, H, W) network input.
        motion: (B,) VMAF's motion feature of what is scored.
        step: (B,) quantiser steps in 8-bit code values.
        gain_limit: (B,) enhancement gain limits of Eq. 3's score.
        shifts: (B, 2) pixels down and right by which windows move from frame to frame.
    """

    source: Tensor
    motion: Tensor
    step: Tensor
    gain_limit: Tensor
    shifts: Tensor


@dataclass(frozen=True, slots=True)
class LossTerms:
    """One evaluation of a loss.

    Attributes:
        total: a scalar with a gradient.
        named: batch means for the log, detached scalars by name: `bits_per_pixel` after enhancement; `rate_change`, the
            log of the rate over the unprocessed crop's at the same step; `structure`, log(1 - MS-SSIM), 0 where it has
            no weight; `l1_before` and `l1_after` in 8-bit code values; `score`, unclipped, of the first metric where
            there are several; and `saving_*` for each metric of the objective "saving".
        sums: (5, M) what savings are computed from, see `scene.training.rate_saving`; M is 0 with Eq. 3. Detached.
    """

    total: Tensor
    named: dict[str, Tensor]
    sums: Tensor


class TrainingLoss(Protocol):
    """Either objective.

    Attributes:
        proxy, scorers: its parts that take time.
    """

    proxy: nn.Module
    scorers: Scorers

    def prepare(self, batch: Sample, step: Tensor, gain_limit: Tensor, shifts: Tensor) -> LossInputs:
        """A batch of 8-bit RGB with what was drawn for it, all on the loss's device; see `LossInputs`."""

    def __call__(self, inputs: LossInputs, enhanced: Tensor) -> LossTerms:
        """Evaluates the loss for the network's output, of the source's shape."""


class GradientCap:
    """Scales samples with outlying gradients down; see `LossConfig.gradient_cap`.

    Args:
        cap: multiple of the batch's median norm.
        gather: the values of all processes of a run, along dimension 0; see `Processes.gather`.
    """

    def __init__(self, cap: float, gather: Callable[[Tensor], Tensor]) -> None:
        self._cap = cap
        self._gather = gather

    def watch(self, distorted: Tensor) -> Tensor:
        """The same pictures (B, C, H, W), whose gradient will be capped."""
        if distorted.requires_grad:
            distorted.register_hook(self)  # type: ignore[no-untyped-call]
        return distorted

    def __call__(self, gradient: Tensor) -> Tensor:
        # Exactly flat samples divide zero by zero inside VMAF; they have nothing to teach.
        gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        norms = gradient.flatten(1).norm(dim=1)
        scale: Tensor = (
            self._cap * self._gather(norms).median() / norms.clamp(min=torch.finfo(norms.dtype).tiny)
        ).clamp(max=1.0)
        return gradient * scale[:, None, None, None]


class WeightedLoss(nn.Module):
    """``lambda_p L_perceptual + lambda_b L_bitrate + lambda_1 L_pre + lambda_2 L_post`` (paper Eq. 3).

    A weighted log(1 - MS-SSIM) may be added; see `LossConfig.structure`.

    Args:
        loss, proxy: see there.
        planes: of the network.
        gather: the values of all processes of a run, along dimension 0; see `Processes.gather`.

    Raises:
        MissingError: a package of the extra `train` is not installed.
        UsageError: planes that cannot be trained.
    """

    def __init__(
        self, loss: LossConfig, proxy: ProxyConfig, planes: str, gather: Callable[[Tensor], Tensor] = lambda x: x
    ) -> None:
        super().__init__()
        require_trainable(planes)
        self.config = loss
        self.cap = GradientCap(loss.gradient_cap, gather)
        self.proxy: nn.Module = JpegProxy(proxy.tables, proxy.rounding, proxy.smoothing)
        self.scorers = Scorers()
        self._planes = planes

    def prepare(self, batch: Sample, step: Tensor, gain_limit: Tensor, shifts: Tensor) -> LossInputs:
        """See `TrainingLoss.prepare`."""
        return prepare_crops(batch, self._planes, self.scorers, step, gain_limit, shifts)

    def forward(self, inputs: LossInputs, enhanced: Tensor) -> LossTerms:
        """Evaluates Eq. 3 for the network's output (B, C, H, W)."""
        config, source = self.config, inputs.source
        decoded, bits = self.proxy(enhanced, inputs.step)
        with torch.no_grad():
            source_bits = self.proxy(source, inputs.step).bits_per_pixel
        # Crops without detail cost next to nothing; the floor keeps their logarithm from deciding the batch.
        rate_change = torch.log((bits + 0.01) / (source_bits + 0.01))
        distorted = self.cap.watch(to_luma(decoded, self._planes))
        pair = LumaPair(to_luma(source, self._planes), distorted, inputs.motion)
        scores = self.scorers.vmaf_points(pair, inputs.gain_limit)
        terms = {
            "perceptual": (_PERFECT - bound_score(scores)).mean(),
            "bitrate": (bits if config.rate_unit == "bits_per_pixel" else rate_change).mean(),
            "before": (enhanced - source).abs().mean(),
            "after": (decoded - source).abs().mean(),
        }
        structure = distorted.new_zeros(())
        if config.structure > 0:
            terms["structure"] = structure = self.scorers.log_dissimilarity(pair).mean()
        total = torch.stack([getattr(config, name) * value for name, value in terms.items()]).sum()
        named = {
            "bits_per_pixel": bits.mean(),
            "rate_change": rate_change.mean(),
            "structure": structure,
            "l1_before": terms["before"] * 255.0,
            "l1_after": terms["after"] * 255.0,
            "score": scores.mean(),
        }
        return LossTerms(total, {name: value.detach() for name, value in named.items()}, bits.new_zeros(5, 0))


def require_trainable(planes: str) -> None:
    """Raises UsageError for planes that the proxies do not code."""
    if planes == "yuv420":
        raise UsageError("planes = 'yuv420' can be built but not trained yet; use rgb or luma")


def to_luma(frame: Tensor, planes: str) -> Tensor:
    """The luma of network planes, (B, 1, H, W)."""
    return frame if planes == "luma" else rgb_to_luma(frame)


def prepare_crops(
    batch: Sample, planes: str, scorers: Scorers, step: Tensor, gain_limit: Tensor, shifts: Tensor
) -> LossInputs:
    """Single frames, with VMAF's motion against their neighbours; see `TrainingLoss.prepare`."""
    frame, neighbour = (x.float() / 255.0 for x in (batch.frame, batch.neighbour))
    luma = rgb_to_luma(frame)
    motion = scorers.vmaf.motion(luma * 255.0, rgb_to_luma(neighbour)[None] * 255.0)
    return LossInputs(luma if planes == "luma" else frame, motion, step, gain_limit, shifts)
