"""What the commands write on stderr: log lines, a progress bar on a terminal, plain or JSON lines elsewhere."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from scene.progress import OnProgress, Progress

LogFormat = Literal["text", "json"]

_PLAIN_INTERVAL_S = 5.0


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"scene: {prefix}{record.getMessage()}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"event": "log", "level": record.levelname.lower(), "message": record.getMessage()})


def setup_logging(log_format: LogFormat) -> None:
    """Sends the library's log to stderr, one line a record, as text or as JSON objects."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    logger = logging.getLogger("scene")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextmanager
def progress_display(description: str, unit: str, log_format: LogFormat = "text") -> Iterator[OnProgress]:
    """A callback that shows progress: a bar on a terminal, else a line every five seconds and one at the end."""
    if log_format == "text" and sys.stderr.isatty():
        with _rich_bar(description, unit) as callback:
            yield callback
        return
    last: Progress | None = None
    printed: Progress | None = None
    started = printed_at = time.monotonic()

    def show(reading: Progress) -> None:
        elapsed = time.monotonic() - started
        if log_format == "json":
            line = json.dumps(
                {
                    "event": "progress",
                    "task": description,
                    "unit": unit,
                    "done": reading.done,
                    "total": reading.total,
                    "elapsed_s": round(elapsed, 2),
                    **reading.fields,
                }
            )
        else:
            extras = "".join(f", {_format_field(k, v)}" for k, v in reading.fields.items())
            total = "" if reading.total is None else f"/{reading.total}"
            line = f"scene: {description}: {reading.done}{total} {unit}{extras}, {elapsed:.0f} s"
        print(line, file=sys.stderr, flush=True)

    def callback(reading: Progress) -> None:
        nonlocal last, printed, printed_at
        last = reading
        if time.monotonic() - printed_at >= _PLAIN_INTERVAL_S:
            show(reading)
            printed, printed_at = reading, time.monotonic()

    yield callback
    if last is not None and last is not printed:
        show(last)


@contextmanager
def _rich_bar(description: str, unit: str) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + "{task.fields[extras]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(description, total=None, extras="")

        def callback(reading: Progress) -> None:
            extras = "".join(f"  {_format_field(k, v)}" for k, v in reading.fields.items())
            bar.update(task, completed=reading.done, total=reading.total, extras=extras)

        yield callback


def _format_field(name: str, value: float | int | str) -> str:
    if name == "bytes":
        return f"{float(value) / 1e6:.2f} MB"
    if isinstance(value, float):
        return f"{name} {value:.4g}"
    return f"{name} {value}"
