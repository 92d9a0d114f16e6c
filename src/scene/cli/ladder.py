"""`scene ladder`: one video at several sizes and rates, as HLS and DASH."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from scene.cli.console import LogFormat
from scene.options import EnhanceOptions
from scene.video.encoders.settings import EncoderSettings


def ladder(
    source: Annotated[Path, Parameter(name="SRC")],
    destination: Annotated[Path, Parameter(name="OUT")],
    /,
    *,
    rungs: str | None = None,
    auto: Annotated[bool, Parameter(negative="")] = False,
    format: Literal["hls", "dash", "cmaf"] = "cmaf",
    segment_seconds: float = 4.0,
    settings: Annotated[EncoderSettings, Parameter(name="*")] = EncoderSettings(),  # noqa: B008
    enhancement: Annotated[EnhanceOptions, Parameter(name="*")] = EnhanceOptions(),  # noqa: B008
    deinterlace: Annotated[bool, Parameter(negative="")] = False,
    no_audio: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Encode a video at several sizes and rates, each enhanced at its own size, and package them for players.

    The folder OUT gets segments of fragmented mp4 and the manifests master.m3u8 (HLS) and manifest.mpd (DASH). A run
    that was ended goes on with the rungs that it has, which are in OUT.job until all is done.

    Args:
        source: Video file to read.
        destination: Folder to write.
        rungs: Sizes and rates, with commas between them: 1080p:5M,720p:2.8M,640x360:800k, or 720p:crf=26. 720p is what
            fits into 1280x720 in the source's own shape.
        auto: Choose rungs on the video's own convex hull: samples are encoded at several sizes and CRFs, with the model
            and without, and compared by VMAF NEG. OUT gets hull.html and hull.json beside the manifests.
        format: Manifests: of HLS, of DASH, or cmaf for both over the same segments.
        segment_seconds: Length of a segment. In all rungs each begins with a key frame.
        deinterlace: Make a progressive frame of each interlaced one.
        no_audio: Leave out all audio.
        overwrite: Replace a ladder that exists.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from dataclasses import asdict

    from scene.cli.console import announce, command_line, progress_display, setup_logging

    setup_logging(log_format)
    import scene
    from scene.errors import UsageError

    if (rungs is None) != auto:
        raise UsageError("give --rungs, such as 1080p:5M,720p:2.8M, or --auto.")
    request = scene.LadderRequest(
        source=source,
        destination=destination,
        rungs=() if rungs is None else tuple(rungs.split(",")),
        form=format,
        segment_seconds=segment_seconds,
        settings=settings,
        enhancement=enhancement,
        deinterlace=deinterlace,
        audio=not no_audio,
        overwrite=overwrite,
        command=command_line(),
    )
    result = scene.build_ladder(request, partial(progress_display, log_format=log_format))
    if result.plan is not None and result.plan.saving is not None:
        saving = result.plan.saving
        announce(
            f"At equal VMAF NEG the hull with {enhancement.model} takes {abs(saving):.1f} % "
            f"{'fewer' if saving < 0 else 'more'} bits than that of {settings.codec} alone; see "
            f"{destination / 'hull.html'}."
        )
    for rung in result.rungs:
        announce(f"{rung.size[0]}x{rung.size[1]}: {rung.kbps:.0f} kbit/s ({rung.rate}), {rung.bytes / 1e6:.2f} MB")
    record = {**asdict(result), "destination": str(destination), "manifests": [str(m) for m in result.manifests]}
    announce(
        f"{destination}: {len(result.rungs)} rungs, {result.audio} audio and {result.subtitles} subtitle tracks, "
        f"{result.bytes / 1e6:.2f} MB, in {result.seconds:.1f} s",
        record,
    )
