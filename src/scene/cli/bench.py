"""`scene bench`: how fast this machine is at what SCENE does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts
from cyclopts import Parameter

if TYPE_CHECKING:
    from scene.benchmarks.training import TrainingBenchmark

bench = cyclopts.App(name="bench", help="Measure how fast this machine is.", help_format="markdown")


@bench.command
def training(
    config: Path,
    /,
    *,
    data: Path,
    steps: int = 30,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure training: patches a second, and where the time of a step goes.

    Parameters
    ----------
    config:
        TOML file, as for `scene train`.
    data:
        Folder of training material, as for `scene train`.
    steps:
        Steps to measure plain, and as many instrumented.
    device:
        Where to train; auto takes a GPU where there is one.
    json:
        Print one JSON object instead of a table.
    """
    import dataclasses
    from json import dumps

    from scene.benchmarks.training import bench_training
    from scene.cli.console import progress_display, setup_logging
    from scene.enhance import resolve_device
    from scene.training import read_config

    setup_logging("text")
    settings = read_config(config)
    with progress_display("bench", "batches") as on_progress:
        result = bench_training(
            settings, data, steps=steps, device=str(resolve_device(device)), on_progress=on_progress
        )
    if json:
        print(dumps(dataclasses.asdict(result)))
    else:
        _print_training(result)


@bench.command
def semantics(
    model: str = "scene",
    /,
    *,
    size: str = "1920x1080",
    encoder: str = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure what semantic embeddings cost beside the network that they condition.

    Parameters
    ----------
    model:
        A shipped model's name, or a .safetensors file.
    size:
        Of the frame, WIDTHxHEIGHT.
    encoder:
        Semantic encoder in the place of the model's own.
    device:
        Where both run; auto takes a GPU where there is one.
    json:
        Print one JSON object instead of text.
    """
    import dataclasses
    from json import dumps

    from scene.benchmarks.semantics import bench_semantics
    from scene.errors import UsageError
    from scene.model import load_model

    width, cross, height = size.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and 0 < int(width) <= 8192 and 0 < int(height) <= 8192):
        raise UsageError(f"--size {size!r} must be WIDTHxHEIGHT, each from 1 to 8192.")
    result = bench_semantics(load_model(model), width=int(width), height=int(height), semantics=encoder, device=device)
    if json:
        print(dumps(dataclasses.asdict(result)))
        return
    print(f"{size}, {result.device}, {result.threads} threads, medians")
    print(f"encoder {result.encoder}, {result.parameters:,} parameters")
    print(f"  {1000 * result.encoder_s:.1f} ms a frame from RGB, {1000 * result.embedding_s:.1f} ms from 8-bit 4:2:0")
    print(f"model {result.model}: {1000 * result.frame_s:.1f} ms a frame")
    print(f"embeddings every {result.interval} frames take {100 * result.share:.2f} % of the time")


def _print_training(result: TrainingBenchmark) -> None:
    from rich.console import Console
    from rich.table import Table

    parts = Table(box=None)
    parts.add_column("part")
    for column in ("forward ms", "backward ms", "share %"):
        parts.add_column(column, justify="right")
    for part in result.parts:
        milliseconds = (f"{1000 * s:.1f}" for s in (part.forward_s, part.backward_s))
        parts.add_row(part.name, *milliseconds, f"{100 * part.share:.1f}")
    limit, loader = result.limit, result.loader
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{result.patches_per_second:.1f} patches/s"
        f" ({result.batch} x {result.crop} x {result.crop}, {result.precision}, {result.device})"
    )
    console.print(
        f"step: median {1000 * result.step_s:.1f} ms, {result.steps} in {result.total_s:.1f} s;"
        f" instrumented: median {1000 * result.instrumented_step_s:.1f} ms, {100 * result.overhead:+.1f} % in total"
    )
    console.print(
        f"loader alone: {loader.samples_per_second:.1f} samples/s, {100 * loader.first_seen:.0f} % seen first"
        f" ({100 * result.first_seen:.0f} % in the steps), workers: {result.workers}"
    )
    console.print(
        f"network alone: {1000 * limit.network_s:.1f} ms, {limit.ratio:.2f} times plain convolutions of its shapes"
        f" ({1000 * limit.convolutions_s:.1f} ms, {limit.patches_per_second:.1f} patches/s,"
        f" {limit.gmac_per_patch:.3f} GMAC a patch forward)"
    )
    console.print(parts)
