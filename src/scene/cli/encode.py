"""`scene encode`: enhance and encode files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from scene.cli.console import LogFormat, flag_of
from scene.options import EnhanceOptions, FocusOptions
from scene.video.encoders.settings import EncoderSettings


def encode(
    *files: Annotated[Path, Parameter(name="SRC... DST")],
    settings: Annotated[EncoderSettings, Parameter(name="*")] = EncoderSettings(),  # noqa: B008
    focus: Annotated[FocusOptions, Parameter(name="*")] = FocusOptions(),  # noqa: B008
    enhancement: Annotated[EnhanceOptions, Parameter(name="*")] = EnhanceOptions(),  # noqa: B008
    target: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False)] = (),
    max_kbps: float | None = None,
    samples: int | None = None,
    sample_seconds: float | None = None,
    best_effort: Annotated[bool, Parameter(negative="")] = False,
    guard: Annotated[bool, Parameter(negative="")] = False,
    map: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True, negative="", consume_multiple=False)] = (),
    no_audio: Annotated[bool, Parameter(negative="")] = False,
    deinterlace: Annotated[bool, Parameter(negative="")] = False,
    on_error: Literal["fail", "skip"] = "fail",
    allow_network: Annotated[bool, Parameter(negative="")] = False,
    verify: Literal["quick", "full"] = "quick",
    compare: bool = True,
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Enhance videos and encode them, keeping their audio, subtitles, chapters, time stamps and colour tags.

    Each output appears under its name only when it is complete and has been verified. With --target a search finds the
    CRF first, as `scene search` does. One of several sources that fails does not stop the others; the exit code is 1
    then.

    Args:
        files: Video files to read, and the file to write, or a folder for as many as there are. The suffix of a file
            chooses the container: .mp4, .mov, .mkv, .webm, .ts or .m2ts. In a folder each source keeps its name, with
            .mp4 and .mov where those can hold the codec, else with .mkv.
        target: Score to reach, as METRIC=VALUE, instead of a CRF: vmaf, vmaf-neg, vmaf-v1, ms-ssim, psnr-y or xpsnr-y.
            May be given more than once; all must hold, or the exit code is 5.
        max_kbps: With --target: bound on the rate of the video stream in kbit/s.
        samples: With --target: how many samples to encode. By default 8, one for five minutes in a video of more than
            40 minutes.
        sample_seconds: With --target: length of each sample. By default 3.
        best_effort: With --target: where no CRF meets all demands, encode with the nearest one.
        guard: Probe the beginning of each shot, and leave the shot unchanged where the model would not save rate.
        map: Streams to take over, may be given again: all, v, a, s, d or t for video, audio, subtitles, data and
            attachments, a:1 for the second audio, 0:3 for stream 3, a:m:language:eng; -a:1 takes away, ? may match
            nothing. Everything by default.
        no_audio: Leave out all audio.
        deinterlace: Make a progressive frame of each interlaced one.
        on_error: What to do where the source is damaged or cut short: fail, or skip it with a warning.
        allow_network: Follow HLS playlists and concat scripts, to other files and over the network.
        verify: How much of an output is decoded before it appears: some key frames, or all frames.
        compare: Try short parts of the video without the model too, and say what it won; takes some seconds.
        overwrite: Replace outputs that exist.
        dry_run: Say what would be done, and what a trial of some frames says of time and size, and write nothing.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import setup_logging

    setup_logging(log_format)
    import scene
    from scene.cli.encode_report import run_encodes
    from scene.errors import UsageError
    from scene.jobs.batch.destinations import destinations
    from scene.metrics.targets import parse_target

    if len(files) < 2:
        raise UsageError("give SRC and DST, such as `scene encode in.mkv out.mkv`.")
    *sources, destination = files
    requests = [
        scene.EncodeRequest(
            source=source,
            destination=output,
            settings=settings,
            focus=focus,
            enhancement=enhancement,
            guard=guard,
            overwrite=overwrite,
            skip_damage=on_error == "skip",
            allow_network=allow_network,
            maps=map,
            audio=not no_audio,
            deinterlace=deinterlace,
            verify=verify,
            # A search says it itself.
            compare=compare and not target,
        )
        for source, output in zip(sources, destinations(sources, destination, settings.codec), strict=True)
    ]
    searching = {"max_kbps": max_kbps, "samples": samples, "sample_seconds": sample_seconds}
    given: dict[str, Any] = {name: value for name, value in searching.items() if value is not None}
    if best_effort:
        given["best_effort"] = True
    if not target:
        for name in given:
            raise UsageError(f"{flag_of(name)} belongs to --target; give a target, such as vmaf-neg=93.")
        run_encodes(requests, log_format, dry=dry_run)
    else:
        targets = tuple(parse_target(text) for text in target)
        wanted = [scene.TargetEncodeRequest(request, targets, **given) for request in requests]
        run_encodes(wanted, log_format, dry=dry_run)


def encode_words(source: Path, destination: Path, settings: EncoderSettings, enhancement: EnhanceOptions) -> list[str]:
    """The `scene encode` command with these settings, as an argument vector: codec, CRF and all that is no default."""
    words = ["scene", "encode", _operand(source), _operand(destination), flag_of("codec"), settings.codec]
    for options, usual in ((settings, EncoderSettings()), (enhancement, EnhanceOptions())):
        for field in fields(options):
            value = getattr(options, field.name)
            if field.name == "codec" or value == getattr(usual, field.name):
                continue
            text = f"{value:g}" if isinstance(value, float) else str(value)
            flag = flag_of(field.name)
            # A value may begin with a dash, as encoder parameters and names of files do.
            words += [f"{flag}={text}"] if "=" in text or text.startswith("-") else [flag, text]
    return words


def _operand(path: Path) -> str:
    # A name that begins with a dash would be taken for an option.
    return f"./{path}" if str(path).startswith("-") else str(path)
