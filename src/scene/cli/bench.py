"""`scene bench`: how fast this machine is at what SCENE does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from scene.options import DEFAULT_MODEL
from scene.video.encoders import DEFAULT_ENCODER
from scene.video.encoders.settings import EncoderSettings, QuantiserCodecName, TrialCodecName

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
    from scene.cli.bench_report import print_training
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
        print_training(result)


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
    from scene.cli.bench_report import print_encode
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
        print_encode(result)


@bench.command
def enhance(
    *,
    models: str = "scene-fast,scene-lite",
    sizes: str = "720p,1080p",
    codec: QuantiserCodecName = DEFAULT_ENCODER,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    frames: int = 24,
    turns: int = 3,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure enhancement alone: the filter along the motion, the model, and both, without an encoder.

    Parameters
    ----------
    models:
        Shipped models' names, or .safetensors files, with commas between.
    sizes:
        Of the pictures, with commas between: 480p, 720p, 1080p, or WIDTHxHEIGHT.
    codec:
        Encoder for which the model is meant.
    device:
        Where the model runs; auto takes a GPU where there is one.
    frames:
        Of the clip, which is made.
    turns:
        Of each measurement, of which the best counts.
    json:
        Print one JSON object instead of a table.
    """
    import dataclasses
    from json import dumps

    from scene.benchmarks.encode import SIZES
    from scene.benchmarks.enhance import bench_enhance
    from scene.cli.bench_report import print_enhance
    from scene.cli.console import progress_display, setup_logging
    from scene.options import EnhanceOptions

    setup_logging("text")
    wanted = [SIZES.get(word) or _size(word, "--sizes") for word in sizes.split(",")]
    with progress_display("bench", "measurements") as on_progress:
        result = bench_enhance(
            EnhanceOptions(device=device),
            models.split(","),
            wanted,
            codec=codec,
            frames=frames,
            turns=turns,
            on_progress=on_progress,
        )
    if json:
        print(dumps({"speeds": [dataclasses.asdict(speed) for speed in result]}))
    else:
        print_enhance(result)


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
    from scene.cli.bench_report import print_cost
    from scene.cli.console import progress_display, setup_logging
    from scene.files import write_atomically

    setup_logging("text")
    out.mkdir(parents=True, exist_ok=True)
    with progress_display("bench", "encodes") as on_progress:
        costs = bench_cost(results, clips, on_progress=on_progress)
    measured = {"format": 1, "clips": [clip.name for clip in clips], "costs": [dataclasses.asdict(c) for c in costs]}
    document = dumps(measured, indent=1)
    write_atomically(out / "cost.json", document + "\n")
    draw(costs, out / "cost.png")
    if json:
        print(document)
    else:
        print_cost(costs)


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
def runtimes(
    *,
    models: str = "asconvsr,scene",
    size: str = "1280x720",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure networks in torch and OpenVINO, in float32 and bfloat16, and remember the fastest for --runtime auto.

    Each is held against torch in float32, and against a large matrix product of its own precision. Takes half a minute,
    and longer where a graph for OpenVINO must be made. Nothing else should run.

    Parameters
    ----------
    models:
        Shipped models' names, or .safetensors files, with commas between.
    size:
        Of the pictures, as WIDTHxHEIGHT.
    json:
        Print one JSON object instead of a table.
    """
    import dataclasses
    from json import dumps

    from scene.benchmarks.runtimes import bench_runtimes
    from scene.cli.bench_report import print_runtimes
    from scene.cli.console import progress_display, setup_logging

    setup_logging("text")
    with progress_display("bench", "models") as on_progress:
        result = bench_runtimes(models.split(","), _size(size, "--size"), on_progress=on_progress)
    if json:
        print(dumps(dataclasses.asdict(result), default=str))
    else:
        print_runtimes(result)


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
