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
    import os
    import shlex
    import sys

    from scene.cli.console import progress_display, setup_logging
    from scene.errors import UsageError
    from scene.evaluation.comparison.files import compare_files, open_files
    from scene.evaluation.comparison.report import json_text, results_document, table_text, write_compared
    from scene.measure.names import display_name
    from scene.video.ffmpeg import find_ffmpeg

    setup_logging(log_format)
    if not dist:
        raise UsageError("give at least one file to compare with REF; see `scene compare --help`.")
    for name, value in (("--frames", frames), ("--jobs", jobs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1.")
    reference, distorted = open_files(ref, dist)
    program = find_ffmpeg(ffmpeg)
    cores = os.cpu_count() or 1
    side_by_side = min(jobs or cores, len(distorted))
    with progress_display("compare", "files", log_format) as on_progress:
        compared = compare_files(
            *(program, reference, distorted),
            frames=frames,
            side_by_side=out is not None,
            jobs=side_by_side,
            threads=max(1, cores // side_by_side),
            on_progress=on_progress,
        )
    command = " ".join(shlex.quote(display_name(word)) for word in ["scene", *sys.argv[1:]])
    document = results_document(compared, program, command)
    print(json_text(document) if json else table_text(document), end="")
    if out is not None:
        write_compared(compared, document, out)
