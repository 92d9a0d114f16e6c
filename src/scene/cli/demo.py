"""`scene demo`: the whole way from a clip to figures, with nothing but the installed package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scene.cli.console import LogFormat
from scene.evaluation.visuals.equal_rate import crf_of_equal_rate
from scene.options import DEFAULT_MODEL

if TYPE_CHECKING:
    from scene.video.ffmpeg import FFmpeg

_MARKER = ".scene-demo"
_CRFS = (27.0, 31.0, 35.0, 39.0, 43.0)
_STILL_CRF = 35.0
_STILL_FRAME = 40
# Left, top, width, height of what the still enlarges: the face on the print.
_STILL_CROP = (88, 84, 128, 96)


def demo(
    *,
    out: Path = Path("scene-demo"),
    model: str = DEFAULT_MODEL,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    ffmpeg: Path | None = None,
    log_format: LogFormat = "text",
) -> None:
    """Make a short clip, encode it plain and enhanced, measure both, and show the difference.

    Takes less than a minute on two idle cores. Leaves the clips, a table, a figure, a report to open in a browser
    and a side-by-side still in --out; running it again replaces them.

    Parameters
    ----------
    out
        Folder for everything that is made.
    model
        A shipped model or a .safetensors file.
    device
        Where the model runs.
    ffmpeg
        The ffmpeg program, with libvmaf. Default: $SCENE_FFMPEG, else the one that imageio-ffmpeg carries.
    log_format
        What standard error gets: text, or one JSON object a line.
    """
    from functools import partial

    from scene.cli.console import progress_display, setup_logging
    from scene.cli.results_report import print_results
    from scene.cli.sample import make_sample
    from scene.errors import UsageError
    from scene.evaluation.evaluate import evaluate
    from scene.evaluation.grid.methods import parse_method
    from scene.evaluation.report.results import results_document
    from scene.evaluation.requests import EvaluationRequest
    from scene.jobs.encode import EncodeRequest, encode
    from scene.options import EnhanceOptions
    from scene.video.encoders import DEFAULT_ENCODER
    from scene.video.encoders.settings import EncoderSettings
    from scene.video.ffmpeg import find_ffmpeg

    setup_logging(log_format)
    if model == "none":
        raise UsageError("the demo compares a model with none; give --model a shipped model or a file.")
    # Before anything is written: a model that is none is found out here.
    parse_method(model)
    program = find_ffmpeg(ffmpeg)
    _claim(out)
    source, plain, enhanced = (out / name for name in ("source.mp4", "plain.mp4", "enhanced.mp4"))
    make_sample(program, source)

    evaluation = EvaluationRequest(
        clips=(source,),
        models=("none", "contrast", model),
        codecs=(DEFAULT_ENCODER,),
        crf=_CRFS,
        device=device,
        ffmpeg=program.path,
        out=out,
        command=f"scene demo --model {model}",
    )
    result = evaluate(evaluation, partial(progress_display, log_format=log_format))
    points, label = result.report.measured.points, result.report.grid.methods[-1].label
    curves = {name: [point for point in points if point.method.label == name] for name in ("none", label)}
    # The two files that are shown have about the same size, so that only the picture differs.
    crf = crf_of_equal_rate(curves["none"], curves[label], _STILL_CRF)
    for destination, network, quality in ((plain, "none", _STILL_CRF), (enhanced, model, crf)):
        settings = EncoderSettings(DEFAULT_ENCODER, quality)
        request = EncodeRequest(source, destination, settings, EnhanceOptions(network, device=device), overwrite=True)
        with progress_display(destination.name, "frames", log_format) as on_progress:
            encode(request, on_progress)
    still = out / "still.png"
    _draw_still(program, source, {plain: ("codec only", _STILL_CRF), enhanced: (label, crf)}, still)

    print_results(results_document(result.report), None)
    print("\nFiles:")
    for path in (source, plain, enhanced, still, *result.files):
        print(f"  {path}")


def _claim(folder: Path) -> None:
    """Makes the folder ours; refuses one that holds anything which a demo did not leave there."""
    from scene.errors import SceneError, UsageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / _MARKER).exists():
            raise UsageError(f"{folder} holds files that are not of a demo; give another folder with --out.")
        (folder / _MARKER).touch()
    except FileExistsError as error:
        raise UsageError(f"{folder} is not a folder; give another with --out.") from error
    except OSError as error:
        raise SceneError(f"{folder} cannot be written ({error.strerror}); give another with --out") from error


def _draw_still(program: FFmpeg, source: Path, encodes: dict[Path, tuple[str, float]], path: Path) -> None:
    import tempfile

    from scene.cli.sample import HEIGHT, WIDTH
    from scene.evaluation.visuals.still import Column, read_frame, write_still
    from scene.measure.clip import Recipe, make_reference, open_clips
    from scene.measure.point import compare
    from scene.video.encoders import DEFAULT_ENCODER

    with tempfile.TemporaryDirectory(prefix="scene-demo-") as name:
        folder = Path(name)
        (clip,) = open_clips([source])
        reference = make_reference(program, clip, Recipe(), folder / "reference.y4m")
        columns = [Column(read_frame(program, source, _STILL_FRAME, WIDTH, HEIGHT), "source")]
        for video, (label, crf) in encodes.items():
            scores = compare(program, video, reference, folder=folder).scores
            title = (
                f"{label}: {DEFAULT_ENCODER} CRF {crf:g}, {_video_bytes(program, video) / 1000:.1f} kB of video\n"
                f"VMAF {scores.vmaf_clipped:.1f}, NEG {scores.vmaf_neg:.1f}, v1 {scores.vmaf_v1:.1f}"
            )
            columns.append(Column(read_frame(program, video, _STILL_FRAME, WIDTH, HEIGHT), title))
        write_still(columns, _STILL_CROP, path)


def _video_bytes(program: FFmpeg, video: Path) -> int:
    """Size of an H.264 file's video alone."""
    from scene.video.ffmpeg import input_name

    copy = ["-i", input_name(video), "-map", "0:v:0", "-c", "copy", "-f", "h264", "-"]
    return len(program.run(copy).stdout)
