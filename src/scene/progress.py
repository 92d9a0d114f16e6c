"""How far long work has come, for whoever waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """A reading of how far a job is.

    Attributes:
        done: units finished.
        total: units in all, None while that is unknown.
        fields: further figures worth showing, for example {"fps": 31.2, "bytes": 183000}.
    """

    done: int
    total: int | None
    fields: Mapping[str, float | int | str] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The progress callback of a caller that does not want one."""


# Of work in several stages: opened for each, with its name and the unit that it counts.
StageProgress = Callable[[str, str], AbstractContextManager[OnProgress]]


@contextmanager
def silent_stages(_name: str, _unit: str) -> Iterator[OnProgress]:
    """The `StageProgress` of a caller that does not want one."""
    yield silent


class Pace:
    """How much longer a job takes, judged by what was done since its first reading.

    What the first reading counts as done was there before (in a cache, or in an earlier run) and says nothing of
    how fast the rest goes. A reading with less done than the one before begins a new count.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, Progress] | None = None

    def add(self, reading: Progress) -> None:
        """Takes note of a reading."""
        now = self._clock()
        begins_anew = self._last is not None and reading.done < self._last[1].done
        if self._first is None or begins_anew:
            self._first = now, reading.done
        self._last = now, reading

    def remaining(self) -> float | None:
        """Seconds to the end, at least 0; None while nothing was done yet or the total is unknown."""
        if self._first is None or self._last is None:
            return None
        (began, before), (read_at, reading) = self._first, self._last
        if reading.total is None:
            return None
        left = reading.total - reading.done
        if left <= 0:
            return 0.0
        done, seconds = reading.done - before, read_at - began
        if done <= 0 or seconds <= 0:
            return None
        return max(0.0, left * seconds / done - (self._clock() - read_at))
