"""`scene search`: the CRF that reaches a quality, with enhancement and without."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from scene.cli.console import LogFormat
from scene.options import EnhanceOptions
from scene.video.encoders import DEFAULT_ENCODER
from scene.video.encoders.settings import EncoderSettings, TrialCodecName


def search(
    src: Path,
    *,
    target: Annotated[tuple[str, ...], Parameter(negative="")],
    max_kbps: float | None = None,
    codec: TrialCodecName = DEFAULT_ENCODER,
    preset: str | None = None,
    encoder_args: str = "",
    enhancement: Annotated[EnhanceOptions, Parameter(name="*")] = EnhanceOptions(),  # noqa: B008
    samples: int | None = None,
    sample_seconds: float = 3.0,
    best_effort: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Find the CRF that reaches a quality, with enhancement and without, by encodes of samples.

    Prints a table, what enhancement saves at equal quality, and the `scene encode` command that does it. Where no CRF
    meets all demands, the exit code is 5.

    Args:
        src: Video file to read.
        target: Score to reach, as METRIC=VALUE: vmaf, vmaf-neg, vmaf-v1, ms-ssim, psnr-y or xpsnr-y. May be given more
            than once; all must hold.
        max_kbps: Bound on the rate of the video stream in kbit/s.
        codec: Encoder.
        preset: Speed preset of the encoder. By default medium, with svtav1 6.
        encoder_args: The encoder's own parameters, as key=value:key=value.
        samples: How many samples to encode. By default 8, one for five minutes in a video of more than 40 minutes.
        sample_seconds: Length of each. A video that is not much longer than its samples is encoded whole.
        best_effort: Where no CRF meets all demands, give the nearest one with a warning.
        json: Print JSON instead of the table.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import progress_display, setup_logging

    setup_logging(log_format)

    import scene
    from scene.cli.search_report import json_text, table_text
    from scene.metrics.targets import parse_target

    request = scene.SearchRequest(
        source=src,
        targets=tuple(parse_target(text) for text in target),
        max_kbps=max_kbps,
        settings=EncoderSettings(codec, preset=preset, encoder_args=encoder_args),
        enhancement=enhancement,
        samples=samples,
        sample_seconds=sample_seconds,
        best_effort=best_effort,
    )
    with progress_display("search", "samples", log_format) as on_progress:
        result = scene.search(request, on_progress)
    print(json_text(request, result) if json else table_text(request, result), end="")
