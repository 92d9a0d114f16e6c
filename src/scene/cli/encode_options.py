"""What can be asked of an encode, wherever one is asked for: `scene encode`, `scene batch` and its file of settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from scene.cli.console import flag_of
from scene.options import EnhanceOptions, FocusOptions
from scene.video.encoders.settings import EncoderSettings

if TYPE_CHECKING:
    from scene import ChunkQuality, EncodeRequest, TargetEncodeRequest


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """The options of `scene encode` that say what becomes of a file."""

    settings: Annotated[EncoderSettings, Parameter(name="*")] = field(default_factory=EncoderSettings)
    focusing: Annotated[FocusOptions, Parameter(name="*")] = field(default_factory=FocusOptions)
    enhancement: Annotated[EnhanceOptions, Parameter(name="*")] = field(default_factory=EnhanceOptions)

    target: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False)] = ()
    """Score to reach, as METRIC=VALUE, instead of a CRF: vmaf, vmaf-neg, vmaf-v1, ms-ssim, psnr-y or xpsnr-y.
    May be given more than once; all must hold, or the exit code is 5."""

    max_kbps: float | None = None
    """With --target: bound on the rate of the video stream in kbit/s."""

    samples: int | None = None
    """With --target: how many samples to encode. By default 8, one for five minutes in a video of more than
    40 minutes."""

    sample_seconds: float | None = None
    """With --target: length of each sample. By default 3."""

    best_effort: Annotated[bool, Parameter(negative="")] = False
    """With --target: where no CRF meets all demands, encode with the nearest one."""

    guard: Annotated[bool, Parameter(negative="")] = False
    """Probe the beginning of each shot, and leave the shot unchanged where the model would not save rate."""

    map: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True, negative="", consume_multiple=False)] = ()
    """Streams to take over, may be given again: all, v, a, s, d or t for video, audio, subtitles, data and
    attachments, a:1 for the second audio, 0:3 for stream 3, a:m:language:eng; -a:1 takes away, ? may match
    nothing. Everything by default."""

    no_audio: Annotated[bool, Parameter(negative="")] = False
    """Leave out all audio."""

    deinterlace: Annotated[bool, Parameter(negative="")] = False
    """Make a progressive frame of each interlaced one."""

    autorotate: Annotated[bool, Parameter(negative="")] = False
    """Turn pictures as the source says they are to be shown, rather than hand that on."""

    size: str | None = None
    """Scale frames down to WIDTHxHEIGHT before all else, such as 1280x720, by a Lanczos filter."""

    on_error: Literal["fail", "skip"] = "fail"
    """What to do where the source is damaged or cut short: fail, or skip it with a warning."""

    allow_network: Annotated[bool, Parameter(negative="")] = False
    """Follow HLS playlists and concat scripts, to other files and over the network."""

    verify: Literal["quick", "full"] = "quick"
    """How much of an output is decoded before it appears: some key frames, or all frames."""

    compare: bool = True
    """Try short parts of the video without the model too, and say what it won; takes some seconds."""

    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False
    """Replace outputs that exist."""


def request_of(source: Path, destination: Path, options: EncodeOptions) -> EncodeRequest | TargetEncodeRequest:
    """The request for one file.

    Raises:
        UsageError: a target that is none, or an option of a search without a target.
    """
    import scene
    from scene.errors import UsageError
    from scene.metrics.targets import parse_target

    request = scene.EncodeRequest(
        source=source,
        destination=destination,
        settings=options.settings,
        focus=options.focusing,
        enhancement=options.enhancement,
        guard=options.guard,
        overwrite=options.overwrite,
        skip_damage=options.on_error == "skip",
        allow_network=options.allow_network,
        maps=options.map,
        audio=not options.no_audio,
        deinterlace=options.deinterlace,
        autorotate=options.autorotate,
        size=None if options.size is None else parse_size(options.size),
        verify=options.verify,
        # A search says it itself.
        compare=options.compare and not options.target,
    )
    searching = {name: getattr(options, name) for name in ("max_kbps", "samples", "sample_seconds")}
    given: dict[str, Any] = {name: value for name, value in searching.items() if value is not None}
    if options.best_effort:
        given["best_effort"] = True
    if options.target:
        return scene.TargetEncodeRequest(request, tuple(parse_target(text) for text in options.target), **given)
    for name in given:
        raise UsageError(f"{flag_of(name)} belongs to --target; give a target, such as vmaf-neg=93.")
    return request


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of a text such as 1280x720. Raises UsageError."""
    from scene.errors import UsageError

    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None:
        raise UsageError(f"--size {text!r} is no size; give one such as 1280x720.")
    return int(match[1]), int(match[2])


def chunk_quality(request: TargetEncodeRequest) -> ChunkQuality:
    """The same demand of each chunk. Raises UsageError for a bound on the rate, which is one of the whole file."""
    import scene
    from scene.errors import UsageError

    if request.max_kbps is not None:
        raise UsageError("--max-kbps bounds the whole file; leave it out where each chunk has a CRF of its own.")
    return scene.ChunkQuality(request.targets, request.samples, request.sample_seconds, request.best_effort)
