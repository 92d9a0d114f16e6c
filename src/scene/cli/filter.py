"""`scene filter`: enhance frames between two programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from scene.cli.console import LogFormat
from scene.options import EnhanceOptions
from scene.video.encoders import DEFAULT_ENCODER
from scene.video.encoders.settings import QuantiserCodecName


def filter(
    source: Annotated[Path, Parameter(name="IN", allow_leading_hyphen=True)],
    destination: Annotated[Path, Parameter(name="OUT", allow_leading_hyphen=True)],
    /,
    *,
    codec: QuantiserCodecName = DEFAULT_ENCODER,
    crf: float | None = None,
    enhancement: Annotated[EnhanceOptions, Parameter(name="*")] = EnhanceOptions(),  # noqa: B008
    format: Literal["y4m", "nut"] | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    latency: float | None = None,
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Enhance frames between two programs: YUV4MPEG2 (y4m) or nut in and out.

    For example: ffmpeg -i in.mkv -f yuv4mpegpipe - | scene filter - - --crf 24 | x264 --demuxer y4m --crf 24 -o out -

    Args:
        source: What to read: - for y4m or nut on standard input, a named pipe with either, or any video file.
        destination: Where to write: - for standard output, a named pipe, or a file that ends in .y4m or .nut.
        codec: The encoder that takes the frames afterwards.
        crf: The constant rate factor that this encoder is given, a QP with vvenc. Models that are conditioned on how
            coarsely it will quantise, as the shipped ones are, need it.
        format: What a pipe gets. By default what came in, y4m for other files.
        on_error: What to do where the source is damaged or cut short: fail, or skip it with a warning.
        latency: The longest that a frame may wait to be enhanced, in seconds; then it passes through unchanged, and is
            counted. By default frames take as long as they take.
        overwrite: Replace OUT if it is a file that exists.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import announce, progress_display, setup_logging

    setup_logging(log_format)

    import scene

    request = scene.FilterRequest(
        source=source,
        destination=destination,
        enhancement=enhancement,
        codec=codec,
        crf=crf,
        kind=format,
        overwrite=overwrite,
        skip_damage=on_error == "skip",
        latency=latency,
    )
    with progress_display("filter", "frames", log_format) as on_progress:
        result = scene.filter(request, on_progress)
    passed = f", {result.passed} passed through" if latency is not None else ""
    damage = f", {result.damage} damaged places" if result.damage else ""
    announce(
        f"{result.frames} frames in {result.seconds:.1f} s ({result.frames / result.seconds:.2f} fps), "
        f"model {result.model}{passed}{damage}",
        asdict(result),
    )
