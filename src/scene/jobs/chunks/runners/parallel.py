"""A whole job in one go on this machine: planned, encoded by several processes, joined."""

from __future__ import annotations

import logging
import os
import selectors
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from scene import errors
from scene.errors import SceneError, UsageError
from scene.jobs.chunks.folder import WorkFolder
from scene.jobs.chunks.join import join_job
from scene.jobs.chunks.journal import JobPlan
from scene.jobs.chunks.plan import DEFAULT_CHUNK_SECONDS, JobRequest, plan_job
from scene.jobs.chunks.quality import ChunkQuality
from scene.jobs.chunks.run import finished_chunk
from scene.jobs.encode import EncodeRequest, EncodeResult, encode
from scene.progress import OnProgress, Progress, StageProgress, silent_stages
from scene.video.python_process import PythonProcess

log = logging.getLogger(__name__)

_WORKER = "scene.jobs.chunks.runners.worker"
ATTEMPTS = 3
_POLL_S = 1.0
# Of no frame encoded.
_HUNG_S = 600.0
# In bytes: file systems take 255 in all.
_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class ChunkedEncodeRequest:
    """A file to encode in chunks on this machine.

    Attributes:
        encode: what to encode and how.
        workers: processes side by side, None for as many as pay on this machine. Where that is one, and the work is not
            to be resumed, it is done in one go.
        resume: go on with the work that an earlier run left; the arguments must be the same.
        work: folder of that work, None for one beside the destination; it is removed in the end.
        chunk_seconds, quality: see `JobRequest`.
    """

    encode: EncodeRequest
    workers: int | None = None
    resume: bool = False
    work: Path | None = None
    chunk_seconds: float = DEFAULT_CHUNK_SECONDS
    quality: ChunkQuality | None = None

    @property
    def folder(self) -> Path:
        """The folder of the work."""
        if self.work is not None:
            return self.work
        name = os.fsdecode(os.fsencode(self.encode.destination.name)[:_NAME_BYTES])
        return self.encode.destination.with_name(f"{name}.job")


def encode_in_chunks(request: ChunkedEncodeRequest, stages: StageProgress = silent_stages) -> EncodeResult:
    """Encodes a file as `scene.encode` does, in chunks that are not done again when the work is broken off and resumed.

    Args:
        stages: opened as "plan", "encode" and "join", which count frames.

    Raises:
        UsageError: as of `scene.encode`, what cannot be divided, or work of an earlier run is there that is not to be
            resumed, or of another job.
        InputError, VerificationError, MissingError: see `scene.encode`.
        BusyError: another process is at work on the same job.
        SceneError: the output cannot be written, or a chunk failed three times.
    """
    started = time.monotonic()
    if request.workers is not None and request.workers < 1:
        raise UsageError(f"`workers` {request.workers} makes no sense; give 1 or more.")
    one_go = request.workers is None and not request.resume and request.quality is None
    if one_go and paying_workers() == 1:
        with stages("encode", "frames") as on_progress:
            return encode(request.encode, on_progress)
    folder = WorkFolder(request.folder)
    if folder.plan.exists() and not request.resume:
        raise UsageError(
            f"{folder.path} holds the work of an earlier run; give `resume` to go on with it, or remove it."
        )
    with _each_warning_once():
        with stages("plan", "frames") as on_progress:
            job = JobRequest(request.encode, folder.path, request.chunk_seconds, request.quality)
            plan = plan_job(job, on_progress)
        try:
            with folder.locked("workers"):
                if not plan.is_joined:
                    with stages("encode", "frames") as on_progress:
                        _Workers(folder, plan, request.workers or paying_workers(), on_progress).run()
                with stages("join", "frames") as on_progress:
                    result = join_job(folder.path, on_progress, formalities=request.encode)
        except BaseException:
            log.info("What is done is kept in %s; the same command with `resume` goes on with it.", folder.path)
            raise
    folder.remove()
    return replace(result, destination=request.encode.destination, seconds=time.monotonic() - started)


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Planning and joining open the same files: what the one has warned of the other does not say again."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        known = message in said
        said.add(message)
        return not known

    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("scene.video.")]
    for logger in loggers:
        logger.addFilter(is_new)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_new)


def paying_workers() -> int:
    """How many processes an encode is done fastest by on this machine."""
    return max(1, (os.cpu_count() or 1) // 2)


def raise_answer(answer: Mapping[str, str]) -> None:
    """Raises the error that another process answers with, unless it may not come again: a program's that has died."""
    if answer["kind"] != "ProcessError":
        raise getattr(errors, answer["kind"], SceneError)(answer["error"])


@dataclass(slots=True, eq=False)
class _Worker:
    process: PythonProcess
    index: int | None = None
    frames: int = 0
    # Counted in turns, so that the time in which this process itself is stopped is not held against the other.
    idle: float = 0.0


class _Workers:
    """Processes that encode the chunks that are not done yet."""

    def __init__(self, folder: WorkFolder, plan: JobPlan, workers: int, on_progress: OnProgress) -> None:
        self._folder, self._plan, self._on_progress = folder, plan, on_progress
        self._todo = deque(index for index in range(plan.chunks) if finished_chunk(folder, plan, index) is None)
        self._before = plan.frames - sum(self._length(index) for index in self._todo)
        self._done = self._before
        self._attempts: Counter[int] = Counter()
        self._elsewhere: deque[int] = deque()
        self._wanted = min(workers, len(self._todo))
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._started = time.monotonic()

    def run(self) -> None:
        """Until all is done; leaves no process behind."""
        try:
            while self._todo or self._elsewhere or any(worker.index is not None for worker in self._workers):
                self._assign()
                ready = [key.data for key, _ in self._selector.select(_POLL_S)]
                for worker in list(self._workers):
                    if worker in ready:
                        self._receive(worker)
                    elif not ready and worker.index is not None:
                        self._wait_for(worker)
                if not ready:
                    # What other processes were at may be done.
                    self._todo.extend(self._elsewhere)
                    self._elsewhere.clear()
                self._report()
        finally:
            for worker in self._workers:
                worker.process.ask_to_end()
            for worker in self._workers:
                worker.process.end()
            self._selector.close()

    def _length(self, index: int) -> int:
        first, end = self._plan.span(index)
        return end - first

    def _assign(self) -> None:
        while len(self._workers) < self._wanted:
            worker = _Worker(PythonProcess(_WORKER))
            self._workers.append(worker)
            self._selector.register(worker.process, selectors.EVENT_READ, worker)
        for worker in self._workers:
            if worker.index is None and self._todo:
                worker.index, worker.frames, worker.idle = self._todo.popleft(), 0, 0.0
                worker.process.send({"work": os.fspath(self._folder.path.absolute()), "index": worker.index})

    def _receive(self, worker: _Worker) -> None:
        messages = worker.process.receive()
        if messages is None:
            self._lost(worker, worker.process.how_it_ended())
            return
        worker.idle = 0.0
        for message in messages:
            index = worker.index
            assert index is not None
            if "frames" in message:
                worker.frames = message["frames"]
            elif "done" in message:
                self._done += message["done"]
                worker.index, worker.frames = None, 0
            elif "busy" in message:
                self._elsewhere.append(index)
                worker.index = None
            else:
                worker.index, worker.frames = None, 0
                raise_answer(message)
                self._failed(index, message["error"])

    def _wait_for(self, worker: _Worker) -> None:
        worker.idle += _POLL_S
        if worker.idle > _HUNG_S:
            worker.process.end(grace=0)
            self._lost(worker, f"encoded no frame in {_HUNG_S:g} s and was killed")

    def _lost(self, worker: _Worker, how: str) -> None:
        """A process is gone; another takes its place."""
        self._selector.unregister(worker.process)
        self._workers.remove(worker)
        worker.process.end(grace=0)
        if worker.index is not None:
            self._failed(worker.index, f"its process {how}.")

    def _failed(self, index: int, why: str) -> None:
        self._attempts[index] += 1
        if self._attempts[index] == ATTEMPTS:
            raise SceneError(f"chunk {index} failed {ATTEMPTS} times, at last: {why}")
        log.warning("chunk %d: %s It is tried again.", index, why)
        self._todo.append(index)

    def _report(self) -> None:
        done = self._done + sum(worker.frames for worker in self._workers)
        fps = (done - self._before) / max(time.monotonic() - self._started, 1e-3)
        self._on_progress(Progress(done, self._plan.frames, {"fps": round(fps, 2), "workers": len(self._workers)}))
