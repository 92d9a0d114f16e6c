"""Quality metrics' filters on the CPU: one channel, fixed taps, which general convolutions are slow at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


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
