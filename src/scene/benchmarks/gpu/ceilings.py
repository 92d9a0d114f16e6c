"""What a device could do at best: how fast its memory moves, its matrix units multiply, and frames cross to it."""

from __future__ import annotations

import torch

from scene.benchmarks.gpu.record import Figures, Variant
from scene.benchmarks.gpu.timing import DTYPES, Arithmetic, Timing, arithmetic, time_on

MEMORY = "memory copy"
PRODUCT = "matrix product"
TRANSFERS = ("upload", "download")
MEMORIES = ("pinned", "pageable")
# Planes of one 1920x1080 picture, 8-bit 4:2:0.
_PLANES = ((1080, 1920), (540, 960), (540, 960))
_LARGE = 1 << 30
_SMALL = 1 << 24
_LARGE_SIDE, _SMALL_SIDE = 8192, 256


def ceiling_variants() -> list[Variant]:
    """All of them."""
    return [
        Variant("ceiling", MEMORY),
        *(Variant("ceiling", PRODUCT, precision=name) for name in DTYPES),
        *(Variant("ceiling", way, "1920x1080", form=memory) for way in TRANSFERS for memory in MEMORIES),
    ]


def memory_copy(device: torch.device) -> Figures:
    """Bytes a second of a copy within the device's memory, those read and those written both counted."""
    size = _SMALL
    if device.type == "cuda":
        # A small card keeps most of its memory.
        size = min(_LARGE, torch.cuda.mem_get_info(device)[0] // 4)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timing = time_on(device, lambda: target.copy_(source))
    return _figures(timing, bytes_per_s=2 * size / timing.ms * 1000, bytes=2 * size)


def matrix_product(device: torch.device, name: Arithmetic) -> Figures:
    """Floating-point operations a second of a product of two large square matrices of normal random numbers."""
    side = _LARGE_SIDE if device.type == "cuda" else _SMALL_SIDE
    one, other = (torch.randn(side, side, device=device).to(DTYPES[name]) for _ in range(2))
    with arithmetic(name == "tf32"):
        timing = time_on(device, lambda: one @ other)
    return _figures(timing, flops_per_s=2 * side**3 / timing.ms * 1000, side=side)


def transfer(device: torch.device, way: str, memory: str) -> Figures:
    """Bytes a second of the three planes of a frame, one after the other, between main memory and the GPU."""
    pinned = memory == "pinned"
    here = [torch.zeros(shape, dtype=torch.uint8, pin_memory=pinned) for shape in _PLANES]
    there = [plane.to(device) for plane in here]
    sources, targets = (here, there) if way == "upload" else (there, here)

    def work() -> None:
        for source, target in zip(sources, targets, strict=True):
            target.copy_(source, non_blocking=pinned)

    timing = time_on(device, work)
    size = sum(plane.nbytes for plane in here)
    return _figures(timing, bytes_per_s=size / timing.ms * 1000, bytes=size)


def _figures(timing: Timing, **more: float) -> Figures:
    return {"ms": timing.ms, "repeats": timing.repeats, **more}
