"""`scene encode`: enhance and encode files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from scene.cli.console import LogFormat, flag_of
from scene.cli.encode_options import EncodeOptions, chunk_quality, request_of
from scene.options import EnhanceOptions
from scene.video.encoders.settings import EncoderSettings


def encode(
    *files: Annotated[Path, Parameter(name="SRC... DST")],
    options: Annotated[EncodeOptions, Parameter(name="*")] = EncodeOptions(),  # noqa: B008
    workers: int | Literal["auto"] | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Enhance videos and encode them, keeping their audio, subtitles, chapters, time stamps and colour tags.

    Each output appears under its name only when it is complete and has been verified. With --target a search finds the
    CRF first, as `scene search` does. One of several sources that fails does not stop the others; the exit code is 1
    then. For many files see `scene batch`.

    Args:
        files: Video files to read, and the file to write, or a folder for as many as there are. The suffix of a file
            chooses the container: .mp4, .mov, .mkv, .webm, .ts or .m2ts. In a folder each source keeps its name, with
            .mp4 and .mov where those can hold the codec, else with .mkv.
        workers: Encode in chunks by so many processes, or auto for as many as pay; see also `scene job`.
        resume: Encode in chunks that outlast a crash, and go on with what an earlier run of this command left.
        dry_run: Say what would be done, and what a trial of some frames says of time and size, and write nothing.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import setup_logging

    setup_logging(log_format)
    import scene
    from scene.cli.encode_report import run_encodes
    from scene.errors import UsageError
    from scene.jobs.batch.destinations import destinations

    if len(files) < 2:
        raise UsageError("give SRC and DST, such as `scene encode in.mkv out.mkv`.")
    *sources, destination = files
    outputs = destinations(sources, destination, options.settings.codec)
    requests = [request_of(source, output, options) for source, output in zip(sources, outputs, strict=True)]
    if workers is None and not resume:
        run_encodes(requests, log_format, dry=dry_run)
        return
    number = None if workers == "auto" else workers
    chunked = []
    for request in requests:
        if isinstance(request, scene.TargetEncodeRequest):
            quality = chunk_quality(request)
            chunked.append(scene.ChunkedEncodeRequest(request.encode, number, resume=resume, quality=quality))
        else:
            chunked.append(scene.ChunkedEncodeRequest(request, number, resume=resume))
    run_encodes(chunked, log_format, dry=dry_run)


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
