"""The grid clip x method x codec x CRF: what is cached is taken, the rest is measured, several at once."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scene.errors import MissingError, SceneError, UsageError
from scene.evaluation.cache import Measurement, PointCache
from scene.evaluation.clip import Clip, Recipe, make_reference, reference_key
from scene.evaluation.codecs import GOP_SECONDS, CodecRun, encoder_options, encoder_version
from scene.evaluation.methods import Method
from scene.evaluation.point import measure_point
from scene.evaluation.raw_video import RawVideo
from scene.evaluation.treatment import Treatment
from scene.evaluation.variant import make_variant
from scene.metrics.libvmaf import METRICS_VERSION
from scene.progress import OnProgress, Progress, silent
from scene.video.ffmpeg import FFmpeg, StoppedError, has_filter

_log = logging.getLogger(__name__)

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Grid:
    """What to measure.

    Attributes:
        clips: from `open_clips`.
        recipe: how references are made.
        methods: from `parse_methods`, the anchor `none` first.
        codecs: with their presets and CRFs.
    """

    clips: tuple[Clip, ...]
    recipe: Recipe
    methods: tuple[Method, ...]
    codecs: tuple[CodecRun, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One encode of the grid and what it measured.

    Attributes:
        clip, method, codec, crf: its place in the grid.
        encoder: the encoder's version.
        measurement: size and scores.
    """

    clip: Clip
    method: Method
    run: CodecRun
    crf: float
    encoder: str
    measurement: Measurement

    @property
    def kbps(self) -> float:
        """Rate of the elementary stream in kilobits per second."""
        seconds = self.measurement.scores.frames / self.clip.rate
        return float(self.measurement.bytes * 8 / seconds / 1000)


@dataclass(frozen=True, slots=True)
class Failure:
    """A point that could not be measured, and why."""

    clip: str
    method: str
    codec: str
    crf: float
    reason: str


@dataclass(frozen=True, slots=True)
class Treated:
    """What a method did to a clip's pictures before any encoder."""

    clip: Clip
    method: Method
    treatment: Treatment


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a measurement went; points from the cache take none.

    Attributes:
        wall_seconds: from beginning to end.
        encode_seconds, compare_seconds: inside encoders, and inside decoders and metrics, summed over workers.
        jobs: workers side by side.
        points: how many were measured.
    """

    wall_seconds: float
    encode_seconds: float
    compare_seconds: float
    jobs: int
    points: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The grid after measuring.

    Attributes:
        points: in the grid's order.
        encoders: versions by codec.
        failures: points that could not be measured.
        treatments: by clip and method, in the grid's order; `none` has none.
        timing: None where nothing is known of it.
    """

    points: tuple[Point, ...]
    encoders: dict[str, str]
    failures: tuple[Failure, ...]
    treatments: tuple[Treated, ...] = ()
    timing: Timing | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class _Task:
    clip: Clip
    method: Method
    run: CodecRun
    crf: float
    gop: int
    key: dict[str, Any]


@dataclass(slots=True)
class _Board:
    """What is known so far; written to by the workers."""

    total: int
    on_progress: OnProgress
    done: dict[int, Measurement] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    cached: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self) -> None:
        fields: dict[str, int] = {"cached": self.cached}
        if self.failed:
            fields["failed"] = len(self.failed)
        self.on_progress(Progress(len(self.done) + len(self.failed), self.total, fields))


def measure_grid(
    grid: Grid,
    ffmpeg: FFmpeg,
    cache: PointCache,
    *,
    jobs: int = 1,
    threads: int = 1,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> Measured:
    """Measures every point of the grid, each at most once ever for one cache.

    A point that fails is tried once more; if it fails again the rest goes on without it. On an interruption
    running encoders are killed, raw video is deleted, and what was measured stays in the cache.

    Args:
        jobs: how many points to measure side by side.
        threads: of libvmaf, in each.
        device: for networks.

    Raises:
        MissingError: ffmpeg lacks an encoder or libvmaf, or the device is not on this machine.
        UsageError: a network that cannot be run on video like this.
        SceneError: the cache cannot be written to.
    """
    # Giving up here must not stop whatever else the caller runs.
    ffmpeg = replace(ffmpeg, stop=threading.Event())
    with tempfile.TemporaryDirectory(prefix="scene-evaluate-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        encoders = {run.codec.name: encoder_version(ffmpeg, run.codec, folder) for run in grid.codecs}
        tasks = _plan(grid, ffmpeg, encoders)
        board = _Board(len(tasks), on_progress)
        for index, task in enumerate(tasks):
            found = cache.load(task.key)
            if found is not None:
                board.done[index] = found
        board.cached = len(board.done)
        board.report()
        if len(board.done) < len(tasks):
            if not has_filter(ffmpeg, "libvmaf"):
                raise MissingError(f"{ffmpeg.path} was built without libvmaf; give another with --ffmpeg PATH")
            _measure_missing(tasks, grid, ffmpeg, cache, board, folder, jobs, threads, device)
    points = tuple(
        Point(t.clip, t.method, t.run, t.crf, encoders[t.run.codec.name], board.done[index])
        for index, t in enumerate(tasks)
        if index in board.done
    )
    failures = tuple(
        Failure(t.clip.name, t.method.label, t.run.codec.name, t.crf, board.failed[index])
        for index, t in enumerate(tasks)
        if index in board.failed
    )
    return Measured(points, encoders, failures)


def _plan(grid: Grid, ffmpeg: FFmpeg, encoders: dict[str, str]) -> list[_Task]:
    tasks = []
    for clip in grid.clips:
        reference = reference_key(clip, grid.recipe)
        gop = max(1, round(GOP_SECONDS * clip.rate))
        for method in grid.methods:
            for run in (run for run in grid.codecs if method.serves(run.codec.name)):
                for crf in run.crfs:
                    key = {
                        "reference": reference,
                        "method": method.identity,
                        "encoder": encoders[run.codec.name],
                        "options": encoder_options(run, crf, gop, method.parameters),
                        "ffmpeg": ffmpeg.build,
                        "metrics": METRICS_VERSION,
                    }
                    tasks.append(_Task(clip, method, run, crf, gop, key))
    return tasks


def _measure_missing(
    tasks: Sequence[_Task],
    grid: Grid,
    ffmpeg: FFmpeg,
    cache: PointCache,
    board: _Board,
    folder: Path,
    jobs: int,
    threads: int,
    device: str,
) -> None:
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="point")
    pending: set[Future[None]] = set()

    def measure(index: int, reference: RawVideo, processed: RawVideo) -> None:
        task = tasks[index]

        def attempt() -> Measurement:
            with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as private:
                return measure_point(
                    *(ffmpeg, reference, processed, task.run, task.crf, task.gop),
                    parameters=task.method.parameters,
                    folder=Path(private),
                    threads=threads,
                )

        outcome = _with_retry(attempt, task)
        if isinstance(outcome, Measurement):
            cache.store(task.key, outcome)
        with board.lock:
            if isinstance(outcome, Measurement):
                board.done[index] = outcome
            else:
                board.failed[index] = outcome
            board.report()

    try:
        for clip_number, clip in enumerate(grid.clips):
            missing = [i for i, task in enumerate(tasks) if task.clip is clip and i not in board.done]
            if not missing:
                continue
            place = folder / str(clip_number)
            place.mkdir()
            try:
                reference = make_reference(ffmpeg, clip, grid.recipe, place / "reference.y4m")
            except StoppedError:
                raise
            except SceneError as error:
                _fail(board, missing, str(error))
                continue
            for method_number, method in enumerate(grid.methods):
                indices = [i for i in missing if tasks[i].method is method]
                if not indices:
                    continue
                try:
                    processed = make_variant(ffmpeg, method, reference, place / f"{method_number}.y4m", device=device)
                except (StoppedError, UsageError, MissingError):
                    # Not this clip's fault: no other would fare better.
                    raise
                except SceneError as error:
                    _fail(board, indices, str(error))
                    continue
                pending |= {pool.submit(measure, index, reference, processed) for index in indices}
                # Keep the workers fed while the next variant is made, but no further ahead than that.
                pending = _drain(pending, jobs)
            pending = _drain(pending, 0)
            shutil.rmtree(place, ignore_errors=True)
    finally:
        # On the way out of an error or an interruption: kill what runs, start nothing more.
        if pending:
            ffmpeg.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(pending: set[Future[None]], limit: int) -> set[Future[None]]:
    """Waits until at most `limit` futures are unfinished; raises what one of them raised."""
    while len(pending) > limit:
        finished, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
    return pending


def _with_retry(attempt: Any, task: _Task) -> Measurement | str:
    """The measurement, or why there is none after the second failure."""
    reason = ""
    place = f"{task.clip.name}, {task.method.label}, {task.run.codec.name} at CRF {task.crf:g}"
    for number in range(_ATTEMPTS):
        try:
            measurement: Measurement = attempt()
            return measurement
        except StoppedError:
            raise
        except (SceneError, OSError) as error:
            reason = str(error)
            again = "trying once more" if number + 1 < _ATTEMPTS else "given up"
            _log.warning("%s: %s (%s)", place, reason, again)
    return reason


def _fail(board: _Board, indices: Sequence[int], reason: str) -> None:
    _log.warning("%d points are lost: %s", len(indices), reason)
    with board.lock:
        board.failed.update(dict.fromkeys(indices, reason))
        board.report()
