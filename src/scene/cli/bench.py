"""`scene bench`: how fast this machine is at what SCENE does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts
from cyclopts import Parameter

from scene.options import DEFAULT_MODEL
from scene.video.encoders import DEFAULT_ENCODER
from scene.video.encoders.settings import EncoderSettings, TrialCodecName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scene.benchmarks.cost import Cost
    from scene.benchmarks.encode import EncodeBenchmark
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
def encode(
    *,
    sizes: str = "480p,720p,1080p",
    codec: TrialCodecName = DEFAULT_ENCODER,
    crf: float | None = None,
    preset: str | None = None,
    model: str = DEFAULT_MODEL,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    frames: int = 48,
    turns: int = 3,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure encoding: frames a second and memory, with the model and without, by turns.

    Takes some minutes where the model runs on a CPU. The clip is made, and uncompressed.

    Parameters
    ----------
    sizes:
        Of the pictures, with commas between: 480p, 720p, 1080p, or WIDTHxHEIGHT.
    codec:
        Encoder.
    crf:
        Constant rate factor; by default that of scene encode.
    preset:
        Speed preset of the encoder; by default that of scene encode.
    model:
        A shipped model's name, or a .safetensors file.
    device:
        Where the model runs; auto takes a GPU where there is one.
    frames:
        Of each encode.
    turns:
        Encodes of a size with the model, and as many without.
    json:
        Print one JSON object instead of a table.
    """
    import dataclasses
    from json import dumps

    from scene.benchmarks.encode import SIZES, bench_encode
    from scene.cli.console import progress_display, setup_logging
    from scene.options import EnhanceOptions

    setup_logging("text")
    wanted = [SIZES.get(word) or _size(word, "--sizes") for word in sizes.split(",")]
    settings = EncoderSettings(codec, crf, preset)
    with progress_display("bench", "encodes") as on_progress:
        result = bench_encode(
            *(settings, EnhanceOptions(model=model, device=device)),
            sizes=wanted,
            frames=frames,
            turns=turns,
            on_progress=on_progress,
        )
    if json:
        print(dumps(dataclasses.asdict(result)))
    else:
        _print_encode(result)


@bench.command
def cost(
    results: Path,
    /,
    *clips: Path,
    out: Path,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure what savings cost: processor time of an evaluation's encodes, beside their BD-rates.

    Writes cost.json and cost.png. A clip takes about as long as all its encodes with one CRF.

    Parameters
    ----------
    results:
        results.json of scene evaluate.
    clips:
        Clips of that evaluation: all, or some for the processor time.
    out:
        Folder to write to.
    json:
        Print one JSON object instead of a table.
    """
    import dataclasses
    from json import dumps

    from scene.benchmarks.cost import bench_cost
    from scene.benchmarks.cost_figure import draw
    from scene.cli.console import progress_display, setup_logging
    from scene.files import write_atomically

    setup_logging("text")
    out.mkdir(parents=True, exist_ok=True)
    with progress_display("bench", "encodes") as on_progress:
        costs = bench_cost(results, clips, on_progress=on_progress)
    document = dumps({"format": 1, "costs": [dataclasses.asdict(one) for one in costs]}, indent=1)
    write_atomically(out / "cost.json", document + "\n")
    draw(costs, out / "cost.png")
    if json:
        print(document)
    else:
        _print_cost(costs)


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
    from scene.model import load_model

    width, height = _size(size, "--size")
    result = bench_semantics(load_model(model), width=width, height=height, semantics=encoder, device=device)
    if json:
        print(dumps(dataclasses.asdict(result)))
        return
    print(f"{size}, {result.device}, {result.threads} threads, medians")
    print(f"encoder {result.encoder}, {result.parameters:,} parameters")
    print(f"  {1000 * result.encoder_s:.1f} ms a frame from RGB, {1000 * result.embedding_s:.1f} ms from 8-bit 4:2:0")
    print(f"model {result.model}: {1000 * result.frame_s:.1f} ms a frame")
    print(f"embeddings every {result.interval} frames take {100 * result.share:.2f} % of the time")


@bench.command
def gpu(
    *,
    out: Path,
    models: str = "scene,asconvsr,scene-lite",
    sizes: str = "720p,1080p,2160p",
    data: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "cuda",
) -> None:
    """Measure a GPU: its own limits, the networks in every form, whole enhancements, SigLIP 2, training.

    Takes many minutes. What the file has is not measured again, so the same command goes on where it was ended. Needs
    no PyAV.

    Parameters
    ----------
    out:
        JSON file, written after every variant; gone on with if it is of the same card and torch.
    models:
        Shipped models' names, or .safetensors files, with commas between.
    sizes:
        Of the pictures, with commas between: 720p, 1080p, 2160p, or WIDTHxHEIGHT.
    data:
        Folder of training material, as for scene train; without it training is not measured.
    device:
        Where to measure; on a CPU what needs a GPU is left out.
    """
    from scene.benchmarks.gpu import bench_gpu
    from scene.benchmarks.gpu.run import SIZES
    from scene.cli.console import progress_display, setup_logging
    from scene.cli.gpu_report import print_gpu

    setup_logging("text")
    wanted = [SIZES.get(word) or _size(word, "--sizes") for word in sizes.split(",")]
    with progress_display("bench", "variants") as on_progress:
        result = bench_gpu(
            out, models=models.split(","), sizes=wanted, data=data, device=device, on_progress=on_progress
        )
    print_gpu(result)


def _size(text: str, option: str) -> tuple[int, int]:
    from scene.errors import UsageError

    match = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", text)
    width, height = (int(side) for side in match.groups()) if match else (0, 0)
    if not (0 < width <= 8192 and 0 < height <= 8192):
        raise UsageError(f"{option} {text!r} must be WIDTHxHEIGHT, each from 1 to 8192.")
    return width, height


def _print_cost(costs: Sequence[Cost]) -> None:
    from scene.evaluation.report.markdown import markdown_lines
    from scene.metrics.scores import METRICS

    titles = {metric.name: metric.title for metric in METRICS}
    shown = list(costs[0].percent) if costs else []
    rows = [["Against", "Encoder", "Before it", "ms a frame", "times", *(titles[name] for name in shown)]]
    for cost in costs:
        percents = ("N/A" if cost.percent[name] is None else f"{cost.percent[name]:+.1f}" for name in shown)
        rows.append([cost.anchor, cost.codec, cost.method, f"{1000 * cost.cpu_s:.1f}", f"{cost.ratio:.2f}", *percents])
    print("\n".join(markdown_lines(rows, words=3)))


def _print_encode(result: EncodeBenchmark) -> None:
    print(
        f"{result.codec} {result.preset}, CRF {result.crf:g}; {result.model} on {result.device},"
        f" {result.threads} threads; {result.frames} frames, medians of {result.turns}"
    )
    print("size       frames/s  with model   ratio  start s  with model  memory MB  with model")
    for size in result.sizes:
        plain, made = size.plain, size.enhanced
        print(
            f"{f'{size.width}x{size.height}':9}  {plain.fps:8.1f}  {made.fps:10.1f}  {size.ratio:6.3f}"
            f"  {plain.start_s:7.1f}  {made.start_s:10.1f}  {plain.memory / 1e6:9.0f}  {made.memory / 1e6:10.0f}"
        )


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
    # As wide as it needs: on a narrow terminal rich would cut names.
    console = Console(soft_wrap=True, highlight=False, width=200)
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
