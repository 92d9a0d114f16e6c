"""Tables as HTML text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

MINUS = "\u2212"


def signed(value: float, decimals: int) -> str:
    """A difference with its sign, and a real minus; what rounds to zero has no sign."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def note_button(text: str, note: str) -> str:
    """Text that explains itself on hover, focus and tap; without the script it has a title."""
    return f'<button type="button" class="note" title="{escape(note)}">{escape(text)}</button>'


def table(caption: str, head: Sequence[str], bodies: Iterable[str], *, attributes: str = "") -> str:
    """A table in a box of its own that scrolls sideways.

    Args:
        caption, head: plain text; columns after the first are figures.
        bodies: HTML of tbody elements.
        attributes: of the box, HTML.
    """
    columns = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"{attributes}><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>{''.join(bodies)}</table></div>"
    )


def plain_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, figures: bool = False) -> str:
    """The same of plain text; `figures` says that the columns after the first are not words."""
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return table(caption, head, [f"<tbody>{lines}</tbody>"], attributes="" if figures else " data-words")
