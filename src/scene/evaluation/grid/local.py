"""A grid's missing points measured on this machine, several side by side.

The calling thread makes references and variants ahead of the workers, which so have always something to do, and
removes raw video when the last task that reads it has ended.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from scene.evaluation.grid.focus import make_maps, told
from scene.evaluation.grid.tasks import TaskResults, by_step, find_mask, run_task, with_retry
from scene.evaluation.grid.variant import make_variant
from scene.measure.clip import Recipe, make_reference
from scene.measure.raw_video import RawVideo
from scene.measure.regions import make_mask
from scene.video.encoding.regions import EncoderFocus
from scene.video.ffmpeg import FFmpeg

# Raw video at once: the references of two clips and four variants, about one clip's with the default methods. More
# only as far as that is too little to keep the workers busy.
_CLIPS = 2
_VARIANTS = 4


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Where and how work is done.

    Attributes:
        ffmpeg: its `stop` ends everything.
        recipe: how references are made.
        folder: for raw video.
        jobs: tasks side by side.
        threads: of libvmaf, in each.
        device: for networks.
    """

    ffmpeg: FFmpeg
    recipe: Recipe
    folder: Path
    jobs: int
    threads: int
    device: str


def run_locally(results: TaskResults, config: RunnerConfig) -> None:
    """Does the missing tasks.

    Raises:
        MissingError, UsageError: see `scene.evaluation.grid.tasks.FATAL`.
        SceneError: the cache cannot be written to.
    """
    runner = LocalRunner(results, config)
    try:
        for number, indices in enumerate(_by_clip(results)):
            runner.make_room(clips=_CLIPS)
            _measure_clip(runner, indices, config.folder / str(number))
        runner.drain()
    finally:
        runner.shut_down()


def _by_clip(results: TaskResults) -> Iterator[list[int]]:
    for _, indices in groupby(results.missing, key=lambda index: id(results.tasks[index].clip)):
        yield list(indices)


def _measure_clip(runner: LocalRunner, indices: Sequence[int], place: Path) -> None:
    results, config = runner.results, runner.config
    clip = results.tasks[indices[0]].clip
    place.mkdir()
    runner.hold(place)
    try:
        reference = with_retry(
            lambda: make_reference(config.ffmpeg, clip, config.recipe, place / "reference.y4m"), clip.name
        )
        if isinstance(reference, str):
            results.fail(indices, reference)
            return
        mask = find_mask(results.tasks, clip)
        masks = with_retry(
            lambda: None if mask is None else make_mask(config.ffmpeg, mask, clip, config.recipe, place / "mask.y4m"),
            clip.name,
        )
        if isinstance(masks, str):
            results.fail(indices, masks)
            return
        methods = groupby(indices, key=lambda index: id(results.tasks[index].method))
        variants = [group for _, of_method in methods for group in by_step(results.tasks, of_method)]
        for number, group in enumerate(variants):
            runner.make_room(variants=_VARIANTS)
            _measure_variant(runner, group, reference, masks, place / f"{number}.y4m")
    finally:
        runner.release(place)


def _measure_variant(
    runner: LocalRunner, indices: Sequence[int], reference: RawVideo, mask: RawVideo | None, destination: Path
) -> None:
    results, config = runner.results, runner.config
    task = results.tasks[indices[0]]
    place = f"{task.clip.name}, {task.method.label}"
    drawn = destination.with_suffix(".maps.y4m")
    runner.hold(destination)
    runner.hold(drawn)
    try:
        maps = with_retry(
            lambda: make_maps(
                *(config.ffmpeg, task.method.focus, task.clip, find_mask(results.tasks, task.clip)),
                *(config.recipe, reference, drawn),
            ),
            place,
        )
        if isinstance(maps, str):
            results.fail(indices, maps)
            return
        processed = with_retry(
            lambda: make_variant(
                *(config.ffmpeg, task.method, reference, destination),
                step=task.step,
                device=config.device,
                maps=maps,
            ),
            place,
        )
        if isinstance(processed, str):
            results.fail(indices, processed)
            return
        for index in indices:
            runner.submit(index, reference, processed, mask, told(task.method.focus, maps))
    finally:
        runner.release(drawn)
        runner.release(destination)


@dataclass(slots=True)
class LocalRunner:
    """The workers, what they still have to do, and the raw video that this needs.

    Only the thread that made it calls it. A path is held by each task that reads it and by whoever is at work on it;
    with the last release it is removed.
    """

    results: TaskResults
    config: RunnerConfig
    pool: ThreadPoolExecutor = field(init=False)
    pending: dict[Future[None], tuple[Path, ...]] = field(default_factory=dict)
    held: Counter[Path] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(self.config.jobs, thread_name_prefix="point")

    def submit(
        self,
        index: int,
        reference: RawVideo,
        processed: RawVideo,
        mask: RawVideo | None,
        focus: EncoderFocus | None,
    ) -> None:
        config, task = self.config, self.results.tasks[index]

        def work() -> None:
            outcome = with_retry(
                lambda: run_task(
                    *(config.ffmpeg, task, reference, processed, mask, focus),
                    folder=config.folder,
                    threads=config.threads,
                ),
                task.place,
            )
            self.results.finish(index, outcome)

        needed = [reference.path.parent, *([] if processed is reference else [processed.path])]
        if focus is not None:
            needed.append(focus.masks)
        for path in needed:
            self.hold(path)
        self.pending[self.pool.submit(work)] = tuple(needed)

    def hold(self, path: Path) -> None:
        self.held[path] += 1

    def release(self, path: Path) -> None:
        self.held[path] -= 1
        if self.held[path]:
            return
        del self.held[path]
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def make_room(self, *, clips: int | None = None, variants: int | None = None) -> None:
        """Waits until fewer than so many clips or variants are held, but never until workers run out of tasks."""
        while True:
            self._collect(timeout=0)
            folders = sum(path.parent == self.config.folder for path in self.held)
            files = len(self.held) - folders
            full = (clips is not None and folders >= clips) or (variants is not None and files >= variants)
            if not full or len(self.pending) < 2 * self.config.jobs:
                return
            self._collect(timeout=None)

    def drain(self) -> None:
        """Waits until every task is finished; raises what one of them raised."""
        while self.pending:
            self._collect(timeout=None)

    def shut_down(self) -> None:
        """Ends the workers; if anything is unfinished, on the way out of an error, encoders are killed."""
        if self.pending:
            self.config.ffmpeg.stop.set()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _collect(self, timeout: float | None) -> None:
        finished, _ = wait(self.pending, timeout=timeout, return_when=FIRST_COMPLETED)
        for future in finished:
            for path in self.pending.pop(future):
                self.release(path)
            future.result()
