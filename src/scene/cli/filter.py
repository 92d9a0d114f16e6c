"""`scene filter`: enhance frames between two programs."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def filter(
    source: Annotated[Path, Parameter(name="IN", allow_leading_hyphen=True)],
    destination: Annotated[Path, Parameter(name="OUT", allow_leading_hyphen=True)],
    /,
    *,
    codec: Literal["x264", "x265", "svtav1", "vvenc"] = "x264",
    crf: float | None = None,
    model: str = "scene",
    strength: float = 1.0,
    semantics: str = "auto",
    semantic_interval: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    format: Literal["y4m", "nut"] | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    log_format: Literal["text", "json"] = "text",
) -> None:
    """Enhance frames between two programs: YUV4MPEG2 (y4m) or nut in and out.

    For example: ffmpeg -i in.mkv -f yuv4mpegpipe - | scene filter - - --crf 24 | x264 --demuxer y4m --crf 24 -o out -

    Args:
        source: What to read: - for y4m or nut on standard input, a named pipe with either, or any video file.
        destination: Where to write: - for standard output, a named pipe, or a file that ends in .y4m or .nut.
        codec: The encoder that takes the frames afterwards.
        crf: The constant rate factor that this encoder is given, a QP with vvenc. Models that are told how coarsely
            it will quantise, as the shipped ones are, need it.
        model: Name of a shipped model (see `scene models`), a .safetensors file, or none to change nothing.
        strength: How much of the model's change to apply; 0 changes nothing.
        semantics: What steers a model that takes semantic embeddings: auto for the encoder it was trained with, the
            name, file or folder of another, or a control: none, constant, random, shuffled.
        semantic_interval: Frames between two embeddings within a shot; 0 for one a shot.
        device: Where the model runs.
        format: What a pipe gets. By default what came in, y4m for other files.
        on_error: What to do where the source is damaged or cut short: fail, or skip it with a warning.
        overwrite: Replace OUT if it is a file that exists.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import announce, progress_display, setup_logging

    setup_logging(log_format)
    # As for `scene encode`: threads of torch that wait by spinning take the cores from the encoder that follows.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from scene.jobs import Enhancement, FilterRequest, filter_frames

    request = FilterRequest(
        source=source,
        destination=destination,
        enhancement=Enhancement(model, strength, semantics, semantic_interval, device),
        codec=codec,
        crf=crf,
        kind=format,
        overwrite=overwrite,
        skip_damage=on_error == "skip",
    )
    with progress_display("filter", "frames", log_format) as on_progress:
        result = filter_frames(request, on_progress)
    damage = f", {result.damage} damaged places" if result.damage else ""
    announce(
        f"{result.frames} frames in {result.seconds:.1f} s ({result.frames / result.seconds:.2f} fps), "
        f"model {result.model}{damage}",
        asdict(result),
    )
