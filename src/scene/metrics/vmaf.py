"""VMAF and VMAF_NEG as differentiable functions of the distorted frame (paper section 2.3, references 15 and 16)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

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


class ThinConvolutions(TorchFunctionMode):
    """Inside this context, fixed filters over batches of one float32 channel on the CPU are convolved tap by tap.

    oneDNN pads one channel to sixteen, which makes its gradient up to forty times slower. Adding up shifted pictures
    in the order of its taps gives the same bits at crops of 176 and 256; at some sizes between, the gradient of VIF's
    longest filter differs in the last bit. Everything else is left to torch.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.conv2d:
            return _convolve(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, **others: Any
) -> Tensor:
    """`torch.nn.functional.conv2d`, by the faster route where there is one."""
    rows, columns = (stride, stride) if isinstance(stride, int) else stride
    thin = (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.dim() == 4
        # For a single picture torch may take another route, with other rounding.
        and len(x) > 1
        and weight.shape[:2] == (1, 1)
        and not weight.requires_grad
        and bias is None
        and padding in (0, "valid")
        and others in ({}, {"groups": 1})
        # oneDNN rounds differently here, and is not slow.
        and columns == 1
    )
    if not thin:
        return F.conv2d(x, weight, bias, stride, padding, **others)
    return _TapByTap.apply(x, weight[0, 0].tolist(), rows)  # type: ignore[no-any-return, no-untyped-call]


class _TapByTap(torch.autograd.Function):
    """A filter's taps, one shifted picture after the other; the gradient is their transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: list[list[float]], stride: int) -> Tensor:
        ctx.taps, ctx.stride, ctx.shape = taps, stride, x.shape
        y = x.new_zeros(*x.shape[:2], (x.shape[2] - len(taps)) // stride + 1, x.shape[3] - len(taps[0]) + 1)
        for tap, view in _shifted(x, taps, stride, y.shape):
            y.add_(view, alpha=tap)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        before = gradient.new_zeros(ctx.shape)
        for tap, view in _shifted(before, ctx.taps, ctx.stride, gradient.shape):
            view.add_(gradient, alpha=tap)
        return before, None, None


def _shifted(x: Tensor, taps: list[list[float]], stride: int, shape: torch.Size) -> Iterator[tuple[float, Tensor]]:
    """Each tap with the view of `x`, of the filtered picture's shape, that it weighs."""
    height, width = shape[2:]
    for top, row in enumerate(taps):
        for left, tap in enumerate(row):
            yield tap, x[:, :, top : top + (height - 1) * stride + 1 : stride, left : left + width]


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
            raise MissingError("the differentiable VMAF needs vmaf-torch: pip install 'scene-codec[train]'") from error
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
