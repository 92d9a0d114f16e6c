"""`scene evaluate`: rate-distortion curves and BD-rates of pre-processing methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from scene.cli.console import LogFormat


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
    regions: Path | None = None,
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
        model[:STRENGTH], or a .safetensors file; x264:tune=ssim is an encoder with other parameters, and
        METHOD+x264:tune=ssim another method before it. Default: none,contrast,unsharp,asconvsr,scene,scene-lite.
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
    regions
        Folder of masks, videos named as the clips (white where it matters): PSNR and SSIM are also measured inside and
        outside of them.
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
    from functools import partial

    from scene.cli.console import command_line, progress_display, setup_logging
    from scene.cli.results_report import print_results
    from scene.errors import SceneError
    from scene.evaluation.evaluate import evaluate as run_evaluation
    from scene.evaluation.report.results import results_document
    from scene.evaluation.requests import EvaluationRequest
    from scene.video.encoders.svtav1 import SvtAv1

    setup_logging(log_format)
    by_codec, for_all = _presets(preset)
    request = EvaluationRequest(
        clips=clips,
        protocol=protocol,
        data=data,
        models=None if models is None else _words(models),
        filters=tuple(filters or ()),
        against=against,
        codecs=None if codecs is None else _words(codecs),
        crf=_numbers(crf),
        crf_by_codec={} if crf_svtav1 is None else {SvtAv1.name: _numbers(crf_svtav1) or ()},
        preset=for_all,
        preset_by_codec=by_codec,
        frames=frames,
        halve_above=halve_above,
        regions=regions,
        strength=strength,
        device=device,
        jobs=jobs,
        ray=ray,
        cache=cache,
        ffmpeg=ffmpeg,
        out=out,
        command=command_line(),
    )
    report = run_evaluation(request, partial(progress_display, log_format=log_format)).report
    print_results(results_document(report), out)
    if failures := report.measured.failures:
        raise SceneError(
            f"{len(failures)} of {len(failures) + len(report.measured.points)} points could not "
            f"be measured (reasons in {out / 'results.json'}); the rest is there, run again to retry them"
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def _numbers(text: str | None) -> tuple[float, ...] | None:
    from scene.errors import UsageError

    if text is None:
        return None
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of CRFs; give numbers separated by commas.") from error


def _presets(text: str | None) -> tuple[dict[str, str], str | None]:
    """Presets by codec, and that of all codecs, of `medium` or of `x264=slow,svtav1=6`."""
    if text is None or "=" not in text:
        return {}, text
    return dict(word.partition("=")[::2] for word in _words(text)), None
