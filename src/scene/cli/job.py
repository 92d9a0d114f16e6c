"""`scene job`: an encode in chunks, step by step, for schedulers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from scene.cli.console import LogFormat
from scene.options import EnhanceOptions, FocusOptions
from scene.video.encoders.settings import EncoderSettings

if TYPE_CHECKING:
    from scene.jobs.chunks.status import JobStatus

job = cyclopts.App(
    name="job", help="Encode in chunks, step by step, on any number of machines.", help_format="markdown"
)


@job.command
def plan(
    source: Annotated[Path, Parameter(name="SRC")],
    destination: Annotated[Path, Parameter(name="DST")],
    /,
    *,
    work: Path | None = None,
    chunk_seconds: float = 10.0,
    settings: Annotated[EncoderSettings, Parameter(name="*")] = EncoderSettings(),  # noqa: B008
    focusing: Annotated[FocusOptions, Parameter(name="*")] = FocusOptions(),  # noqa: B008
    enhancement: Annotated[EnhanceOptions, Parameter(name="*")] = EnhanceOptions(),  # noqa: B008
    target: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False)] = (),
    samples: int | None = None,
    sample_seconds: float | None = None,
    best_effort: Annotated[bool, Parameter(negative="")] = False,
    guard: Annotated[bool, Parameter(negative="")] = False,
    map: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True, negative="", consume_multiple=False)] = (),
    no_audio: Annotated[bool, Parameter(negative="")] = False,
    deinterlace: Annotated[bool, Parameter(negative="")] = False,
    size: str | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    verify: Literal["quick", "full"] = "quick",
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Divide an encode into chunks: decode the source once, find its shots, write the plan into a work folder.

    The number of chunks goes to stdout; they are numbered from 0. Planning the same again changes nothing.

    Args:
        source: Video file to read.
        destination: File that `scene job join` will write; its suffix chooses the container.
        work: Folder of the work, on storage that all machines share. By default DST with .job behind it.
        chunk_seconds: Least length of a chunk. A shot that is longer than four times this is divided.
        target: Score to reach, as METRIC=VALUE, instead of a CRF, as for `scene encode`; each chunk gets a CRF of its
            own, which is found when it is run.
        samples: With --target: how many samples of a chunk to encode. By default 2.
        sample_seconds: With --target: length of each sample. By default 3.
        best_effort: With --target: where no CRF meets all demands, encode with the nearest one.
        guard: Probe the beginning of each shot, and leave the shot unchanged where the model would not save rate.
        map: Streams to take over, as for `scene encode`.
        no_audio: Leave out all audio.
        deinterlace: Make a progressive frame of each interlaced one.
        size: Scale frames down to WIDTHxHEIGHT before all else, such as 1280x720.
        on_error: What to do where the source is damaged or cut short: fail, or skip it with a warning.
        verify: How much of the output is decoded before it appears: some key frames, or all frames.
        overwrite: Replace DST if it exists.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import announce, progress_display, setup_logging

    setup_logging(log_format)
    import scene
    from scene.cli.encode_options import parse_size
    from scene.errors import UsageError
    from scene.metrics.targets import parse_target

    encode = scene.EncodeRequest(
        source=source,
        destination=destination,
        settings=settings,
        focus=focusing,
        enhancement=enhancement,
        guard=guard,
        overwrite=overwrite,
        skip_damage=on_error == "skip",
        maps=map,
        audio=not no_audio,
        deinterlace=deinterlace,
        size=None if size is None else parse_size(size),
        verify=verify,
    )
    quality = None
    if target:
        searching: dict[str, Any] = {} if sample_seconds is None else {"sample_seconds": sample_seconds}
        wanted = tuple(parse_target(text) for text in target)
        quality = scene.ChunkQuality(wanted, samples, best_effort=best_effort, **searching)
    elif samples is not None or sample_seconds is not None or best_effort:
        raise UsageError("--samples, --sample-seconds and --best-effort belong to --target; give a target.")
    folder = work or scene.ChunkedEncodeRequest(encode).folder
    with progress_display("plan", "frames", log_format) as on_progress:
        planned = scene.plan_job(scene.JobRequest(encode, folder, chunk_seconds, quality), on_progress)
    announce(
        f"{folder}: {planned.frames} frames, {len(planned.shots)} shots, {planned.chunks} chunks",
        {"work": str(folder), "frames": planned.frames, "shots": len(planned.shots), "chunks": planned.chunks},
    )
    print(planned.chunks)


@job.command
def run(
    work: Annotated[Path, Parameter(name="WORK")],
    /,
    *,
    index: int | None = None,
    ray: str | None = None,
    stage: Path | None = None,
    log_format: LogFormat = "text",
) -> None:
    """Encode one chunk of a job, or all that are left.

    A chunk that is done is not done again. One that another process is at is left to that; where it is named the exit
    code is 1.

    Args:
        work: Folder of the work, with a plan in it.
        index: Number of the chunk, from 0. By default all that nobody else is at, one after the other.
        ray: Encode all that are left through Ray: auto (on this machine, or on the cluster of $RAY_ADDRESS), or a
            cluster's address. All machines must have WORK and SRC under the same names, unless --stage is given.
        stage: With --ray: a folder on each machine's own disk, into which SRC is copied while the work lasts. Nothing
            need be shared then.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from dataclasses import asdict

    from scene.cli.console import announce, progress_display, setup_logging

    setup_logging(log_format)
    import scene
    from scene.errors import UsageError

    if ray is not None:
        if index is not None:
            raise UsageError("--ray encodes all chunks that are left; leave --index out.")
        with progress_display("encode", "frames", log_format) as on_progress:
            scene.run_on_cluster(work, ray, on_progress, stage=stage)
        announce(f"{work}: all chunks are done; the next step is scene job join")
        return
    if stage is not None:
        raise UsageError("--stage belongs to --ray; give a cluster.")
    with progress_display("encode", "frames", log_format) as on_progress:
        results = scene.run_job(work, on_progress) if index is None else [scene.run_chunk(work, index, on_progress)]
    for result in results:
        how = "done before" if result.done_before else f"{result.seconds:.1f} s"
        size = f"CRF {result.crf:g}, {result.bytes / 1e6:.2f} MB"
        announce(f"{work}: chunk {result.index}: {result.frames} frames, {size}, {how}", asdict(result))


@job.command
def join(
    work: Annotated[Path, Parameter(name="WORK")],
    /,
    *,
    log_format: LogFormat = "text",
) -> None:
    """Join the chunks of a job with the source's other tracks to the output, and verify it.

    The work folder stays, so that a join that fails can be done again.

    Args:
        work: Folder of the work, all of whose chunks are done.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import progress_display, setup_logging

    setup_logging(log_format)
    import scene
    from scene.cli.encode_report import announce_encode

    with progress_display("join", "frames", log_format) as on_progress:
        result = scene.join_job(work, on_progress)
    announce_encode(result)


@job.command
def status(
    work: Annotated[Path, Parameter(name="WORK")],
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Show what of a job is done, what is left, and how long that will take.

    Args:
        work: Folder of the work.
        json: Print one JSON object instead of lines.
    """
    import json as writer
    from dataclasses import asdict

    import scene

    found = scene.job_status(work)
    if json:
        names = {"source": str(found.source), "destination": str(found.destination)}
        print(writer.dumps({**asdict(found), **names}, indent=2))
    else:
        print("\n".join(status_lines(found)))


def status_lines(found: JobStatus) -> list[str]:
    """A job's status for people."""
    from scene.cli.console import format_duration, printable

    percent = 100 * found.frames_done / found.frames
    rows = [
        (
            "done",
            f"{found.done} of {found.chunks} chunks, {found.frames_done} of {found.frames} frames ({percent:.0f} %)",
        ),
        ("", f"{found.bytes / 1e6:.2f} MB of video"),
        ("running", _numbers(found.running)),
        ("waiting", _numbers(found.waiting)),
    ]
    if found.done == found.chunks:
        rows.append(("next", "scene job join"))
    else:
        left = "unknown before the first chunk is done"
        if found.seconds_left is not None:
            processes = max(1, len(found.running))
            left = f"about {format_duration(found.seconds_left)} with {processes} at work"
        rows.append(("left", left))
    head = printable(f"{found.source} -> {found.destination}")
    return [head, *(f"  {name:10}{text}" for name, text in rows)]


def _numbers(indices: tuple[int, ...]) -> str:
    """Chunk numbers as ranges: "0-3, 7"."""
    if not indices:
        return "none"
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)
