"""How far a job is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scene.jobs.chunks.folder import WorkFolder
from scene.jobs.chunks.journal import load_plan
from scene.jobs.chunks.run import finished_chunk


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What of a job is done.

    Attributes:
        source, destination: of the job.
        chunks, frames: in all.
        done, frames_done, bytes: chunks that are finished, their frames, and what they are coded in.
        running: chunks that a process on this machine, or on one that shares its locks, is at.
        waiting: chunks that nobody has begun.
        seconds_left: of the processes that run now, or of one where none does; None before the first chunk is done.
    """

    source: Path
    destination: Path
    chunks: int
    frames: int
    done: int
    frames_done: int
    bytes: int
    running: tuple[int, ...]
    waiting: tuple[int, ...]
    seconds_left: float | None


def job_status(work: Path) -> JobStatus:
    """Looks at a job's folder, without disturbing who is at work there.

    Raises:
        InputError: there is no plan in it, or it is damaged.
    """
    folder = WorkFolder(work)
    plan = load_plan(folder.plan)
    found = [finished_chunk(folder, plan, index, whole=False) for index in range(plan.chunks)]
    done = [chunk for chunk in found if chunk is not None]
    left = [index for index, chunk in enumerate(found) if chunk is None]
    running = tuple(index for index in left if folder.is_busy(index))
    frames_done = sum(chunk.frames for chunk in done)
    seconds = sum(chunk.seconds for chunk in done)
    each = seconds / frames_done if frames_done else None
    return JobStatus(
        source=plan.request.source,
        destination=plan.request.destination,
        chunks=plan.chunks,
        frames=plan.frames,
        done=len(done),
        frames_done=frames_done,
        bytes=sum(chunk.bytes for chunk in done),
        running=running,
        waiting=tuple(index for index in left if index not in running),
        seconds_left=None if each is None else each * (plan.frames - frames_done) / max(1, len(running)),
    )
