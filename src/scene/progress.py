"""How far long work has come, for whoever waits for it."""

from __future__ import annotations

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
        cost: of what is done, and of all, in any unit, where units differ in how long they take; else None.
    """

    done: int
    total: int | None
    fields: Mapping[str, float | int | str] = field(default_factory=dict)
    cost: tuple[float, float] | None = None


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The progress callback of a caller that does not want one."""


# Of work in several stages: opened for each, with its name and the unit that it counts.
StageProgress = Callable[[str, str], AbstractContextManager[OnProgress]]


@contextmanager
def silent_stages(_name: str, _unit: str) -> Iterator[OnProgress]:
    """The `StageProgress` of a caller that does not want one."""
    yield silent
