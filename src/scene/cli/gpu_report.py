"""What `scene bench gpu` prints: one table of all variants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from scene.benchmarks.gpu import GpuBenchmark
    from scene.benchmarks.gpu.record import Outcome

# A figure that is a speed: in which unit it is shown, and what that is in the file's.
_SPEEDS = {"bytes_per_s": ("GB/s", 1e9), "flops_per_s": ("TFLOP/s", 1e12), "patches_per_s": ("patches/s", 1.0)}


def print_gpu(result: GpuBenchmark) -> None:
    """Prints what was measured on, and a row for each variant; what was not measured, or is wrong, says why."""
    machine = result.machine
    table = Table(box=None)
    for column in ("part", "what", "size"):
        table.add_column(column)
    table.add_column("batch", justify="right")
    for column in ("precision", "form"):
        table.add_column(column)
    for column in ("ms", "speed", "% of product", "% of copy"):
        table.add_column(column, justify="right")
    table.add_column("")
    for outcome in result.outcomes:
        table.add_row(*_row(outcome))
    # As wide as it needs: on a narrow terminal rich would cut names.
    console = Console(soft_wrap=True, highlight=False, markup=False, width=240)
    software = f"torch {machine.torch}"
    if machine.cuda:
        software += f", CUDA {machine.cuda}, cuDNN {machine.cudnn}, driver {', '.join(machine.drivers)}"
    console.print(f"{machine.card}, {software}, {machine.threads} threads on the CPU; medians")
    console.print(table)


def _row(outcome: Outcome) -> list[str]:
    variant, figures = outcome.variant, outcome.figures
    shares = (f"{100 * figures[name]:.1f}" if name in figures else "" for name in ("flops_share", "bytes_share"))
    return [
        *(variant.part, variant.what, variant.size, str(variant.batch), variant.precision, variant.form),
        f"{figures['ms']:.3f}" if figures else "",
        _speed(outcome),
        *shares,
        "" if outcome.state == "measured" else f"{outcome.state}: {outcome.reason}",
    ]


def _speed(outcome: Outcome) -> str:
    for name, (unit, size) in _SPEEDS.items():
        if name in outcome.figures:
            return f"{outcome.figures[name] / size:.1f} {unit}"
    return f"{1000 / outcome.figures['ms']:.1f} frames/s" if outcome.figures else ""
