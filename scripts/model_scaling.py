"""Models a job in chunks on up to 1,000 workers: what saturates first, and what a film-hour costs.

    python scripts/model_scaling.py
    python scripts/model_scaling.py --job /shared/film --plan-seconds 300 --join-seconds 25 --storage-mb 500

All seconds and megabytes are of an hour of the source. With `--job`, the work folder of a job whose chunks are done,
the chunks' seconds, number and size are that job's.

One film: plan and join are one process each, before and after the chunks. These end when their work is done by so many
workers; a chunk is not divided; the scheduler hands out one after the other; storage gives and takes their bytes.

A catalogue: plans and joins are work for the workers like any other. One scheduler and one storage are left.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from scene.jobs.chunks.folder import WorkFolder
from scene.jobs.chunks.journal import load_plan
from scene.jobs.chunks.run import finished_chunk
from scene.video.source.probe import probe

WORKERS = (1, 2, 10, 100, 300, 1000)


@dataclass(frozen=True, slots=True)
class Constants:
    """Of an hour of the source.

    Attributes:
        plan, chunks, join: seconds of a worker; `chunks` is that of all of them together.
        number: of chunks.
        source_mb, coded_mb: megabytes of the source and of the output. Plan, chunks and join read the former once
            each; the latter is written and read as chunks, and written as the output.
        read_twice: share of the source that chunks read beyond that, from the key frame before each on.
        task_ms: milliseconds of the scheduler for a task.
        storage_mb: megabytes a second.
        cores: of a worker.
    """

    plan: float
    chunks: float
    join: float
    number: int
    source_mb: float
    coded_mb: float
    read_twice: float
    task_ms: float
    storage_mb: float
    cores: int

    @property
    def work(self) -> float:
        """Seconds of workers."""
        return self.plan + self.chunks + self.join

    @property
    def handing_out(self) -> float:
        """Seconds of the scheduler."""
        return self.number * self.task_ms / 1000

    @property
    def moving_chunks(self) -> float:
        """Seconds of storage for the chunks."""
        return (self.source_mb * (1 + self.read_twice) + self.coded_mb) / self.storage_mb

    @property
    def moving(self) -> float:
        """Seconds of storage."""
        return self.moving_chunks + 2 * (self.source_mb + self.coded_mb) / self.storage_mb


def film(constants: Constants, hours: float, workers: int) -> tuple[float, str]:
    """Seconds for one film, and what takes most of them."""
    one = constants.chunks / constants.number
    parts = {
        "chunks": math.ceil(constants.number * hours / workers) * one,
        "scheduler": constants.handing_out * hours,
        "storage": constants.moving_chunks * hours,
    }
    slowest = max(parts, key=lambda name: parts[name])
    steps = {"plan": constants.plan * hours, slowest: parts[slowest], "join": constants.join * hours}
    return sum(steps.values()), max(steps, key=lambda name: steps[name])


def catalogue(constants: Constants, workers: int) -> tuple[float, str]:
    """Hours of source in an hour, and what bounds them."""
    bounds = {
        "workers": workers * 3600 / constants.work,
        "scheduler": 3600 / constants.handing_out,
        "storage": 3600 / constants.moving,
    }
    slowest = min(bounds, key=lambda name: bounds[name])
    return bounds[slowest], slowest


def of_job(work: Path) -> dict[str, float | int]:
    """What a job's folder says."""
    folder = WorkFolder(work)
    plan = load_plan(folder.plan)
    times = plan.table.stamps[-1] - plan.table.stamps[0] + plan.table.durations[-1]
    hours = float(times * probe(plan.request.source, plan.stream).time_base) / 3600
    found = [finished_chunk(folder, plan, index, whole=False) for index in range(plan.chunks)]
    done = [chunk for chunk in found if chunk is not None]
    if len(done) < plan.chunks:
        raise SystemExit(f"{work}: {plan.chunks - len(done)} chunks are not done.")
    return {
        "chunks": sum(chunk.seconds for chunk in done) / hours,
        "number": math.ceil(plan.chunks / hours),
        "source_mb": plan.source.bytes / 1e6 / hours,
        "coded_mb": sum(chunk.bytes for chunk in done) / 1e6 / hours,
    }


def main() -> None:
    """Prints a table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=Path, help="work folder of a job whose chunks are done")
    parser.add_argument("--hours", type=float, default=2.0, help="of the film")
    parser.add_argument("--plan-seconds", dest="plan", type=float, default=PLAN)
    parser.add_argument("--chunks-seconds", dest="chunks", type=float, default=CHUNKS)
    parser.add_argument("--join-seconds", dest="join", type=float, default=JOIN)
    parser.add_argument("--number", type=int, default=NUMBER, help="of chunks")
    parser.add_argument("--source-mb", type=float, default=SOURCE_MB)
    parser.add_argument("--coded-mb", type=float, default=CODED_MB)
    parser.add_argument("--read-twice", type=float, default=0.2, help="share of the source that chunks read twice")
    parser.add_argument("--task-ms", type=float, default=TASK_MS, help="of the scheduler for a task")
    parser.add_argument("--storage-mb", type=float, default=1250.0, help="megabytes a second, of 10 Gbit/s")
    parser.add_argument("--cores", type=int, default=2, help="of a worker")
    given = vars(parser.parse_args())
    job, hours = given.pop("job"), given.pop("hours")
    constants = Constants(**given) if job is None else Constants(**{**given, **of_job(job)})
    print(f"| workers | a film of {hours:g} h | faster | most of it | a catalogue, source-hours an hour | bound by |")
    print("|---:|---:|---:|---|---:|---|")
    for workers in WORKERS:
        seconds, why = film(constants, hours, workers)
        rate, bound = catalogue(constants, workers)
        faster = constants.work * hours / seconds
        print(f"| {workers:,} | {seconds / 60:,.0f} min | {faster:.1f} | {why} | {rate:,.1f} | {bound} |")
    print(f"\nA source-hour takes {constants.work * constants.cores / 3600:.2f} core-hours.")
    print(f"The scheduler could feed {constants.chunks / constants.handing_out:,.0f} workers,", end=" ")
    print(f"storage {constants.work / constants.moving:,.0f}.")


# Measured, or assumed: see docs/jobs.md.
PLAN, CHUNKS, JOIN = 380.0, 6050.0, 20.0
NUMBER, SOURCE_MB, CODED_MB, TASK_MS = 240, 9000.0, 2250.0, 6.0


if __name__ == "__main__":
    main()
