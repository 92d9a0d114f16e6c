"""`scene encode`: enhance and encode one file."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from scene.cli.console import flag_of
from scene.options import EnhanceOptions
from scene.video.encoders.settings import EncoderSettings

if TYPE_CHECKING:
    from scene.jobs.encode import EncodeResult
    from scene.jobs.guard import GuardReport


def encode(
    src: Path,
    dst: Path,
    *,
    settings: Annotated[EncoderSettings, Parameter(name="*")] = EncoderSettings(),  # noqa: B008
    enhancement: Annotated[EnhanceOptions, Parameter(name="*")] = EnhanceOptions(),  # noqa: B008
    guard: Annotated[bool, Parameter(negative="")] = False,
    map: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True, negative="", consume_multiple=False)] = (),
    no_audio: Annotated[bool, Parameter(negative="")] = False,
    deinterlace: Annotated[bool, Parameter(negative="")] = False,
    on_error: Literal["fail", "skip"] = "fail",
    allow_network: Annotated[bool, Parameter(negative="")] = False,
    verify: Literal["quick", "full"] = "quick",
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    log_format: Literal["text", "json"] = "text",
) -> None:
    """Enhance a video and encode it, keeping its audio, subtitles, chapters, time stamps and colour tags.

    DST appears under its name only when it is complete and has been verified.

    Args:
        src: Video file to read.
        dst: File to write; its suffix chooses the container: .mp4, .mov, .mkv, .webm, .ts or .m2ts.
        guard: Probe the beginning of each shot, and leave the shot unchanged where the model would not save rate.
        map: Streams to take over, may be given again: all, v, a, s, d or t for video, audio, subtitles, data and
            attachments, a:1 for the second audio, 0:3 for stream 3, a:m:language:eng; -a:1 takes away, ? may match
            nothing. Everything by default.
        no_audio: Leave out all audio.
        deinterlace: Make a progressive frame of each interlaced one.
        on_error: What to do where the source is damaged or cut short: fail, or skip it with a warning.
        allow_network: Follow HLS playlists and concat scripts, to other files and over the network.
        verify: How much of DST is decoded before it appears: some key frames, or all frames.
        overwrite: Replace DST if it exists.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import announce, progress_display, setup_logging

    setup_logging(log_format)
    import scene

    request = scene.EncodeRequest(
        source=src,
        destination=dst,
        settings=settings,
        enhancement=enhancement,
        guard=guard,
        overwrite=overwrite,
        skip_damage=on_error == "skip",
        allow_network=allow_network,
        maps=map,
        audio=not no_audio,
        deinterlace=deinterlace,
        verify=verify,
    )
    with progress_display("encode", "frames", log_format) as on_progress:
        result = scene.encode(request, on_progress)
    announce(_summary(result), {**asdict(result), "destination": str(result.destination)})


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


def _summary(result: EncodeResult) -> str:
    guard = "" if result.guard is None else _in_words(result.guard)
    damage = f", {result.damage} damaged places" if result.damage else ""
    change = 100 * (result.bytes / result.source_bytes - 1)
    return (
        f"{result.destination}: {result.frames} frames in {result.seconds:.1f} s "
        f"({result.frames / result.seconds:.2f} fps), {result.source_bytes / 1e6:.2f} MB -> "
        f"{result.bytes / 1e6:.2f} MB ({change:+.1f} %), model {result.model}{damage}{guard}"
    )


def _in_words(report: GuardReport) -> str:
    return f"; guard: {report.passed} of {report.shots} shots passed through, probes took {report.seconds:.1f} s"
