"""`scene live`: enhance and encode video while it comes in."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from scene.cli.console import LogFormat
from scene.options import EnhanceOptions
from scene.video.encoders.settings import EncoderSettings

_TOKEN = "SCENE_LIVE_TOKEN"


def live(
    source: Annotated[str, Parameter(name="SRC", allow_leading_hyphen=True)],
    destination: Annotated[str, Parameter(name="DST", allow_leading_hyphen=True)],
    /,
    *,
    settings: Annotated[EncoderSettings, Parameter(name="*")] = EncoderSettings(),  # noqa: B008
    enhancement: Annotated[EnhanceOptions, Parameter(name="*")] = EnhanceOptions(),  # noqa: B008
    latency: float = 0.5,
    segment: float = 2.0,
    window: float = 60.0,
    pace: bool | None = None,
    timeout: float = 60.0,
    no_audio: Annotated[bool, Parameter(negative="")] = False,
    deinterlace: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    serve: str | None = None,
    token_file: Path | None = None,
    log_format: LogFormat = "text",
) -> None:
    """Enhance and encode video while it comes in; frames that there is no time for pass through unchanged.

    A source that goes away is opened again. Ctrl-C ends the source, delivers what was read, and ends the output.

    Args:
        source: A file, - for standard input, or an address: udp, tcp, http, rtmp or srt. env:NAME for an address
            in an environment variable, where it shows in no list of processes.
        destination: A folder or .m3u8 for HLS, .mpd for DASH with low latency, .ts or - for a transport stream, or an
            address: rtmp, srt, udp or tcp; or env:NAME. An HLS playlist that is there is gone on with.
        latency: The longest that a frame may wait to be enhanced, in seconds; then it passes through.
        segment: Seconds from key frame to key frame, and of an HLS or DASH segment.
        window: Seconds that HLS and DASH list, 0 for all. What is older is removed.
        pace: Read a file at the speed at which it is shown. Files are, unless --no-pace is given.
        timeout: Seconds without anything from the source until it is given up.
        no_audio: Leave out the sound, which is copied otherwise.
        deinterlace: Make a progressive frame of each interlaced one.
        overwrite: Replace DST if it is a .ts or .mpd that exists.
        serve: Port, or HOST:PORT, of a page with the figures, /metrics for Prometheus, /health and /ready. A port alone
            is served on this machine only.
        token_file: A file with a token; who sends it there may change strength and bitrate. By default the token is
            that of the environment variable SCENE_LIVE_TOKEN.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import announce, progress_display, setup_logging

    setup_logging(log_format)

    import scene

    request = scene.LiveRequest(
        source=source,
        destination=destination,
        settings=settings,
        enhancement=enhancement,
        latency=latency,
        segment=segment,
        window=window,
        paced=pace,
        timeout=timeout,
        audio=not no_audio,
        deinterlace=deinterlace,
        overwrite=overwrite,
        serve=serve,
        token=_token(token_file) if serve is not None else None,
    )
    with progress_display("live", "frames", log_format) as on_progress:
        result = scene.live(request, on_progress)
    figures = result.figures
    parts = [
        f"{figures.delivered} of {figures.frames} frames delivered in {result.seconds:.1f} s",
        f"{figures.enhanced} enhanced, {figures.passed} passed through",
        f"latency {figures.latency_p50:.2f}, p95 {figures.latency_p95:.2f}, most {figures.latency_max:.2f} s",
        f"encoder delay {figures.delay} frames",
        f"model {result.model}",
    ]
    if figures.undelivered:
        parts.insert(1, f"{figures.undelivered} with nobody to take them")
    if figures.connections > 1 or figures.joins:
        parts.append(f"{figures.connections} connections, {figures.joins} jumps of the clock")
    if figures.damaged:
        parts.append(f"{figures.damaged} damaged")
    announce("; ".join(parts), {**asdict(figures), "seconds": round(result.seconds, 2), "model": result.model})
    if result.ending is not None:
        raise result.ending


def _token(file: Path | None) -> str | None:
    from scene.errors import InputError, UsageError

    if file is None:
        return os.environ.get(_TOKEN) or None
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{file} cannot be read.") from None
    if not token:
        raise UsageError(f"{file} is empty; write a token into it.")
    return token
