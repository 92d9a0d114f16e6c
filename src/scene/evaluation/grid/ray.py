"""A grid's missing points measured through Ray, on one machine or on many.

A unit is what goes to a machine: one clip, one method and one codec, with all that is needed by value, since
machines may share no file system. The machine makes the reference and the variant for itself and sends every result
as soon as there is one; only the driver writes to the cache. With the first unit of a clip and method goes its
effect. So a network runs once a codec and clip instead of once a clip, which is little beside seven encodes and
comparisons, and no raw video crosses the network. Of a quantiser-conditioned network a unit is one step instead
of one codec: it runs once for each anyway.

Every machine needs this package, the driver's version of PyAV and an ffmpeg of the driver's build (the cache's keys
name it): at the driver's path, or the one that `find_ffmpeg` finds.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scene import __version__
from scene.cluster import LOCAL, cluster_address, connect
from scene.errors import MissingError, SceneError
from scene.evaluation.grid.focus import make_maps, told
from scene.evaluation.grid.local import RunnerConfig
from scene.evaluation.grid.tasks import (
    ATTEMPTS,
    FATAL,
    Outcome,
    PointTask,
    PrefilterTask,
    Task,
    TaskResults,
    by_step,
    run_task,
    with_retry,
)
from scene.evaluation.grid.variant import make_variant
from scene.measure.clip import Clip, Recipe, make_reference
from scene.measure.raw_video import RawVideo
from scene.measure.regions import Mask, make_mask
from scene.measure.workspace import workspace
from scene.video.encoding.elementary import pyav_version
from scene.video.encoding.regions import EncoderFocus
from scene.video.ffmpeg import FFmpeg, find_ffmpeg

_log = logging.getLogger(__name__)

# How long cancelled units may take to kill their encoders, and how often new machines are looked for.
_CANCEL_TIMEOUT_S = 20.0
_POLL_S = 5.0


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """Tasks of one clip, method and step for one machine, by index on the driver."""

    tasks: tuple[tuple[int, Task], ...]
    recipe: Recipe
    ffmpeg: Path
    build: str
    pyav: str
    version: str
    threads: int
    device: str
    mask: Mask | None
    attempts: int = 0

    @property
    def clip(self) -> Clip:
        return self.tasks[0][1].clip


def run_on_cluster(results: TaskResults, config: RunnerConfig, address: str) -> int:
    """Does the missing tasks; returns how many were done side by side at the start.

    Args:
        config: `folder` is not used, `jobs` and `threads` only if a Ray is started here; a cluster's machines do as
            many units at once as they have cores.
        address: "auto" for the cluster that $RAY_ADDRESS names, or without it a Ray of this machine alone, which ends
            with this call; else a cluster's address.

    Raises:
        MissingError: Ray is not installed, or a machine lacks what is needed or has another build or version of it.
        UsageError: the address is none, or see `scene.evaluation.grid.tasks.FATAL`.
        SceneError: the cluster cannot be reached, or the cache cannot be written to.
    """
    place = cluster_address(address)
    ray, ours = connect(place, config.jobs * config.threads)
    driver = _Driver(ray, results, config if place == LOCAL else replace(config, threads=1))
    try:
        slots = driver.slots
        driver.run()
        return slots
    finally:
        driver.cancel()
        if ours:
            ray.shutdown()


class _Driver:
    """Hands units out and takes results in."""

    def __init__(self, ray: Any, results: TaskResults, config: RunnerConfig) -> None:
        self.ray, self.results, self.config = ray, results, config
        self.waiting = deque(_work_units(results, config))
        self.running: dict[Any, WorkUnit] = {}
        # Of each clip, and of its mask where it has one.
        self.contents: dict[str, list[Any]] = {}
        self.units_left = Counter(unit.clip.sha256 for unit in self.waiting)
        self.send = ray.remote(num_cpus=config.threads, max_retries=0, num_returns="streaming")(_run_unit)

    @property
    def slots(self) -> int:
        """Work units that the cluster can work on at once, as it is now."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)) // self.config.threads)

    def run(self) -> None:
        while self.waiting or self.running:
            # No further ahead than that: each clip on its way takes room in Ray's memory.
            while self.waiting and len(self.running) < 2 * self.slots:
                self._submit(self.waiting.popleft())
            if not self.running:
                continue
            ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=_POLL_S)
            for stream in ready:
                self._receive(stream)

    def cancel(self) -> None:
        """Ends what is under way, encoders included."""
        for stream in self.running:
            self.ray.cancel(stream)
        waiting = list(self.running)
        while waiting:
            ready, waiting = self.ray.wait(waiting, num_returns=1, timeout=_CANCEL_TIMEOUT_S)
            if not ready:
                return
            waiting += [stream for stream in ready if not self._ended(stream)]

    def _ended(self, stream: Any) -> bool:
        try:
            self.ray.get(next(stream))
        except (StopIteration, KeyboardInterrupt, self.ray.exceptions.RayError):
            return True
        return False

    def _submit(self, unit: WorkUnit) -> None:
        clip, mask = unit.clip, unit.mask
        if clip.sha256 not in self.contents:
            try:
                # Mapped, so that they go from the disk to Ray's memory without a copy in ours.
                paths = [clip.path] if mask is None else [clip.path, mask.path]
                contents = [np.asarray(np.memmap(path, np.uint8, "r")) for path in paths]
            except (OSError, ValueError) as error:
                self.results.fail([index for index, _ in unit.tasks], f"{clip.name} cannot be read ({error})")
                return
            self.contents[clip.sha256] = [self.ray.put(content) for content in contents]
        self.running[self.send.remote(unit, *self.contents[clip.sha256])] = unit

    def _receive(self, stream: Any) -> None:
        try:
            index, outcome = self.ray.get(next(stream))
        except StopIteration:
            self._close(self.running.pop(stream), "it ended early")
        except self.ray.exceptions.RayError as error:
            # The machine or its process is gone, or there is an error in the code that runs there.
            self._close(self.running.pop(stream), str(error).strip().rpartition("\n")[2])
        else:
            if isinstance(outcome, SceneError):
                raise outcome
            self.results.finish(index, outcome)

    def _close(self, unit: WorkUnit, reason: str) -> None:
        missing = set(self.results.missing)
        rest = tuple((index, task) for index, task in unit.tasks if index in missing)
        if rest and unit.attempts + 1 < ATTEMPTS:
            _log.warning("%s: a worker was lost: %s (trying once more)", rest[0][1].place, reason)
            self.waiting.append(replace(unit, tasks=rest, attempts=unit.attempts + 1))
            return
        if rest:
            self.results.fail([index for index, _ in rest], f"a worker was lost: {reason}")
        key = unit.clip.sha256
        self.units_left[key] -= 1
        if not self.units_left[key]:
            self.contents.pop(key, None)


def _work_units(results: TaskResults, config: RunnerConfig) -> Iterator[WorkUnit]:
    masks = {task.clip.sha256: task.mask for task in results.tasks if isinstance(task, PointTask)}
    for _, group in groupby(
        results.missing, key=lambda index: (id(results.tasks[index].clip), id(results.tasks[index].method))
    ):
        yield from (
            WorkUnit(
                tasks=tuple((index, results.tasks[index]) for index in indices),
                recipe=config.recipe,
                ffmpeg=config.ffmpeg.path.absolute(),
                build=config.ffmpeg.build,
                pyav=pyav_version(),
                version=__version__,
                threads=config.threads,
                device=config.device,
                mask=masks.get(results.tasks[indices[0]].clip.sha256),
            )
            for indices in _portions(results, list(group))
        )


def _portions(results: TaskResults, indices: Sequence[int]) -> Iterator[list[int]]:
    """Splits the tasks of one clip and method by step, or by codec; a effect then goes with what follows it."""
    if results.tasks[indices[0]].method.conditioned:
        yield from by_step(results.tasks, indices)
        return
    lists: list[list[int]] = []
    codec = None
    for index in indices:
        task = results.tasks[index]
        own = None if isinstance(task, PrefilterTask) else task.run.codec.name
        if not lists or (codec is not None and own != codec):
            lists.append([])
        lists[-1].append(index)
        codec = own
    yield from lists


def _run_unit(unit: WorkUnit, *contents: npt.NDArray[np.uint8]) -> Iterator[tuple[int, Outcome | str | SceneError]]:
    """Runs on a machine of the cluster: the results of a unit, one by one, or what ends the whole grid."""
    try:
        ffmpeg = _local_ffmpeg(unit)
        with workspace() as folder:
            yield from _measure_unit(unit, ffmpeg, contents, folder)
    except FATAL as error:
        yield -1, error


def _measure_unit(
    unit: WorkUnit, ffmpeg: FFmpeg, contents: Sequence[npt.NDArray[np.uint8]], folder: Path
) -> Iterator[tuple[int, Outcome | str]]:
    # Under their own names: ffmpeg goes by them where the content leaves the format open.
    files = [unit.clip.path, *([] if unit.mask is None else [unit.mask.path])]
    copies = [folder / str(number) / path.name for number, path in enumerate(files)]
    for copy, content in zip(copies, contents, strict=True):
        copy.parent.mkdir()
        content.tofile(copy)
    clip, first = replace(unit.clip, path=copies[0]), unit.tasks[0][1]
    mask = None if unit.mask is None else replace(unit.mask, path=copies[1])
    reference = with_retry(lambda: make_reference(ffmpeg, clip, unit.recipe, folder / "reference.y4m"), clip.name)
    masks = with_retry(
        lambda: None if mask is None else make_mask(ffmpeg, mask, clip, unit.recipe, folder / "mask.y4m"), clip.name
    )
    place = f"{clip.name}, {first.method.label}"

    def make(source: RawVideo) -> tuple[RawVideo, EncoderFocus | None]:
        focus = first.method.focus
        maps = make_maps(ffmpeg, focus, clip, mask, unit.recipe, source, folder / "maps.y4m")
        made = make_variant(
            *(ffmpeg, first.method, source, folder / "variant.y4m"), step=first.step, device=unit.device, maps=maps
        )
        return made, told(focus, maps)

    processed = reference if isinstance(reference, str) else with_retry(partial(make, reference), place)
    for index, task in unit.tasks:
        if isinstance(reference, str) or isinstance(processed, str):
            yield index, str(processed)
            continue
        if isinstance(masks, str):
            yield index, masks
            continue
        made, focus = processed
        attempt = partial(run_task, ffmpeg, task, reference, made, masks, focus, folder=folder, threads=unit.threads)
        yield index, with_retry(attempt, task.place)


def _local_ffmpeg(unit: WorkUnit) -> FFmpeg:
    """This machine's ffmpeg.

    Raises:
        MissingError: it is another build than the driver's, or this package or PyAV is of another version.
    """
    machine = os.uname().nodename
    if __version__ != unit.version:
        raise MissingError(f"{machine} has scene {__version__}, not {unit.version}; install the same version there")
    if pyav_version() != unit.pyav:
        raise MissingError(
            f"{machine} has PyAV {pyav_version()}, whose encoders are not those of {unit.pyav}; install that"
        )
    found = find_ffmpeg(unit.ffmpeg if unit.ffmpeg.exists() else None)
    if found.build != unit.build:
        found = find_ffmpeg()
    if found.build != unit.build:
        raise MissingError(
            f"{machine} has another build of ffmpeg ({found.version}, {found.build}) than the driver ({unit.build}); "
            f"install the same there, or name it by $SCENE_FFMPEG"
        )
    return found
