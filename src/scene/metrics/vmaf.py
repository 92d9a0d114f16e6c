"""VMAF and VMAF_NEG as differentiable functions of the distorted frame (paper section 2.3, references 15 and 16)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene.errors import MissingError

# Enhancement gain limits of the two published models: VMAF credits enhancement freely, VMAF_NEG not at all.
VMAF_GAIN_LIMIT = 100.0
NEG_GAIN_LIMIT = 1.0

# Scores bend towards the bound over about this many points.
_BEND = 3.0


def bound_score(score: Tensor, bound: float = 100.0) -> Tensor:
    """Bends unclipped scores smoothly below `bound`: the gradient is 1 far under it, 1/2 at it, and fades above.

    Unclipped VMAF reaches 200 and training on it runs away to extreme contrast; clipped VMAF has no gradient
    above 100. This has neither fault.
    """
    return bound - _BEND * F.softplus((bound - score) / _BEND)


class DifferentiableVmaf(nn.Module):
    """Per-frame VMAF v0.6.1 at several enhancement gain limits, composed from the parts of vmaf-torch.

    Args:
        gain_limits: one score is computed for each, from `NEG_GAIN_LIMIT` (VMAF_NEG) to `VMAF_GAIN_LIMIT` (VMAF).

    Raises:
        MissingError: vmaf-torch is not installed.
    """

    def __init__(self, gain_limits: Sequence[float] = (VMAF_GAIN_LIMIT,)) -> None:
        super().__init__()
        try:
            from vmaf_torch import VMAF
        except ImportError as error:
            raise MissingError("the differentiable VMAF needs vmaf-torch: pip install 'scene-codec[train]'") from error
        self.models = nn.ModuleList()
        for limit in gain_limits:
            model = VMAF()
            model.vif.vif_enhn_gain_limit = float(limit)
            model.adm.adm_enhn_gain_limit = float(limit)
            self.models.append(model)
        self.requires_grad_(False)

    def motion(self, reference: Tensor, neighbours: Tensor) -> Tensor:
        """VMAF's motion feature of each frame against a neighbouring frame; it depends on references alone.

        Args:
            reference: (B, 1, H, W) luma in [0, 255] on the limited-range scale.
            neighbours: (K, B, 1, H, W), the frames before and after (K = 1 or 2).

        Returns:
            (B, 1): the smallest of the K mean absolute differences of blurred luma (libvmaf's motion2).
        """
        from vmaf_torch.utils import fast_gaussian_blur, vmaf_pad

        window = self.models[0].motion.blur_win
        margin = [(self.models[0].motion.kernel_size - 1) // 2] * 4

        def blur(x: Tensor) -> Tensor:
            return fast_gaussian_blur(vmaf_pad(x, margin), weight=window)  # type: ignore[no-any-return]

        blurred = blur(reference)
        differences = [(blurred - blur(other)).abs().mean(dim=(-1, -2)) for other in neighbours]
        return torch.stack(differences).amin(dim=0)

    def forward(self, reference: Tensor, distorted: Tensor, motion: Tensor) -> Tensor:
        """Unclipped scores in VMAF points.

        Args:
            reference, distorted: (B, 1, H, W) float32 luma in [0, 255] on the limited-range scale.
            motion: (B, 1) motion2 of the reference frames; zero lowers scores by about 8 points.

        Returns:
            (B, number of gain limits).
        """
        # Half precision loses the small differences of large sums that VIF and ADM are made of.
        with torch.autocast(device_type=reference.device.type, enabled=False):
            reference, distorted, motion = reference.float(), distorted.float(), motion.float()
            scores = [
                model.predict(
                    model.adm.adm_score(reference, distorted), motion, model.vif.vif_features(reference, distorted)
                )
                for model in self.models
            ]
        return torch.cat(scores, dim=-1)
