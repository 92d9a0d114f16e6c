"""What `scene evaluate`, `compare` and `demo` print of a results document: sentences first, then tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scene.cli.console import printable
from scene.metrics.scores import METRICS

# On a terminal; of more only the number is said.
_MOST_REMARKS = 3
# On a terminal: what is hard to raise first, and no XPSNR, which says what PSNR does.
_SHOWN = tuple(
    next(metric for metric in METRICS if metric.name == name)
    for name in ("vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y", "vmaf")
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from scene.evaluation.report.results import Document
    from scene.evaluation.report.table import Cell, Table


def print_results(results: Document, folder: Path | None) -> None:
    """Prints sentences and the first table for people on a terminal; elsewhere the text of table.md.

    Args:
        folder: where the rest is.
    """
    from scene.evaluation.report.markdown import results_markdown

    if not sys.stdout.isatty():
        print(results_markdown(results), end="")
        return
    from rich.console import Console

    from scene.evaluation.report.provenance import is_comparison
    from scene.evaluation.report.remarks import remarks
    from scene.evaluation.report.spoken import spoken
    from scene.evaluation.report.tables import anchors, bd_rate_table, files_table, points_table, region_table

    console = Console(highlight=False)
    for line in spoken(results):
        console.print(printable(line), markup=False)
    if is_comparison(results):
        _print_table(console, files_table(results))
    elif not results["bd_rate"]:
        _print_table(console, points_table(results))
    for anchor in anchors(results):
        against = "the codec alone" if anchor == "none" else anchor
        for table in (bd_rate_table(results, anchor, order=_SHOWN), region_table(results, anchor)):
            if table.rows:
                _print_table(console, table, f"{table.caption}, against {against} (worst clip); negative is a saving")
        said = remarks(results, anchor)
        if len(said) > _MOST_REMARKS:
            said = [f"{len(said)} remarks on these figures are in table.md."]
        for remark in said:
            console.print(printable(remark), markup=False, style="dim")
    if folder is not None:
        console.print(
            f"More tables are in {printable(str(folder / 'table.md'))}, pictures and curves in "
            f"{printable(str(folder / 'report.html'))}.",
            markup=False,
            soft_wrap=True,
        )


def _print_table(console: Console, table: Table, title: str = "") -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=Text(printable(title or table.caption)), title_justify="left", header_style="bold")
    for number, name in enumerate(table.head):
        grid.add_column(Text(printable(name)), justify="left" if number < table.words else "right")
    for group, rows in table.groups:
        for number, row in enumerate(rows):
            repeated = [Text(printable(group) if number == 0 else "")] if table.grouped else []
            grid.add_row(*repeated, *map(_shown, row))
        grid.add_section()
    console.print(grid)


def _shown(cell: str | Cell | None) -> Text:
    from rich.text import Text

    if cell is None:
        return Text("")
    if isinstance(cell, str):
        return Text(printable(cell))
    return Text(cell.in_full, style="bold" if cell.best else "")
