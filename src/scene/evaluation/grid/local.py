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

from scene.evaluation.grid.tasks import Board, by_step, perform, tried
from scene.evaluation.grid.variant import make_variant
from scene.measure.clip import Recipe, make_reference
from scene.measure.raw_video import RawVideo
from scene.video.ffmpeg import FFmpeg

# Raw video at once: the references of two clips and four variants, about one clip's with the default methods. More
# only as far as that is too little to keep the workers busy.
_CLIPS = 2
_VARIANTS = 4


@dataclass(frozen=True, slots=True)
class Site:
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


def measure_here(board: Board, site: Site) -> None:
    """Does the missing tasks of the board.

    Raises:
        MissingError, UsageError: see `scene.evaluation.grid.tasks.FATAL`.
        SceneError: the cache cannot be written to.
    """
    crew = _Crew(board, site)
    try:
        for number, indices in enumerate(_by_clip(board)):
            crew.make_room(clips=_CLIPS)
            _measure_clip(crew, indices, site.folder / str(number))
        crew.drain()
    finally:
        crew.dismiss()


def _by_clip(board: Board) -> Iterator[list[int]]:
    for _, indices in groupby(board.missing, key=lambda index: id(board.tasks[index].clip)):
        yield list(indices)


def _measure_clip(crew: _Crew, indices: Sequence[int], place: Path) -> None:
    board, site = crew.board, crew.site
    clip = board.tasks[indices[0]].clip
    place.mkdir()
    crew.hold(place)
    try:
        reference = tried(lambda: make_reference(site.ffmpeg, clip, site.recipe, place / "reference.y4m"), clip.name)
        if isinstance(reference, str):
            board.lose(indices, reference)
            return
        methods = groupby(indices, key=lambda index: id(board.tasks[index].method))
        variants = [group for _, of_method in methods for group in by_step(board.tasks, of_method)]
        for number, group in enumerate(variants):
            crew.make_room(variants=_VARIANTS)
            _measure_variant(crew, group, reference, place / f"{number}.y4m")
    finally:
        crew.release(place)


def _measure_variant(crew: _Crew, indices: Sequence[int], reference: RawVideo, destination: Path) -> None:
    board, site = crew.board, crew.site
    task = board.tasks[indices[0]]
    crew.hold(destination)
    try:
        processed = tried(
            lambda: make_variant(site.ffmpeg, task.method, reference, destination, step=task.step, device=site.device),
            f"{task.clip.name}, {task.method.label}",
        )
        if isinstance(processed, str):
            board.lose(indices, processed)
            return
        for index in indices:
            crew.submit(index, reference, processed)
    finally:
        crew.release(destination)


@dataclass(slots=True)
class _Crew:
    """The workers, what they still have to do, and the raw video that this needs.

    Only the thread that made it calls it. A path is held by each task that reads it and by whoever is at work on it;
    with the last release it is removed.
    """

    board: Board
    site: Site
    pool: ThreadPoolExecutor = field(init=False)
    pending: dict[Future[None], tuple[Path, ...]] = field(default_factory=dict)
    held: Counter[Path] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(self.site.jobs, thread_name_prefix="point")

    def submit(self, index: int, reference: RawVideo, processed: RawVideo) -> None:
        site, task = self.site, self.board.tasks[index]

        def work() -> None:
            outcome = tried(
                lambda: perform(*(site.ffmpeg, task, reference, processed), folder=site.folder, threads=site.threads),
                task.place,
            )
            self.board.finish(index, outcome)

        needed = (reference.path.parent, *(() if processed is reference else (processed.path,)))
        for path in needed:
            self.hold(path)
        self.pending[self.pool.submit(work)] = needed

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
            folders = sum(path.parent == self.site.folder for path in self.held)
            files = len(self.held) - folders
            full = (clips is not None and folders >= clips) or (variants is not None and files >= variants)
            if not full or len(self.pending) < 2 * self.site.jobs:
                return
            self._collect(timeout=None)

    def drain(self) -> None:
        """Waits until every task is finished; raises what one of them raised."""
        while self.pending:
            self._collect(timeout=None)

    def dismiss(self) -> None:
        """Ends the workers; if anything is unfinished, on the way out of an error, encoders are killed."""
        if self.pending:
            self.site.ffmpeg.stop.set()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _collect(self, timeout: float | None) -> None:
        finished, _ = wait(self.pending, timeout=timeout, return_when=FIRST_COMPLETED)
        for future in finished:
            for path in self.pending.pop(future):
                self.release(path)
            future.result()
