"""How long work takes on a device, and in which arithmetic it is done there."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from scene.enhance.device import synchronise

Arithmetic = Literal["float32", "tf32", "bfloat16", "float16"]

DTYPES: dict[Arithmetic, torch.dtype] = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# The first calls allocate memory and choose kernels.
_WARM_UP = 3
# Repeats are as many as fit into so many seconds, within these bounds.
_SECONDS = 1.0
_FEWEST, _MOST = 5, 50
# From this compute capability on GPUs have TF32 and bfloat16.
_AMPERE = (8, 0)


@dataclass(frozen=True, slots=True)
class Timing:
    """Repeats of the same work.

    Attributes:
        ms: the median, in milliseconds.
        repeats: that were measured, after the warm-up.
    """

    ms: float
    repeats: int


def time_on(device: torch.device, work: Callable[[], Any]) -> Timing:
    """Times work that may return before the device has done it.

    On a GPU the time is the device's own, by events before and after each repeat, waiting for the next kernel included.
    """
    for _ in range(_WARM_UP):
        work()
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    repeats = _repeats(time.perf_counter() - began)
    if device.type != "cuda":
        return _by_the_clock(work, repeats)
    events = [_event() for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        work()
        event.record()
    synchronise(device)
    return Timing(statistics.median(one.elapsed_time(next_) for one, next_ in itertools.pairwise(events)), repeats)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def time_whole(work: Callable[[], Any]) -> Timing:
    """Times work by the clock that ends when all of it is done, after one call to warm up."""
    began = time.perf_counter()
    work()
    return _by_the_clock(work, _repeats(time.perf_counter() - began))


def _by_the_clock(work: Callable[[], Any], repeats: int) -> Timing:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return Timing(1000 * statistics.median(times), repeats)


def _repeats(seconds: float) -> int:
    return max(_FEWEST, min(_MOST, round(_SECONDS / max(seconds, 1e-6))))


@contextmanager
def arithmetic(tf32: bool) -> Iterator[None]:
    """Whether convolutions and products of float32 may be TF32 inside; cuDNN tries its algorithms for the fastest."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = tf32, tf32, True
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = before


def why_not(name: Arithmetic, device: torch.device) -> str:
    """Why a device has no such arithmetic, "" where it has."""
    if device.type != "cuda":
        # That of float16 is so slow on a CPU that nobody would take it.
        return "needs a GPU" if name in {"tf32", "float16"} else ""
    recent = torch.cuda.get_device_capability(device) >= _AMPERE
    return "" if recent or name in {"float32", "float16"} else f"this GPU has no {name}"
