"""`scene evaluate`: rate-distortion curves and BD-rates of pre-processing methods."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from scene.cli.console import LogFormat


def evaluate(
    *clips: Path,
    models: str = "none,contrast,unsharp,asconvsr,scene",
    codecs: str = "x264,x265",
    crf: str | None = None,
    crf_svtav1: str | None = None,
    preset: str | None = None,
    frames: int | None = None,
    halve_above: int | None = None,
    strength: float = 1.0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    jobs: int | None = None,
    cache: Path | None = None,
    ffmpeg: Path | None = None,
    out: Path = Path("scene-evaluation"),
    log_format: LogFormat = "text",
) -> None:
    """Encode clips with and without pre-processing, measure them, and compare by BD-rate.

    Writes results.json, table.md and plots/ into --out and prints the table. Measured points are kept in a
    cache, so that a second call is instant and an interrupted one goes on.

    Parameters
    ----------
    clips
        Video files.
    models
        Methods, separated by commas: none (always included), contrast[:FACTOR], unsharp[:AMOUNT], a shipped
        model, or a .safetensors file.
    codecs
        Encoders, separated by commas: x264, x265, svtav1.
    crf
        CRFs for all codecs, separated by commas; four at least for a BD-rate. Default: 18,22,26,30,34,38,42,
        and 20,27,34,41,48,55,63 for svtav1.
    crf_svtav1
        CRFs for svtav1 alone, whose scale is another.
    preset
        Encoder preset, for all codecs, or one for each as x264=medium,svtav1=6. Default: medium, medium, 6.
    frames
        Measure only the first so many frames of each clip.
    halve_above
        Halve clips that have more lines than this in both directions first, to get a clean reference.
    strength
        How much of a network's change to apply; 1 is all of it.
    device
        Where networks run.
    jobs
        Points measured side by side. Default: the number of cores.
    cache
        Folder of measured points. Default: $XDG_CACHE_HOME/scene or ~/.cache/scene.
    ffmpeg
        The ffmpeg program, with libvmaf. Default: $SCENE_FFMPEG, else the one that imageio-ffmpeg carries.
    out
        Folder for the results.
    log_format
        What standard error gets: text, or one JSON object a line.
    """
    import os
    import shlex
    import sys

    from scene.cli.console import progress_display, setup_logging
    from scene.errors import SceneError, UsageError
    from scene.evaluation.cache import PointCache, default_cache_folder
    from scene.evaluation.clip import Recipe, open_clips
    from scene.evaluation.codecs import codec_run
    from scene.evaluation.grid import Grid, measure_grid
    from scene.evaluation.methods import parse_methods
    from scene.evaluation.names import printable
    from scene.evaluation.output import write_report
    from scene.evaluation.results import make_report
    from scene.evaluation.table import table_markdown
    from scene.video.ffmpeg import find_ffmpeg

    setup_logging(log_format)
    if not clips:
        raise UsageError("give at least one clip; see `scene evaluate --help`.")
    for name, value in (("--frames", frames), ("--halve-above", halve_above), ("--jobs", jobs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1.")
    names = _words(codecs)
    presets = _presets(preset, names)
    runs = tuple(
        codec_run(
            name,
            preset=presets.get(name),
            crfs=_numbers((crf_svtav1 if name == "svtav1" else None) or crf),
        )
        for name in names
    )
    if not runs:
        raise UsageError("give at least one codec.")
    methods = parse_methods(_words(models), strength=strength)
    grid = Grid(open_clips(list(clips)), Recipe(frames, halve_above), methods, runs)
    program = find_ffmpeg(ffmpeg)
    cores = os.cpu_count() or 1
    side_by_side = jobs or cores
    with progress_display("evaluate", "points", log_format) as on_progress:
        measured = measure_grid(
            *(grid, program, PointCache(cache or default_cache_folder())),
            jobs=side_by_side,
            threads=max(1, cores // side_by_side),
            device=device,
            on_progress=on_progress,
        )
    command = " ".join(shlex.quote(printable(word)) for word in ["scene", *sys.argv[1:]])
    report = make_report(grid, measured, program, command=command)
    write_report(report, out)
    print(table_markdown(report), end="")
    if measured.failures:
        raise SceneError(
            f"{len(measured.failures)} of {len(measured.failures) + len(measured.points)} points could not "
            f"be measured (reasons in {out / 'results.json'}); the rest is there, run again to retry them"
        )


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def _numbers(text: str | None) -> tuple[float, ...] | None:
    from scene.errors import UsageError

    if text is None:
        return None
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of CRFs; give numbers separated by commas.") from error


def _presets(text: str | None, codecs: list[str]) -> dict[str, str]:
    """Presets by codec, of `medium` or of `x264=slow,svtav1=6`."""
    from scene.errors import UsageError

    if text is None:
        return {}
    if "=" not in text:
        return dict.fromkeys(codecs, text)
    presets = dict(word.partition("=")[::2] for word in _words(text))
    unknown = sorted(set(presets) - set(codecs))
    if unknown:
        raise UsageError(f"--preset names {unknown[0]!r}, which is not among the codecs.")
    return presets
