"""Where the time of a step goes: a clock that parts report to, and borders around modules that report for them."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scene.enhance.device import synchronise
from scene.training.step import OnPhase


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the instrumented steps.

    Attributes:
        name: "data" is waiting for the loader; "prepare" moves the batch, takes its luma and VMAF's motion and draws
            the quantisers; "network", "proxy", "vmaf" and "ms_ssim" are these; "rest" is what else the loss does;
            "optimiser" clears gradients, reads the loss and takes the step.
        forward_s, backward_s: median of a step, seconds. The proxy's forward pass includes that over the
            unprocessed crop.
        total_s: forward and backward over all steps, seconds.
        share: of the time of all parts, 0 to 1.
    """

    name: str
    forward_s: float
    backward_s: float
    total_s: float
    share: float


class PhaseClock:
    """Seconds by part, forward and backward, of each step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._steps: list[dict[tuple[str, bool], float]] = []
        self._current = ("data", False)
        self._since = 0.0

    def __call__(self, part: str, *, backward: bool = False) -> None:
        synchronise(self._device)
        now = time.perf_counter()
        self._steps[-1][self._current] += now - self._since
        self._current = (part, backward)
        self._since = now

    def time_step(self, step: Callable[[OnPhase], None]) -> None:
        """One instrumented step, which says where its parts begin; "data" is the first."""
        self._steps.append(defaultdict(float))
        self._since = time.perf_counter()
        step(self)
        # The optimiser's step ends here.
        self("data")

    def parts(self) -> tuple[Part, ...]:
        """Medians and totals over the steps, in the order of a step."""
        names = list(dict.fromkeys(name for step in self._steps for name, _ in step))
        everything = sum(sum(step.values()) for step in self._steps)

        def seconds(name: str, backward: bool) -> list[float]:
            return [step.get((name, backward), 0.0) for step in self._steps]

        parts = []
        for name in names:
            forward, backward = seconds(name, False), seconds(name, True)
            total = sum(forward) + sum(backward)
            parts.append(Part(name, statistics.median(forward), statistics.median(backward), total, total / everything))
        return tuple(parts)


class _Border(torch.autograd.Function):
    """Passes tensors on, and calls back when their gradients come through.

    The engine runs the nodes of one device in the reverse order of their making. So when a border's gradients come
    through, all that was computed behind it has gone back, and nothing before it has.
    """

    @staticmethod
    def forward(ctx: Any, on_backward: Callable[[], None], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.on_backward = on_backward
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.on_backward()
        return None, *gradients


def enclose(module: nn.Module, part: str, on_phase: OnPhase) -> tuple[torch.utils.hooks.RemovableHandle, ...]:
    """Puts a border before and one behind a module, so that it reports as a part, forward and backward."""

    def before(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        enclosed = _put_border(arguments, lambda: on_phase("rest", backward=True))
        on_phase(part)
        return enclosed

    def behind(_: nn.Module, _arguments: tuple[Any, ...], output: Any) -> Any:
        on_phase("rest")
        outputs = (output,) if isinstance(output, Tensor) else output
        enclosed = _put_border(outputs, lambda: on_phase(part, backward=True))
        return enclosed[0] if isinstance(output, Tensor) else output._make(enclosed)

    return module.register_forward_pre_hook(before), module.register_forward_hook(behind)


def _put_border(values: tuple[Any, ...], on_backward: Callable[[], None]) -> tuple[Any, ...]:
    # A border would give the others a gradient, too, and the module more to do.
    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    if not places or not torch.is_grad_enabled():
        return values
    passed = list(values)
    bordered = _Border.apply(on_backward, *(values[i] for i in places))  # type: ignore[no-untyped-call]
    for place, tensor in zip(places, bordered, strict=True):
        passed[place] = tensor
    return tuple(passed)
