"""VMAF and VMAF_NEG as differentiable functions of the distorted frame (paper section 2.3, references 15 and 16)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene.errors import MissingError
from scene.metrics.thin_convolutions import ThinConvolutions

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
    """Per-frame VMAF v0.6.1 at any enhancement gain limit, composed from the parts of vmaf-torch.

    Raises:
        MissingError: vmaf-torch is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from vmaf_torch import VMAF
        except ImportError as error:
            raise MissingError("the differentiable VMAF needs vmaf-torch: pip install vmaf-torch") from error
        self.model = VMAF()
        self.requires_grad_(False)

    def motion(self, reference: Tensor, neighbours: Tensor) -> Tensor:
        """VMAF's motion feature of each frame against its neighbours; it depends on references alone.

        Args:
            reference: (B, 1, H, W) luma in [0, 255] on the limited-range scale.
            neighbours: (K, B, 1, H, W), the frames before and after (K = 1 or 2).

        Returns:
            (B,): the smallest of the K mean absolute differences of blurred luma (libvmaf's motion2).
        """
        from vmaf_torch.utils import fast_gaussian_blur, vmaf_pad

        margin = [(self.model.motion.kernel_size - 1) // 2] * 4

        def blur(x: Tensor) -> Tensor:
            return fast_gaussian_blur(vmaf_pad(x, margin), weight=self.model.motion.blur_win)  # type: ignore[no-any-return]

        with ThinConvolutions():
            blurred = blur(reference)
            differences = [(blurred - blur(other)).abs().mean(dim=(1, 2, 3)) for other in neighbours]
        return torch.stack(differences).amin(dim=0)

    def forward(self, reference: Tensor, distorted: Tensor, motion: Tensor, gain_limit: Tensor) -> Tensor:
        """Unclipped scores in VMAF points.

        Args:
            reference, distorted: (B, 1, H, W) float32 luma in [0, 255] on the limited-range scale.
            motion: (B,) motion2 of the reference frames; zero lowers scores by about 8 points.
            gain_limit: (B,) from `NEG_GAIN_LIMIT` (VMAF_NEG) to `VMAF_GAIN_LIMIT` (VMAF).

        Returns:
            (B,) scores.
        """
        # vmaf-torch reads its limits as numbers, but only to clamp and to multiply with, so that one a sample serves:
        # a batch can hold VMAF and VMAF_NEG side by side at the cost of one.
        self.model.vif.vif_enhn_gain_limit = gain_limit[:, None, None, None]
        self.model.adm.adm_enhn_gain_limit = gain_limit[:, None, None, None]
        # Half precision loses the small differences of large sums that VIF and ADM are made of.
        with torch.autocast(device_type=reference.device.type, enabled=False), ThinConvolutions():
            reference, distorted = reference.float(), distorted.float()
            adm = self.model.adm.adm_score(reference, distorted)
            vif = self.model.vif.vif_features(reference, distorted)
            return self.model.predict(adm, motion.float()[:, None], vif)[:, 0]  # type: ignore[no-any-return]
