"""Many files, each in a process of its own, several side by side: what `scene batch` does."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scene.errors import SceneError, UsageError
from scene.files import check_destination, remove_leftovers
from scene.jobs.batch.journal import Entry, Journal, file_state, open_journal
from scene.jobs.batch.outcome import AnyRequest, Encoded, FileResult, plain
from scene.jobs.batch.worker import EncodeProcess
from scene.jobs.prepare.target import TargetEncodeRequest, check_target_settings
from scene.options import AUTO_MODEL
from scene.progress import Progress
from scene.video.encoding.plan import check_settings
from scene.video.source.open import reason

# Encoders use several cores each, and decoding, enhancing and encoding of one file overlap.
_CORES_A_WORKER = 4


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """Many files to encode.

    Attributes:
        encodes: what to encode and how, each with a destination of its own, whose folder is made where there is none.
        folder: where the journal is kept, such as the one folder that all outputs are below.
        workers: how many files at a time; None for one for every four cores.
    """

    encodes: tuple[AnyRequest, ...]
    folder: Path
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What was done.

    Attributes:
        files: in the order of the request.
        workers: how many files at a time.
        seconds: wall-clock time of this run.
    """

    files: tuple[FileResult, ...]
    workers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Working:
    """How far a worker is.

    Attributes:
        worker: its number, from 0.
        request: what it works on.
        stage, unit: "search" and "samples", or "encode" and "frames".
    """

    worker: int
    request: AnyRequest
    stage: str
    unit: str
    progress: Progress


OnNews = Callable[[Working | FileResult], None]


def _silent(_: Working | FileResult) -> None:
    """Of a caller that does not want to know."""


def batch(request: BatchRequest, on_news: OnNews = _silent) -> BatchResult:
    """Encodes files, each in a process of its own, so that no end of one is the end of another.

    A file that an earlier call has encoded into the same folder is left as it is, unless its source, its settings or
    its output has changed since. An output that no call made is replaced only where its request says `overwrite`.

    Args:
        on_news: is called in this thread, with how far workers are and with each file that is finished.

    Returns:
        What became of each file; a file that fails is no error of the call.

    Raises:
        UsageError: invalid settings, or another process is at work in the folder. Nothing is done then.
        SceneError: the folder cannot be written to.
    """
    started = time.monotonic()
    _check(request)
    with open_journal(request.folder) as journal:
        results: dict[int, FileResult] = {}
        tasks: list[_Task] = []
        for number, one in enumerate(request.encodes):
            before = journal.find(one)
            known = None if before is None else journal.unchanged(one, before)
            if known is None:
                tasks.append(_Task(number, one, before))
            else:
                results[number] = FileResult(one, "unchanged", known)
                on_news(results[number])
        workers = min(request.workers or default_workers(), max(1, len(tasks)))
        _Crew(journal, tasks, workers).run(results, on_news)
    files = tuple(results[number] for number in range(len(request.encodes)))
    return BatchResult(files, workers, time.monotonic() - started)


def default_workers() -> int:
    """How many files at a time on this machine."""
    return max(1, len(os.sched_getaffinity(0)) // _CORES_A_WORKER)


def _check(request: BatchRequest) -> None:
    if request.workers is not None and request.workers < 1:
        raise UsageError("`workers` must be at least 1.")
    taken: dict[Path, Path] = {}
    checked: list[AnyRequest] = []
    for one in request.encodes:
        wanted = plain(one)
        if wanted.destination in taken:
            raise UsageError(f"{taken[wanted.destination]} and {wanted.source} would both become {wanted.destination}.")
        taken[wanted.destination] = wanted.source
        # Most files have the settings of others.
        nameless = replace(wanted, source=Path(), destination=Path())
        settings = replace(one, encode=nameless) if isinstance(one, TargetEncodeRequest) else nameless
        if settings not in checked:
            checked.append(settings)
            try:
                _check_settings(one)
            except SceneError as error:
                raise type(error)(f"{wanted.source}: {error}") from None


def _check_settings(request: AnyRequest) -> None:
    """Raises UsageError, or MissingError, for what is wrong with a request whatever is in its source."""
    if isinstance(request, TargetEncodeRequest):
        check_target_settings(request)
    else:
        check_settings(request.settings)
    enhancement = plain(request).enhancement
    if not enhancement.changes_nothing and enhancement.model != AUTO_MODEL:
        from scene.model import resolve_model  # loads torch

        resolve_model(enhancement.model)


@dataclass(frozen=True, slots=True)
class _Task:
    number: int
    request: AnyRequest
    before: Entry | None


class _Crew:
    """The workers: threads, each with one process at a time."""

    def __init__(self, journal: Journal, tasks: Sequence[_Task], workers: int) -> None:
        self._journal = journal
        self._tasks = deque(tasks)
        self._left = len(tasks)
        self._news = queue.SimpleQueue[Working | tuple[int, FileResult] | BaseException]()
        # Guards what runs, and that nothing is started any more.
        self._lock = threading.Lock()
        self._running = set[EncodeProcess]()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"batch-{number}") for number in range(workers)
        ]

    def run(self, results: dict[int, FileResult], on_news: OnNews) -> None:
        """Does all tasks; on the way out of an exception the processes are ended first."""
        try:
            for thread in self._threads:
                thread.start()
            while self._left:
                news = self._news.get()
                if isinstance(news, BaseException):
                    raise news
                if isinstance(news, Working):
                    on_news(news)
                else:
                    number, result = news
                    results[number] = result
                    self._left -= 1
                    on_news(result)
        finally:
            self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            process.ask_to_end()
        for process in running:
            process.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self, worker: int) -> None:
        try:
            while not self._stopped:
                try:
                    task = self._tasks.popleft()
                except IndexError:
                    return
                self._news.put((task.number, self._encode(worker, task)))
        except BaseException as error:
            self._news.put(error)

    def _encode(self, worker: int, task: _Task) -> FileResult:
        request, wanted = task.request, plain(task.request)
        try:
            wanted.destination.parent.mkdir(parents=True, exist_ok=True)
            owned = task.before is not None
            check_destination(wanted.source, wanted.destination, overwrite=wanted.overwrite or owned)
            remove_leftovers(wanted.destination)
            source = file_state(wanted.source)
            self._journal.begin(request)
            with tempfile.TemporaryDirectory(prefix="scene-batch-", ignore_cleanup_errors=True) as folder:
                done, why, code = self._in_process(worker, _replacing(request), Path(folder))
            remove_leftovers(wanted.destination)
            if done is not None:
                self._journal.finish(request, source, done)
                return FileResult(request, "done", done)
            if code:
                self._journal.withdraw(request, task.before)
        except SceneError as error:
            why, code = str(error), error.exit_code
        except OSError as error:
            why, code = f"{error.filename or wanted.destination}: {reason(error)}.", 1
        return FileResult(request, "failed", None, why, code or 1)

    def _in_process(self, worker: int, request: AnyRequest, folder: Path) -> tuple[Encoded | None, str, int]:
        """Its result; without a code where the process ended otherwise than by itself."""

        def on_progress(stage: str, unit: str, progress: Progress) -> None:
            self._news.put(Working(worker, request, stage, unit, progress))

        with self._lock:
            if self._stopped:
                return None, "stopped", 0
            process = EncodeProcess(request, folder)
            self._running.add(process)
        try:
            return process.result(on_progress)
        finally:
            with self._lock:
                self._running.discard(process)


def _replacing(request: AnyRequest) -> AnyRequest:
    """The request, allowed to replace its output: whether it may has been decided."""
    if isinstance(request, TargetEncodeRequest):
        return replace(request, encode=replace(request.encode, overwrite=True))
    return replace(request, overwrite=True)
