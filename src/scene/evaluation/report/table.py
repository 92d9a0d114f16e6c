"""What a table is before it is Markdown or HTML: its cells still know their values, and what has to be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

NOT_AVAILABLE = "N/A"


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure.

    Attributes:
        value: None where there is none.
        decimals: how many are shown.
        signed: whether a positive value has a sign, as differences have.
        clips, of_clips: how many clips have a value, of how many; None where that is no question.
        note: why there is no value, or why it needs care.
        best: whether it is the best of its kind; see `mark_best`.
        percent: whether it is a change of the rate, of which a negative one is a saving.
        worst: the worst clip's value.
        below: small print; for pages alone.
    """

    value: float | None
    decimals: int = 1
    signed: bool = True
    clips: int | None = None
    of_clips: int | None = None
    note: str = ""
    best: bool = False
    percent: bool = False
    worst: float | None = None
    below: str = ""

    @property
    def complete(self) -> bool:
        """Whether every clip has a value."""
        return self.clips == self.of_clips

    @property
    def text(self) -> str:
        """The value alone; what rounds to zero has no minus sign."""
        if self.value is None:
            return NOT_AVAILABLE
        return f"{round(self.value, self.decimals) + 0.0:{'+' if self.signed else ''}.{self.decimals}f}"

    @property
    def in_full(self) -> str:
        """The value, the worst clip's in brackets, and how many clips have one where some have none."""
        if self.value is None:
            return NOT_AVAILABLE
        worst = "" if self.worst is None else f" ({self.worst:+.{self.decimals}f})"
        return f"{self.text}{worst}" + ("" if self.complete else f" [{self.clips}/{self.of_clips}]")


# Text is plain: whoever renders it escapes it. None is a cell that nothing belongs into.
Row = tuple[str | Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows; for pages.
        head: titles of the columns.
        rows: with as many cells.
        words: how many columns, from the left, hold text.
        grouped: whether the first column repeats itself over rows that belong together.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    words: int = 1
    grouped: bool = False

    @property
    def groups(self) -> list[tuple[str, list[Row]]]:
        """The rows by their first column, which they then lack; of a table without groups all under no title."""
        if not self.grouped:
            return [("", list(self.rows))]
        return [(str(title), [row[1:] for row in rows]) for title, rows in groupby(self.rows, key=lambda row: row[0])]


def mark_best(cells: Sequence[Cell | None], *, highest: bool = False) -> list[Cell | None]:
    """The same with the lowest value marked: of those that every clip counts in, else of those that most do.

    Values that look the same are all marked.
    """
    defined = [cell for cell in cells if cell is not None and cell.value is not None]
    most = max((cell.clips or 0 for cell in defined), default=0)
    values = [_shown(cell) for cell in defined if (cell.clips or 0) == most]
    if not values:
        return list(cells)
    best = max(values) if highest else min(values)
    return [
        replace(cell, best=True)
        if cell is not None and cell in defined and (cell.clips or 0) == most and _shown(cell) == best
        else cell
        for cell in cells
    ]


def _shown(cell: Cell) -> float:
    """A value as exactly as it is shown."""
    assert cell.value is not None
    return round(cell.value, cell.decimals)
