"""How far a batch is: on a terminal a bar for the whole and one a worker, elsewhere lines; a sentence for each file."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scene.cli.batch_report import announce_file
from scene.cli.console import BarTask, LogFormat, progress_display, rich_progress
from scene.jobs.batch.outcome import AnyRequest, FileResult, plain
from scene.jobs.batch.run import OnNews, Working
from scene.progress import OnProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


@contextmanager
def batch_display(requests: Sequence[AnyRequest], log_format: LogFormat) -> Iterator[OnNews]:
    """A callback for what `scene.batch` tells."""
    if log_format == "text" and sys.stderr.isatty():
        with rich_progress() as bars, _logging_above():
            overall = _Overall(requests, BarTask(bars, "batch", "files"))
            yield _Bars(bars, overall)
            overall.show()
    else:
        with progress_display("batch", "files", log_format) as on_progress:
            overall = _Overall(requests, on_progress)
            yield overall
            overall.show()


class _Overall:
    """The count of files; how long it takes goes by the size of their sources."""

    def __init__(self, requests: Sequence[AnyRequest], on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._sizes = {plain(request).destination: _size(plain(request).source) for request in requests}
        self._total = sum(self._sizes.values())
        self._count = self._size = self._failed = 0
        self._shown: int | None = None

    def __call__(self, news: Working | FileResult) -> None:
        if isinstance(news, FileResult):
            self._count += 1
            self._size += self._sizes[news.encode.destination]
            self._failed += news.state == "failed"
            announce_file(news)
            # What an earlier run did is no measure of the speed: it is counted before the first reading.
            if news.state == "unchanged":
                return
        self.show()

    def show(self) -> None:
        """Tells of the count, unless it was told."""
        if self._count == self._shown:
            return
        self._shown = self._count
        fields = {"failed": self._failed} if self._failed else {}
        cost = (float(self._size), float(self._total)) if self._total else None
        self._on_progress(Progress(self._count, len(self._sizes), fields, cost))


class _Bars:
    """A bar for each worker, below that of the whole."""

    def __init__(self, bars: RichProgress, overall: Callable[[Working | FileResult], None]) -> None:
        self._bars = bars
        self._overall = overall
        # By worker: what its bar is about.
        self._shown: dict[int, tuple[Path, str, BarTask]] = {}

    def __call__(self, news: Working | FileResult) -> None:
        self._overall(news)
        if isinstance(news, FileResult):
            for worker, (source, _, task) in list(self._shown.items()):
                if source == news.encode.source:
                    task.remove()
                    del self._shown[worker]
            return
        source = plain(news.request).source
        shown = self._shown.get(news.worker)
        if shown is None or shown[:2] != (source, news.stage):
            if shown is not None:
                shown[2].remove()
            shown = source, news.stage, BarTask(self._bars, f"{news.stage} {source.name}", news.unit)
            self._shown[news.worker] = shown
        shown[2](news.progress)


@contextmanager
def _logging_above() -> Iterator[None]:
    """Lines of the log appear above the bars: while they are there, stderr is theirs."""
    handlers = [
        handler for handler in logging.getLogger("scene").handlers if isinstance(handler, logging.StreamHandler)
    ]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
