"""table.md: the tables, what limits them, and how they were measured; and tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from scene.evaluation.report.provenance import is_comparison, protocol_lines
from scene.evaluation.report.remarks import remarks
from scene.evaluation.report.results import Document
from scene.evaluation.report.spoken import spoken
from scene.evaluation.report.table import NOT_AVAILABLE, Cell, Table
from scene.evaluation.report.tables import (
    anchors,
    bd_rate_table,
    detail_table,
    effect_table,
    equal_crf_table,
    files_table,
    points_table,
    region_table,
)

BD_RATE_LEGEND = (
    "Mean over clips, worst clip in brackets. Negative is a saving; VMAF is unclipped v0.6.1. Bold is the best mean of "
    "those in which the most clips count; where some have no value, \\[n/m\\] says how many have."
)
DETAIL_LEGEND = (
    "Median BD-rate in %, and BD-quality: the mean difference of the score at equal rate, in points of the metric. "
    "It has a value where curves share rates, whether or not they share scores."
)
REGION_LEGEND = (
    "Luma PSNR and SSIM weighted by the masks, inside and outside of the region, at the bitrate of the whole frame; "
    "mean over clips, worst clip in brackets."
)
EQUAL_CRF_LEGEND = (
    "The encoder's setting left as it is: change of the rate in % and of the scores, means over CRFs and clips. "
    "A method that spends rate on its scores shows it here."
)
EFFECT_LEGEND = (
    "Before any encoder, means over clips: the gain and offset of luma that come closest to what the method does, the "
    "luma samples that it drives to the ends of the range, what VMAF says of its pictures beyond the source's own "
    "score, how much of this the gain and offset alone have (by gain alone, and as a share), the change of banding, "
    "and flicker."
)


def results_markdown(results: Document) -> str:
    """The text of table.md for a results document; tables that it has no data for are left out."""
    return "".join(f"{escape(line)}\n\n" for line in spoken(results)) + _tables(results)


def _tables(results: Document) -> str:
    if is_comparison(results):
        return _comparison(results)
    environment = results["environment"]
    if not results["bd_rate"]:
        lines = ["# Scores against the unprocessed source", "", *table_lines(points_table(results)), ""]
    else:
        lines = ["# BD-rate (%) against encoding without a pre-processor", "", BD_RATE_LEGEND, ""]
        lines += _compared(results, "none")
        for anchor in anchors(results)[1:]:
            lines += [f"## Against {escape(anchor)}", "", *_compared(results, anchor)]
        for anchor in anchors(results):
            table = region_table(results, anchor)
            against = "" if anchor == "none" else f", against {escape(anchor)}"
            if table.rows:
                lines += [f"## By region{against}", "", REGION_LEGEND, "", *table_lines(table), ""]
    sections = [
        ("Median, and quality at equal rate", DETAIL_LEGEND, detail_table(results)),
        ("At equal CRF", EQUAL_CRF_LEGEND, equal_crf_table(results)),
        ("What the methods do to the pictures", EFFECT_LEGEND, effect_table(results)),
    ]
    for title, legend, table in sections:
        if table.rows:
            lines += [f"## {title}", "", legend, "", *table_lines(table), ""]
    lines += ["## How it was measured", "", *(f"- {escape(line)}" for line in protocol_lines(results))]
    if environment.get("command"):
        # Four spaces, not a fence: nothing in a file name can end such a block.
        lines += ["", "To repeat:", "", f"    {environment['command']}"]
    return "\n".join(lines) + "\n"


def _comparison(results: Document) -> str:
    environment = results["environment"]
    (clip,) = environment["clips"]
    size = "x".join(map(str, clip["measured_size"]))
    depth, frames = (results["points"][0][name] for name in ("bit_depth", "frames"))
    lines = [
        f"# Against {escape(clip['clip'])}",
        "",
        f"{frames} frames of {size} at {depth} bit, {clip['fps']:g} frames/s; means over frames, VMAF is v0.6.1, "
        "clipped at 100. Higher is better, but for CAMBI and flicker. The rate is that of the video stream alone.",
        "",
        *table_lines(files_table(results), aligned=True),
        "",
        f"ffmpeg {escape(environment['ffmpeg'])}. To repeat:",
        "",
        f"    {environment['command']}",
    ]
    return "\n".join(lines) + "\n"


def _compared(results: Document, anchor: str) -> list[str]:
    table = table_lines(bd_rate_table(results, anchor))
    return [*table, "", *(f"- {escape(line)}" for line in remarks(results, anchor)), ""]


def table_lines(table: Table, *, aligned: bool = False) -> list[str]:
    """A table as lines of Markdown; see `markdown_lines`."""
    return markdown_lines(table_cells(table), words=table.words, aligned=aligned)


def table_cells(table: Table) -> list[list[str]]:
    """The cells of a table as Markdown, its header first."""
    return [list(table.head), *([_cell(cell) for cell in row] for row in table.rows)]


def markdown_lines(rows: Sequence[Sequence[str]], *, words: int = 2, aligned: bool = False) -> list[str]:
    """Rows of Markdown, the header first, as lines.

    Args:
        words: how many columns, from the left, hold words; numbers are set to the right.
        aligned: whether columns also line up on a terminal.
    """
    header, *body = [list(row) for row in rows]
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    if aligned:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rule = ["-" * width if number < words else "-" * (width - 1) + ":" for number, width in enumerate(widths)]
        header, *body = [
            [
                cell.ljust(width) if number < words else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            for row in rows
        ]
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *body)]


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    for special in "\\`*_|<>[]":
        text = text.replace(special, f"\\{special}")
    return text


def _cell(cell: str | Cell | None) -> str:
    if isinstance(cell, str):
        return escape(cell)
    if cell is None:
        return NOT_AVAILABLE
    text = escape(cell.in_full)
    return f"**{text}**" if cell.best else text
