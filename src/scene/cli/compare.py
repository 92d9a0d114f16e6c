"""`scene compare`: the measurements of an evaluation for files that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from scene.cli.console import LogFormat


def compare(
    ref: Path,
    /,
    *dist: Path,
    frames: int | None = None,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    ffmpeg: Path | None = None,
    jobs: int | None = None,
    log_format: LogFormat = "text",
) -> None:
    """Measure encoded files against their source: VMAF, VMAF NEG, VMAF v1, MS-SSIM, PSNR, XPSNR, CAMBI, flicker.

    Prints a table. Frames are matched by number and counted; a file with another number of frames is an error.

    Parameters
    ----------
    ref
        The unprocessed source.
    dist
        Encodes of it, in any container and codec, of the source's size.
    frames
        Compare only the first so many frames.
    out
        Folder for results.json, frames.json, table.md and report.html.
    json
        Print results.json instead of the table.
    ffmpeg
        The ffmpeg program, with libvmaf. Default: $SCENE_FFMPEG, else the one that imageio-ffmpeg carries.
    jobs
        Files compared side by side. Default: the number of cores.
    log_format
        What standard error gets: text, or one JSON object a line.
    """
    from scene.cli.console import command_line, progress_display, setup_logging
    from scene.cli.results_report import print_results
    from scene.evaluation.compare import compare as run_comparison
    from scene.evaluation.output import write_comparison
    from scene.evaluation.report.results import json_text
    from scene.evaluation.requests import CompareRequest

    setup_logging(log_format)
    request = CompareRequest(
        *(ref, dist),
        frames=frames,
        side_by_side=out is not None,
        jobs=jobs,
        ffmpeg=ffmpeg,
        command=command_line(),
    )
    with progress_display("compare", "files", log_format) as on_progress:
        result = run_comparison(request, on_progress)
    if json:
        print(json_text(result.results), end="")
    else:
        print_results(result.results, out)
    if out is not None:
        write_comparison(result, out)
