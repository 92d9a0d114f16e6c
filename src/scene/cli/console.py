"""What the commands write on stderr: log lines, a progress bar on a terminal, plain or JSON lines elsewhere."""

from __future__ import annotations

import logging
import math
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from scene.cli.events import error_event, log_event, progress_event, result_event
from scene.progress import OnProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LogFormat = Literal["text", "json"]

_PLAIN_INTERVAL_S = 5.0

# Options that may be given again are named in the singular.
_FLAGS = {"maps": "map", "targets": "target"}


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"scene: {prefix}{printable(with_flags(record.getMessage()))}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        result = getattr(record, "result", None)
        if result is not None:
            return result_event(record.getMessage(), result)
        return log_event(record.levelname.lower(), with_flags(record.getMessage()))


def setup_logging(log_format: LogFormat) -> None:
    """Sends the library's log to stderr, one line a record, as text or as JSON objects."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    logger = logging.getLogger("scene")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def announce(message: str, result: Mapping[str, Any] | None = None) -> None:
    """Logs what a command did: as a sentence, or as an event with the fields of `result` where there are any."""
    logging.getLogger("scene").info("%s", message, extra={"result": result})


def complain(message: str, code: int, log_format: LogFormat) -> int:
    """Says on stderr why the command ends, and gives the exit code back."""
    message = with_flags(message)
    line = error_event(message, code) if log_format == "json" else f"scene: {printable(message)}"
    print(line, file=sys.stderr)
    return code


def with_flags(text: str) -> str:
    """A message of the library in the command line's words: `encoder_args` becomes --encoder-args."""
    return re.sub(r"`([a-z_]+)`", lambda match: flag_of(match[1]), text)


def flag_of(field: str) -> str:
    """The option that sets a field of a request."""
    return f"--{_FLAGS.get(field, field).replace('_', '-')}"


def command_line() -> str:
    """The command line of this process in a shell's words, as it is written into results."""
    from scene.measure.names import display_name

    return " ".join(shlex.quote(display_name(word)) for word in ["scene", *sys.argv[1:]])


def printable(text: str) -> str:
    """Text as one line without control codes: a file's name may hold line breaks, and worse for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


@contextmanager
def progress_display(description: str, unit: str, log_format: LogFormat = "text") -> Iterator[OnProgress]:
    """A callback that shows progress: a bar on a terminal, else a line every five seconds and one at the end."""
    if log_format == "text" and sys.stderr.isatty():
        with _rich_bar(description, unit) as callback:
            yield callback
    else:
        lines = _ProgressLines(description, unit, log_format)
        yield lines
        lines.finish()


class _ProgressLines:
    """Progress as lines on stderr, for logs and for programs."""

    def __init__(self, description: str, unit: str, log_format: LogFormat) -> None:
        self.description = description
        self.unit = unit
        self.format = self._as_json if log_format == "json" else self._as_text
        self.started = self.printed_at = time.monotonic()
        self.pending: Progress | None = None
        self.clock = Clock()

    def __call__(self, reading: Progress) -> None:
        self.pending = reading
        self.clock.update(reading)
        if time.monotonic() - self.printed_at >= _PLAIN_INTERVAL_S:
            self.finish()

    def finish(self) -> None:
        """Prints the last reading unless that has been done."""
        if self.pending is not None:
            print(self.format(self.pending), file=sys.stderr, flush=True)
            self.pending, self.printed_at = None, time.monotonic()

    def _as_json(self, reading: Progress) -> str:
        elapsed = time.monotonic() - self.started
        return progress_event(
            *(self.description, self.unit, reading.done, reading.total, elapsed, self.clock.remaining, reading.fields)
        )

    def _as_text(self, reading: Progress) -> str:
        extras = "".join(f", {_format_field(k, v)}" for k, v in reading.fields.items())
        total = "" if reading.total is None else f"/{reading.total}"
        elapsed = time.monotonic() - self.started
        remaining = self.clock.remaining
        eta = f", ETA {format_duration(remaining)}" if remaining else ""
        return f"scene: {printable(self.description)}: {reading.done}{total} {self.unit}{extras}, {elapsed:.0f} s{eta}"


class Clock:
    """How much longer work takes, by its speed so far.

    What the first reading counts as done was there before (in a cache, or in an earlier run) and says nothing of the
    speed. A reading with less done than the one before begins a new count.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._before = self._done = math.inf
        self._total: float | None = None

    def update(self, reading: Progress) -> None:
        """Takes note of a reading."""
        done, self._total = reading.cost or (float(reading.done), reading.total)
        if done < self._done:
            self._before, self._began = done, time.monotonic()
        self._done = done

    @property
    def remaining(self) -> float | None:
        """Seconds to the end; None while nothing was done yet or the total is unknown."""
        if self._total is None:
            return None
        left, gained = self._total - self._done, self._done - self._before
        if left <= 0:
            return 0.0
        return None if gained <= 0 else left * (time.monotonic() - self._began) / gained


@contextmanager
def _rich_bar(description: str, unit: str) -> Iterator[OnProgress]:
    with rich_progress() as bar:
        task = BarTask(bar, description, unit)
        yield task


def rich_progress() -> RichProgress:
    """Bars on a terminal; each is a `BarTask`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress
    from rich.progress import Task as RichTask
    from rich.text import Text

    class Remaining(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            left = task.fields["clock"].remaining
            shown = "-:--:--" if left is None else str(timedelta(seconds=math.ceil(left)))
            return Text(shown, style="progress.remaining")

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}{task.fields[extras]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        Remaining(),
        console=Console(stderr=True),
        get_time=time.monotonic,
    )


class BarTask:
    """One bar, a callback of progress."""

    def __init__(self, bars: RichProgress, description: str, unit: str) -> None:
        from rich.markup import escape

        self._bars = bars
        self._clock = Clock()
        self._number = bars.add_task(
            escape(printable(description)), total=None, unit=unit, extras="", clock=self._clock
        )

    def __call__(self, reading: Progress) -> None:
        self._clock.update(reading)
        extras = "".join(f"  {_format_field(k, v)}" for k, v in reading.fields.items())
        self._bars.update(self._number, completed=reading.done, total=reading.total, extras=extras)

    def remove(self) -> None:
        """Takes the bar away."""
        self._bars.remove_task(self._number)


def format_duration(seconds: float) -> str:
    """A duration for people: "40 s", "3 min", "2 h 05 min"."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _format_field(name: str, value: float | int | str) -> str:
    if name == "bytes":
        return f"{float(value) / 1e6:.2f} MB"
    if isinstance(value, float):
        return f"{name} {value:.4g}"
    return f"{name} {value}"
