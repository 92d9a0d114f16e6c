"""One run of `scene bench gpu`: variant after variant, the file after each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scene.benchmarks.gpu.record import Machine, Outcome, read_outcomes, this_machine, write_outcomes
from scene.benchmarks.gpu.variants import Bench
from scene.enhance.device import resolve_device
from scene.errors import UsageError
from scene.model import load_model
from scene.options import DeviceName
from scene.progress import OnProgress, Progress, silent

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
MODELS = ("scene", "asconvsr", "scene-lite")
_LEAST_SIDE = 16


@dataclass(frozen=True, slots=True)
class GpuBenchmark:
    """What was measured, by this run or by earlier ones.

    Attributes:
        machine: where.
        outcomes: of all that this run was asked for, in its order.
    """

    machine: Machine
    outcomes: tuple[Outcome, ...]


def bench_gpu(
    out: Path,
    *,
    models: Sequence[str] = MODELS,
    sizes: Sequence[tuple[int, int]] = tuple(SIZES.values()),
    data: Path | None = None,
    device: DeviceName = "cuda",
    on_progress: OnProgress = silent,
) -> GpuBenchmark:
    """Measures one variant after the other, and writes the file after each.

    What the file has of the same card and torch is not measured again, nor what failed there. A variant that fails is
    recorded with its reason, and the others go on. Needs no PyAV.

    Args:
        out: JSON; see docs/performance.md.
        models: shipped names, or files, of models on luma.
        sizes: width and height of pictures, in samples.
        data: training material, as for `bench_training`; without it training is not measured.
        device: "cuda", "cpu", or "auto" for a GPU where there is one.

    Raises:
        UsageError: an unknown model, a size that makes no sense, or `out` is of another machine.
        InputError, CheckpointError, MissingError: a model's file or the device is missing, or `out` is another file.
        SceneError: `out` cannot be written, or the GPU has stopped working.
    """
    for width, height in sizes:
        if min(width, height) < _LEAST_SIDE:
            raise UsageError(f"`sizes` {width}x{height} must have at least {_LEAST_SIDE} samples a side.")
    networks = {network.identity: network for network in map(load_model, models)}
    for network in networks.values():
        if network.config.planes != "luma":
            raise UsageError(f"`models` {network.identity} works on {network.config.planes}; give models on luma.")
    if not out.parent.is_dir():
        raise UsageError(f"the folder {out.parent} does not exist.")
    found = resolve_device(device)
    machine, done = read_outcomes(out, this_machine(found))
    bench = Bench(found, networks, data, done)
    plan = bench.plan(list(dict.fromkeys(sizes)))
    write_outcomes(out, machine, done.values())
    for number, variant in enumerate(plan, 1):
        before = done.get(variant)
        if before is None or before.state == "left out":
            done[variant] = bench.outcome(variant)
            if done[variant] != before:
                write_outcomes(out, machine, done.values())
            bench.settle(out)
        on_progress(Progress(number, len(plan), {"done": variant.label}))
    return GpuBenchmark(machine, tuple(done[variant] for variant in plan))
