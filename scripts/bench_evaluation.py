"""Says where the time of `scene evaluate` goes: how much of the workers' time is spent inside encoders and libvmaf.

    OMP_NUM_THREADS=1 python scripts/bench_evaluation.py CLIP --frames 16

Measures a grid with an empty cache. The headline is the time that worker threads spend waiting for an
encoder or for the process that runs libvmaf and xpsnr, over wall time times workers. Decoding, SCENE's own Python
(flicker, affine fit, logs) and idle workers are what is missing to 100 %. Preparation (references, variants) runs
beside the workers and takes processor time from them, but no worker.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scene.cli.console import progress_display, setup_logging
from scene.evaluation.evaluate import plan_evaluation
from scene.evaluation.grid import local as workers
from scene.evaluation.grid.grid import Grid, measure_grid
from scene.evaluation.requests import EvaluationRequest
from scene.measure.cache import PointCache
from scene.video.ffmpeg import Completed, FFmpeg, find_ffmpeg

# A fast, a middle and a slow rung of each ladder.
CRFS = {"x264": (22.0, 30.0, 38.0), "x265": (22.0, 30.0, 38.0), "svtav1": (27.0, 41.0, 55.0)}


class Ledger:
    """Seconds by name, from all threads."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """`function`, its time booked under `name`."""

        def call(*arguments: Any, **options: Any) -> Any:
            began = time.monotonic()
            try:
                return function(*arguments, **options)
            finally:
                with self._lock:
                    self.seconds[name] += time.monotonic() - began

        return call


@dataclass(frozen=True, slots=True)
class TimedFFmpeg(FFmpeg):
    """An ffmpeg whose runs in worker threads are booked by what they do."""

    ledger: Ledger = field(default_factory=Ledger, compare=False, repr=False)

    def run(self, arguments: Sequence[str]) -> Completed:
        if threading.current_thread() is threading.main_thread():
            return FFmpeg.run(self, arguments)
        name = "libvmaf and xpsnr" if any("libvmaf=" in word for word in arguments) else "decoders"
        completed: Completed = self.ledger.timed(FFmpeg.run, name)(self, arguments)
        return completed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--models", default="none,contrast,asconvsr")
    parser.add_argument("--codecs", default="x264,x265,svtav1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    setup_logging("text")
    found = find_ffmpeg()
    ledger = Ledger()
    ffmpeg = TimedFFmpeg(found.path, found.version, found.build, ledger=ledger)
    # Timed from outside, since a grid itself has no use for these figures.
    for name in ("make_reference", "make_variant", "run_task"):
        setattr(workers, name, ledger.timed(getattr(workers, name), name))
    request = EvaluationRequest(
        clips=(given.clip,),
        models=tuple(given.models.split(",")),
        codecs=tuple(given.codecs.split(",")),
        crf_by_codec=CRFS,
        frames=given.frames,
    )
    plan = plan_evaluation(request)
    grid = Grid(plan.clips, plan.recipe, plan.methods, plan.runs)
    began, children = time.monotonic(), os.times()
    with tempfile.TemporaryDirectory() as folder, progress_display("measure", "points") as on_progress:
        measured = measure_grid(
            grid, ffmpeg, PointCache(Path(folder)), jobs=given.jobs, device="cpu", on_progress=on_progress
        )
    wall, processors = time.monotonic() - began, os.times()
    if measured.timing is not None:
        # By the encoders' own clocks, in their processes.
        ledger.seconds["encoders"] = measured.timing.encode_seconds
    show(ledger, wall, given.jobs)
    width, height = grid.recipe.size(grid.clips[0])
    own = processors.user + processors.system - children.user - children.system
    theirs = processors.children_user + processors.children_system - children.children_user - children.children_system
    print(f"processor time: {theirs:.1f} s in ffmpeg and encoders, {own:.1f} s in this process (networks, flicker)")
    print(
        f"{len(measured.points)} points and {len(measured.effects)} pre-filter effects of {width}x{height}, "
        f"{given.frames} frames; {len(measured.failures)} failed"
    )


def show(ledger: Ledger, wall: float, jobs: int) -> None:
    """Prints shares of the workers' time, and what preparation took."""
    seconds, whole = ledger.seconds, wall * jobs
    inside = seconds["encoders"] + seconds["libvmaf and xpsnr"]
    print(f"inside encoders and libvmaf: {100 * inside / whole:.1f} % of {wall:.1f} s x {jobs} workers")
    rows = [(name, seconds[name]) for name in ("encoders", "libvmaf and xpsnr", "decoders")]
    rows.append(("our own Python", seconds["run_task"] - inside - seconds["decoders"]))
    rows.append(("idle", whole - seconds["run_task"]))
    for name, value in rows:
        print(f"  {name:18} {value:8.1f} s {100 * value / whole:5.1f} %")
    prepared = seconds["make_reference"] + seconds["make_variant"]
    print(f"preparation beside them: {prepared:.1f} s (references {seconds['make_reference']:.1f} s)")


if __name__ == "__main__":
    main()
