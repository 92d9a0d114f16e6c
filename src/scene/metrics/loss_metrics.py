"""Metrics that training can save rate at: a table that loss, validation, log and configuration loop over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scene.errors import MissingError
from scene.metrics.thin_convolutions import ThinConvolutions
from scene.metrics.vmaf import NEG_GAIN_LIMIT, VMAF_GAIN_LIMIT, DifferentiableVmaf

# MS-SSIM halves a picture four times and then needs more than its window of 11.
MS_SSIM_SIDE = 160
# log(1 - MS-SSIM) in the size of VMAF's points.
STRUCTURE_SCALE = 10.0
# Keeps pictures that survive coding almost unchanged from deciding the mean of the logarithms.
_STRUCTURE_FLOOR = 1e-3
# PSNR of 60 dB, as libvmaf ends at.
_ERROR_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class LumaPair:
    """What a metric compares.

    Attributes:
        reference, distorted: (B, 1, H, W) limited-range luma codes over 255.
        motion: (B,) VMAF's motion feature of the reference.
    """

    reference: Tensor
    distorted: Tensor
    motion: Tensor


class Scorers(nn.Module):
    """The models that metrics share, on one device.

    Raises:
        MissingError: a package of the extra `train` is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from pytorch_msssim import MS_SSIM
        except ImportError as error:
            raise MissingError("training needs pytorch-msssim: pip install pytorch-msssim") from error
        self.vmaf = DifferentiableVmaf()
        self.ms_ssim = MS_SSIM(data_range=1.0, size_average=False, channel=1)

    def vmaf_points(self, pair: LumaPair, gain_limit: Tensor) -> Tensor:
        """Unclipped VMAF, (B,), at the enhancement gain limits (B,)."""
        score: Tensor = self.vmaf(pair.reference * 255.0, pair.distorted * 255.0, pair.motion, gain_limit)
        return score

    def log_dissimilarity(self, pair: LumaPair) -> Tensor:
        """log(1 - MS-SSIM), (B,), which falls about as fast as the rate grows."""
        with ThinConvolutions():
            similarity = self.ms_ssim(pair.distorted.float(), pair.reference.float())
        return torch.log(1.0 - similarity + _STRUCTURE_FLOOR)


@dataclass(frozen=True, slots=True)
class LossMetric:
    """One metric of the objective "saving".

    Attributes:
        name: in the section [loss] of a training file, where it has the metric's weight, and in logs.
        points: the score of each pair, (B,), the higher the better, differentiable in `distorted`.
        weight: where a training file gives none; 0 leaves the metric out.
        above: pixels that a crop's side must exceed.
    """

    name: str
    points: Callable[[Scorers, LumaPair], Tensor]
    weight: float
    above: int = 0


def _vmaf(gain_limit: float) -> Callable[[Scorers, LumaPair], Tensor]:
    return lambda scorers, pair: scorers.vmaf_points(pair, torch.full_like(pair.motion, gain_limit))


def _ms_ssim(scorers: Scorers, pair: LumaPair) -> Tensor:
    return -STRUCTURE_SCALE * scorers.log_dissimilarity(pair)


def _psnr(_: Scorers, pair: LumaPair) -> Tensor:
    error = (pair.distorted - pair.reference).square().mean(dim=(1, 2, 3))
    return -10.0 * torch.log10(error + _ERROR_FLOOR)


LOSS_METRICS = {
    metric.name: metric
    for metric in (
        LossMetric("vmaf", _vmaf(VMAF_GAIN_LIMIT), 0.3),
        LossMetric("vmaf_neg", _vmaf(NEG_GAIN_LIMIT), 1.0),
        LossMetric("ms_ssim", _ms_ssim, 1.0, above=MS_SSIM_SIDE),
        LossMetric("psnr", _psnr, 0.0),
    )
}
