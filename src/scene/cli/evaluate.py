"""`scene evaluate`: rate-distortion curves and BD-rates of pre-processing methods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from scene.cli.console import LogFormat

if TYPE_CHECKING:
    from scene.evaluation.grid.protocol import Protocol
    from scene.measure.clip import Recipe
    from scene.measure.encode import CodecRun

_METHODS = "none,contrast,unsharp,asconvsr,scene"
_CODECS = "x264,x265"


def evaluate(
    *clips: Path,
    protocol: Path | None = None,
    data: Path | None = None,
    models: str | None = None,
    filters: Annotated[list[str] | None, Parameter(name="--filter", negative=())] = None,
    against: str | None = None,
    codecs: str | None = None,
    crf: str | None = None,
    crf_svtav1: str | None = None,
    preset: str | None = None,
    frames: int | None = None,
    halve_above: int | None = None,
    strength: float = 1.0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    jobs: int | None = None,
    ray: str | None = None,
    cache: Path | None = None,
    ffmpeg: Path | None = None,
    out: Path = Path("scene-evaluation"),
    log_format: LogFormat = "text",
) -> None:
    """Encode clips with and without pre-processing, measure them, and compare by BD-rate.

    Writes results.json, frames.json, table.md, plots/ and report.html into --out and prints the table. Measured
    points are kept in a cache, so that a second call is instant and an interrupted one goes on.

    Parameters
    ----------
    clips
        Video files; also raw .yuv files whose names say what they hold, like NAME_1920x1080_50fps_420_8bit_YUV.yuv.
    protocol
        TOML file that says which clips, methods, codecs and frames; configs/evaluate-*.toml are those of this
        project. Clips and options that are given here count in its place.
    data
        Folder with the protocol's clips.
    models
        Methods, separated by commas: none (always included), contrast[:FACTOR], unsharp[:AMOUNT], contrast:tuned and
        unsharp:tuned (the best setting for VMAF, found on these clips), svtav1:vmaf (SVT-AV1's own tune), a shipped
        model[:STRENGTH], or a .safetensors file. Default: none,contrast,unsharp,asconvsr,scene.
    filters
        A further method, NAME=PROGRAM ARGUMENTS: a program that reads YUV4MPEG2 on standard input and writes it on
        standard output; as often as needed.
    against
        Give BD-rates against this method too, not only against none.
    codecs
        Encoders, separated by commas: x264, x265, svtav1, vvenc. Default: x264,x265.
    crf
        CRFs for all codecs, separated by commas; four at least for a BD-rate. Default: 18,22,26,30,34,38,42,
        20,27,34,41,48,55,63 for svtav1, and for vvenc the QPs 22,27,32,37,42,47.
    crf_svtav1
        CRFs for svtav1 alone, whose scale is another.
    preset
        Encoder preset, for all codecs, or one for each as x264=medium,svtav1=6. Default: medium, 6 for svtav1,
        faster for vvenc.
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
    ray
        Measure through Ray: auto (on this machine, or on the cluster of $RAY_ADDRESS), or a cluster's address.
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
    from scene.evaluation.grid.grid import Grid, measure_grid
    from scene.evaluation.grid.methods import methods_for, parse_methods
    from scene.evaluation.grid.protocol import read_protocol
    from scene.evaluation.output import write_html, write_report
    from scene.evaluation.report.results import make_report
    from scene.evaluation.report.tables import table_markdown
    from scene.evaluation.tuning import is_tuned, place_tuned, tune
    from scene.evaluation.visuals import make_slides
    from scene.measure.cache import PointCache, default_cache_folder
    from scene.measure.clip import open_clips
    from scene.measure.names import printable
    from scene.video.ffmpeg import find_ffmpeg

    setup_logging(log_format)
    for name, value in (("--frames", frames), ("--halve-above", halve_above), ("--jobs", jobs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1.")
    plan = None if protocol is None else read_protocol(protocol)
    paths = _paths(clips, plan, data)
    runs = _runs(codecs, crf, crf_svtav1, preset, plan)
    names = _names(models, plan, runs)
    methods = parse_methods([n for n in names if not is_tuned(n)], strength=strength, filters=filters or ())
    methods = methods_for(methods, [run.codec.name for run in runs])
    labels = [method.label for method in methods[1:]] + [name for name in names if is_tuned(name)]
    if against is not None and against not in labels:
        raise UsageError(f"--against {printable(against)!r} is not among the methods: {', '.join(labels)}.")
    recipe = _recipe(frames, halve_above, plan)
    opened = open_clips(paths)
    program = find_ffmpeg(ffmpeg)
    store = PointCache(cache or default_cache_folder())
    cores = os.cpu_count() or 1
    side_by_side = jobs or cores
    threads = max(1, cores // side_by_side)
    if any(map(is_tuned, names)):
        with progress_display("tune", "points", log_format) as on_progress:
            tuned = tune(
                *(names, opened, recipe, runs, program, store),
                jobs=side_by_side,
                threads=threads,
                ray=ray,
                on_progress=on_progress,
            )
        methods = place_tuned(names, methods, tuned)
    grid = Grid(opened, recipe, methods, runs)
    with progress_display("evaluate", "points", log_format) as on_progress:
        measured = measure_grid(
            *(grid, program, store),
            jobs=side_by_side,
            threads=threads,
            device=device,
            ray=ray,
            on_progress=on_progress,
        )
    command = " ".join(shlex.quote(printable(word)) for word in ["scene", *sys.argv[1:]])
    report = make_report(grid, measured, program, command=command, against=against)
    write_report(report, out)
    with progress_display("report", "slides", log_format) as on_progress:
        slides = make_slides(*(report, program), cache=store, device=device, jobs=side_by_side, on_progress=on_progress)
    write_html(report, slides, out)
    print(table_markdown(report), end="")
    if measured.failures:
        raise SceneError(
            f"{len(measured.failures)} of {len(measured.failures) + len(measured.points)} points could not "
            f"be measured (reasons in {out / 'results.json'}); the rest is there, run again to retry them"
        )


def _paths(clips: tuple[Path, ...], plan: Protocol | None, data: Path | None) -> list[Path]:
    """The clips of the command line, else those of the protocol."""
    from scene.errors import UsageError
    from scene.evaluation.grid.protocol import find_clips

    if data is not None and plan is None:
        raise UsageError("--data is the folder of a protocol's clips; give --protocol, or clips alone.")
    if data is not None and clips:
        raise UsageError("give clips or --data, not both.")
    if clips:
        return list(clips)
    if plan is None:
        raise UsageError("give at least one clip; see `scene evaluate --help`.")
    if data is None:
        raise UsageError(f"give {plan.clips.title} with --data FOLDER, or other clips; {plan.clips.source}.")
    return find_clips(plan.clips, data)


def _runs(
    codecs: str | None, crf: str | None, crf_svtav1: str | None, preset: str | None, plan: Protocol | None
) -> tuple[CodecRun, ...]:
    """The codecs with their settings: the command line's, else the protocol's, else the codec's own."""
    from scene.errors import UsageError
    from scene.measure.encode import codec_run

    planned = {} if plan is None else {run.codec.name: run for run in plan.codecs}
    names = _words(codecs if codecs is not None else ",".join(planned) or _CODECS)
    presets = _presets(preset, names)
    if not names:
        raise UsageError("give at least one codec.")
    runs = []
    for name in names:
        settled = planned.get(name)
        crfs = _numbers((crf_svtav1 if name == "svtav1" else None) or crf)
        runs.append(
            codec_run(
                name,
                preset=presets.get(name, settled.preset if settled else None),
                crfs=settled.crfs if settled and crfs is None else crfs,
                encoder_args=settled.encoder_args if settled else None,
            )
        )
    return tuple(runs)


def _names(models: str | None, plan: Protocol | None, runs: tuple[CodecRun, ...]) -> list[str]:
    """The methods of the command line, else those of the protocol that the codecs can be measured with."""
    import logging

    from scene.evaluation.grid.methods import SVTAV1_VMAF, has_vmaf_tune
    from scene.video.encoders.encoder_process import encoder_version

    if models is not None or plan is None:
        return _words(_METHODS if models is None else models)
    served = SVTAV1_VMAF.label in plan.methods and any(SVTAV1_VMAF.serves(run.codec.name) for run in runs)
    if served and not has_vmaf_tune(version := encoder_version("svtav1")):
        served = False
        logging.getLogger(__name__).warning("SVT-AV1 %s has no tune for VMAF: svtav1:vmaf is left out.", version)
    return [name for name in plan.methods if served or name != SVTAV1_VMAF.label]


def _recipe(frames: int | None, halve_above: int | None, plan: Protocol | None) -> Recipe:
    from scene.measure.clip import Recipe

    settled = Recipe() if plan is None else plan.recipe
    return Recipe(
        settled.frames if frames is None else frames,
        settled.halve_above if halve_above is None else halve_above,
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
