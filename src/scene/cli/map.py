"""`scene map`: where it matters, over the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from scene.cli.console import LogFormat
from scene.options import LOOK_EVERY


def map(
    source: Path,
    *,
    out: Path = Path("scene-map"),
    semantics: str | None = None,
    interval: int = LOOK_EVERY,
    every: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    log_format: LogFormat = "text",
) -> None:
    """Draw what a semantic encoder takes for important over a video or a photograph.

    Writes pictures and, of a video, NAME.map.mkv: masks that `scene encode --focus-map` and `scene evaluate --regions`
    take. Prints the names of the files.

    Parameters
    ----------
    source
        A video, or a photograph (.jpg, .png, .webp, .bmp or .tiff).
    out
        Folder for the files.
    semantics
        Semantic encoder: a shipped one's name, a file, or a SigLIP 2 checkpoint by folder or hub id. Default: the
        shipped one.
    interval
        Frames between two looks of the encoder within a shot, between which the map follows the motion; 0 for one a
        shot.
    every
        Frames from one picture to the next. Default: as many as a second has.
    device
        Where the encoder runs.
    log_format
        What standard error gets: text, or one JSON object a line.
    """
    from scene.cli.console import printable, progress_display, setup_logging
    from scene.mapping.run import MapRequest, draw_map

    setup_logging(log_format)
    request = MapRequest(source, out, semantics, interval, every, device)
    with progress_display("map", "frames", log_format) as on_progress:
        files = draw_map(request, on_progress)
    for path in files:
        print(printable(str(path)))
