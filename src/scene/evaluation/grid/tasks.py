"""The units of work of a grid, wherever they are done: what is to be measured, doing it, and what is known so far."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from scene.errors import MissingError, SceneError, UsageError
from scene.evaluation.grid.methods import Method
from scene.evaluation.grid.prefilter import PrefilterEffect, measure_effect
from scene.measure.cache import Measurement, PointCache
from scene.measure.clip import Clip
from scene.measure.encode import CodecRun
from scene.measure.point import measure_point
from scene.measure.raw_video import RawVideo
from scene.measure.regions import Mask, region_key
from scene.metrics.regions import RegionScores
from scene.progress import OnProgress, Progress
from scene.video.encoders import DEFAULT_ENCODER
from scene.video.encoding.regions import EncoderFocus
from scene.video.ffmpeg import FFmpeg, StoppedError

_log = logging.getLogger(__name__)

ATTEMPTS = 2
# Not the fault of one clip or point: no other would fare better.
FATAL = (StoppedError, UsageError, MissingError)
# Encoder and CRF whose step conditions a network for its effect, which has no encoder.
PREFILTER_QUALITY = (DEFAULT_ENCODER, 30.0)
# What the cache calls entries of these kinds.
_EFFECT = "treatment"
_REGIONS = "regions"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PointTask:
    """A point to measure.

    Attributes:
        clip, method, run, crf: its place in the grid.
        gop: key-frame interval in frames.
        key: of its cache entry.
        mask: of the clip, where scores inside and outside of it are wanted too.
        known: what the cache has of it already, where all that is missing are these.
    """

    clip: Clip
    method: Method
    run: CodecRun
    crf: float
    gop: int
    key: Mapping[str, Any]
    mask: Mask | None = None
    known: Measurement | None = None

    @property
    def step(self) -> float | None:
        """See `Method.step`; tasks of one clip, method and step work on the same pictures."""
        return self.method.step(self.run.codec.name, self.crf)

    @property
    def place(self) -> str:
        """Its place in words."""
        return f"{self.clip.name}, {self.method.label}, {self.run.codec.name} at CRF {self.crf:g}"


@dataclass(frozen=True, slots=True)
class PrefilterTask:
    """A method's change to a clip's pictures to measure; attributes as of `PointTask`.

    Of a quantiser-conditioned network it is the change at x264's CRF 30, the middle of its ladder.
    """

    clip: Clip
    method: Method
    key: Mapping[str, Any]

    @property
    def step(self) -> float | None:
        """See `PointTask.step`."""
        return self.method.step(*PREFILTER_QUALITY)

    @property
    def place(self) -> str:
        """Its place in words."""
        return f"{self.clip.name}, {self.method.label} before any encoder"


Task = PointTask | PrefilterTask
Outcome = Measurement | PrefilterEffect


def by_step(tasks: Sequence[Task], indices: Iterable[int]) -> list[list[int]]:
    """Tasks of one clip and method, as indices of `tasks`, in groups that work on the same pictures.

    The groups are in the order of their first tasks. There is one but for quantiser-conditioned networks, whose
    codecs meet where their CRFs have the same step: x264's and x265's always do.
    """
    groups: dict[float | None, list[int]] = {}
    for index in indices:
        groups.setdefault(tasks[index].step, []).append(index)
    return list(groups.values())


def find_mask(tasks: Iterable[Task], clip: Clip) -> Mask | None:
    """The mask of a clip, if its tasks have one."""
    return next((task.mask for task in tasks if isinstance(task, PointTask) and task.clip is clip), None)


def run_task(
    ffmpeg: FFmpeg,
    task: Task,
    reference: RawVideo,
    processed: RawVideo,
    mask: RawVideo | None = None,
    focus: EncoderFocus | None = None,
    *,
    folder: Path,
    threads: int,
) -> Outcome:
    """Does one task.

    Args:
        reference, processed: the task's clip, and what its method made of it.
        mask: of `make_mask`, for a task that has one.
        focus: what the encoder is told, for a method that has such a focus.
        folder: where a private folder may be made.
        threads: of libvmaf.

    Raises:
        ProcessError, VerificationError, InputError: see `measure_point` and `measure_effect`.
    """
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        private = Path(name)
        if isinstance(task, PrefilterTask):
            return measure_effect(ffmpeg, reference, processed, folder=private, threads=threads)
        return measure_point(
            *(ffmpeg, reference, processed, task.run, task.crf, task.gop),
            parameters=task.method.parameters,
            focus=focus,
            mask=mask,
            known=task.known,
            folder=private,
            threads=threads,
        )


def with_retry(attempt: Callable[[], T], place: str) -> T | str:
    """What `attempt` gives, or after the last failure the reason in words.

    Whatever goes wrong with one unit must not lose the others, so every error counts as its failure, but for those of
    `FATAL`, which are raised.
    """
    reason = ""
    for number in range(1, ATTEMPTS + 1):
        try:
            return attempt()
        except FATAL:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, SceneError) else f"{type(error).__name__}: {error}"
            if number < ATTEMPTS:
                _log.warning("%s: %s (trying once more)", place, reason)
    return reason


class TaskResults:
    """What is known of each task; the workers write to it, from any thread.

    Attributes:
        tasks: in the grid's order; tasks are named by their index here.
        done: results by task.
        failed: reasons by task.
        cached: the tasks whose results were known before.

    Args:
        costs: of each task beside the others, in any unit; alike where none are given.
    """

    def __init__(
        self, tasks: Sequence[Task], cache: PointCache, on_progress: OnProgress, costs: Sequence[float] | None = None
    ) -> None:
        self.tasks = list(tasks)
        self._costs = costs or [1.0] * len(tasks)
        self.done: dict[int, Outcome] = {}
        self.failed: dict[int, str] = {}
        self._cache = cache
        self._on_progress = on_progress
        self._lock = threading.Lock()
        # Tasks of one key have one result: a tuned filter may have chosen a setting that is measured anyway.
        first: dict[str, int] = {}
        self._twins: dict[int, list[int]] = {}
        for index, task in enumerate(tasks):
            key = json.dumps(dict(task.key), sort_keys=True)
            self._twins.setdefault(first.setdefault(key, index), []).append(index)
        for index, task in enumerate(tasks):
            found: Outcome | None
            if isinstance(task, PrefilterTask):
                found = cache.load_record(task.key, _EFFECT, PrefilterEffect)
            else:
                found = self._load_point(index, task)
            if found is not None:
                self.done[index] = found
        self.cached = frozenset(self.done)
        self._report()

    def _load_point(self, index: int, task: PointTask) -> Measurement | None:
        """What the cache has of a point if that is all; else the task takes note of what it has."""
        measured = self._cache.load(task.key)
        if measured is None or task.mask is None:
            return measured
        regions = self._cache.load_record(region_key(task.key, task.mask), _REGIONS, RegionScores)
        if regions is None:
            self.tasks[index] = replace(task, known=measured)
            return None
        return replace(measured, regions=regions)

    @property
    def missing(self) -> list[int]:
        """The tasks without a result that have not failed; of several with one key, the first."""
        return [index for index in self._twins if index not in self.done and index not in self.failed]

    def finish(self, index: int, outcome: Outcome | str) -> None:
        """Takes a task's result, which goes into the cache, or the reason why there is none.

        Raises:
            SceneError: the cache cannot be written to.
        """
        task = self.tasks[index]
        if isinstance(outcome, str):
            _log.warning("%s: %s (given up)", task.place, outcome)
        elif isinstance(outcome, PrefilterEffect):
            self._cache.store_record(task.key, _EFFECT, outcome)
        else:
            self._store_point(task, outcome)
        with self._lock:
            for twin in self._twins[index]:
                if isinstance(outcome, str):
                    self.failed[twin] = outcome
                else:
                    self.done[twin] = outcome
            self._report()

    def _store_point(self, task: Task, outcome: Measurement) -> None:
        """Scores by region lie beside the point, which is of use without a mask too, and with another one."""
        assert isinstance(task, PointTask)
        if task.known is None or task.known.bytes != outcome.bytes:
            self._cache.store(task.key, replace(outcome, regions=None))
        if task.mask is not None and outcome.regions is not None:
            self._cache.store_record(region_key(task.key, task.mask), _REGIONS, outcome.regions)

    def fail(self, indices: Sequence[int], reason: str) -> None:
        """Takes note of tasks that cannot even be begun."""
        _log.warning("%d measurements are lost: %s", len(indices), reason)
        with self._lock:
            self.failed.update((twin, reason) for index in indices for twin in self._twins[index])
            self._report()

    def _report(self) -> None:
        fields: dict[str, int] = {"cached": len(self.cached)}
        if self.failed:
            fields["failed"] = len(self.failed)
        # A twin is measured with the first of its kind.
        spent = sum(self._costs[index] for index in self._twins if index in self.done or index in self.failed)
        cost = (spent, sum(self._costs[index] for index in self._twins))
        self._on_progress(Progress(len(self.done) + len(self.failed), len(self.tasks), fields, cost))
