"""table.md: the mean BD-rates in the shape of the paper's Table 1, what stands beside them, and the protocol.

All of it is made from a results document, so that files of results can be shown without measuring anything. Cells are
Markdown; a table is a list of rows, its header first.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from scene.evaluation.report.remarks import protocol_lines, remarks
from scene.evaluation.report.results import Document, Report, results_document
from scene.metrics.scores import METRICS

Table = list[list[str]]

# The paper's three first, in its order.
_FIRST = ("ms_ssim", "vmaf", "vmaf_neg")
_METRICS = {
    metric.name: metric
    for metric in sorted(METRICS, key=lambda m: _FIRST.index(m.name) if m.name in _FIRST else len(_FIRST))
}
_DETAILED = ("vmaf", "vmaf_neg")
_NONE = "N/A"


def table_markdown(report: Report) -> str:
    """The text of table.md for an evaluation."""
    return results_markdown(results_document(report))


def results_markdown(results: Document) -> str:
    """The text of table.md for a results document; tables that it has no data for are left out."""
    environment = results["environment"]
    if not results["bd_rate"]:
        lines = ["# Scores against the unprocessed source", "", *markdown_lines(points_table(results), words=3), ""]
    else:
        lines = [
            "# BD-rate (%) against encoding without a pre-processor",
            "",
            BD_RATE_LEGEND,
            "",
            *_compared(results, "none"),
        ]
        for anchor in dict.fromkeys(row["anchor"] for row in results["bd_rate"] if row["anchor"] != "none"):
            lines += [f"## Against {escape(anchor)}", "", *_compared(results, anchor)]
    sections = [
        ("Median, and quality at equal rate", DETAIL_LEGEND, detail_table(results), 2),
        ("At equal CRF", EQUAL_CRF_LEGEND, equal_crf_table(results), 2),
        ("What the methods do to the pictures", EFFECT_LEGEND, effect_table(results), 1),
    ]
    for title, legend, table, words in sections:
        if len(table) > 1:
            lines += [f"## {title}", "", legend, "", *markdown_lines(table, words=words), ""]
    lines += ["## How it was measured", "", *(f"- {escape(line)}" for line in protocol_lines(results))]
    if environment.get("command"):
        # Four spaces, not a fence: nothing in a file name can end such a block.
        lines += ["", "To repeat:", "", f"    {environment['command']}"]
    return "\n".join(lines) + "\n"


BD_RATE_LEGEND = (
    "Mean over clips, worst clip in brackets. Negative is a saving; VMAF is unclipped v0.6.1. Bold is the best mean of "
    "those in which the most clips count; where some have no value, \\[n/m\\] says how many have."
)
DETAIL_LEGEND = (
    "Median BD-rate in %, and BD-quality: the mean difference of the score at equal rate, in points of the metric. "
    "It has a value where curves share rates, whether or not they share scores."
)
EQUAL_CRF_LEGEND = (
    "The encoder's setting left as it is: change of the rate in % and of the scores, means over CRFs and clips. "
    "A method that spends rate on its scores shows it here."
)
EFFECT_LEGEND = (
    "Before any encoder, means over clips: the gain and offset of luma that come closest to what the method does, the "
    "luma samples that it drives to the ends of the range, what VMAF says of its pictures beyond the source's own "
    "score, how much of this the gain and offset alone have (affine share), the change of banding, and flicker."
)


def bd_rate_table(results: Document, anchor: str = "none") -> Table:
    """One row for each codec and method: mean BD-rate and, in brackets, the worst clip's."""
    means = _means(results, anchor)
    columns = [metric for metric in _METRICS.values() if any(key[2] == metric.name for key in means)]
    table = [["Codec", "Method", *(metric.title for metric in columns)]]
    for codec, methods in _places(results, {key[:2] for key in means}):
        cells = [[means.get((codec, method, metric.name)) for metric in columns] for method in methods]
        best = [_best([row[i] for row in cells]) for i in range(len(columns))]
        for number, (method, row) in enumerate(zip(methods, cells, strict=True)):
            shown = [_bd_rate_cell(cell, bold=number == best[i]) for i, cell in enumerate(row)]
            table.append([codec, escape(method), *shown])
    return table


def detail_table(results: Document, anchor: str = "none") -> Table:
    """Median BD-rate and BD-quality of the two kinds of VMAF; the header alone for documents without BD-quality."""
    means = {key: row for key, row in _means(results, anchor).items() if "bd_quality" in row}
    columns = [_METRICS[name] for name in _DETAILED]
    header = [f"{metric.title}, {what}" for metric in columns for what in ("median BD-rate", "BD-quality")]
    table = [["Codec", "Method", *header]]
    for codec, methods in _places(results, {key[:2] for key in means}):
        for method in methods:
            cells = []
            for metric in columns:
                row = means.get((codec, method, metric.name), {})
                gain, count = row.get("bd_quality"), (row.get("bd_quality_clips"), row.get("of_clips"))
                cells += [_number(row.get("median"), 1, _part(row.get("clips"), row.get("of_clips")))]
                cells += [_number(gain, metric.decimals, _part(*count))]
            table.append([codec, escape(method), *cells])
    return table


def equal_crf_table(results: Document, anchor: str = "none") -> Table:
    """Mean change of rate and scores at equal CRF; the header alone for documents without them."""
    rows = [row for row in results.get("equal_crf", []) if (row["clip"], row["anchor"]) == ("mean", anchor)]
    means = {(row["codec"], row["method"]): row for row in rows}
    metrics = [metric for metric in _METRICS.values() if any(metric.name in row for row in rows)]
    table = [["Codec", "Method", "rate, %", *(_titled(metric.title, metric.unit) for metric in metrics)]]
    for codec, methods in _places(results, set(means)):
        for method in methods:
            row = means[codec, method]
            changes = [_number(row.get(metric.name), metric.decimals) for metric in metrics]
            table.append([codec, escape(method), _number(row["rate_percent"], 1), *changes])
    return table


def effect_table(results: Document) -> Table:
    """What each method does to the pictures, means over clips; the header alone for documents without treatments."""
    groups: dict[tuple[str, tuple[str, ...]], list[Document]] = {}
    for row in results.get("treatments", []):
        groups.setdefault((row["method"], tuple(row["codecs"] or ())), []).append(row)
    header = ["gain", "offset", "clipped, %", "VMAF gain", "affine share, %", "CAMBI", "flicker"]
    table = [["Method", *header]]
    for (method, codecs), rows in groups.items():
        cells = [
            _mean(rows, "gain", 3, sign=False),
            _mean(rows, "offset", 1),
            _mean(rows, "clipped", 2, scale=100, sign=False),
            _mean(rows, "vmaf_gain", 1),
            _mean(rows, "affine_share", 0, scale=100, sign=False),
            _mean(rows, "cambi", 2),
            _mean(rows, "flicker", 3, sign=False),
        ]
        table.append([escape(f"{method} ({', '.join(codecs)})" if codecs else method), *cells])
    return table


def points_table(results: Document) -> Table:
    """Every point with its scores: for documents without curves to compare."""
    points = results["points"]
    metrics = [metric for metric in _METRICS.values() if any(metric.name in point for point in points)]
    table = [["Clip", "Codec", "Method", "CRF", "kbit/s", *(_titled(metric.title, metric.unit) for metric in metrics)]]
    for point in points:
        crf = "" if point["crf"] is None else f"{point['crf']:g}"
        scores = [_number(point.get(metric.name), metric.decimals, sign=False) for metric in metrics]
        place = [escape(point[name]) for name in ("clip", "codec", "method")]
        table.append([*place, crf, f"{point['kbps']:.1f}", *scores])
    return table


def markdown_lines(table: Table, *, words: int = 2) -> list[str]:
    """A table as lines of Markdown.

    Args:
        words: how many columns, from the left, hold words; numbers are set to the right.
    """
    header, *body = table
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *body)]


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    for special in "\\`*_|<>[]":
        text = text.replace(special, f"\\{special}")
    return text


def _compared(results: Document, anchor: str) -> list[str]:
    table = markdown_lines(bd_rate_table(results, anchor))
    return [*table, "", *(f"- {escape(line)}" for line in remarks(results, anchor)), ""]


def _means(results: Document, anchor: str) -> dict[tuple[str, str, str], Document]:
    rows = [row for row in results["bd_rate"] if (row["clip"], row["anchor"]) == ("mean", anchor)]
    return {(row["codec"], row["method"], row["metric"]): row for row in rows}


def _places(results: Document, pairs: set[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Codecs with their methods, in the order of the evaluation; methods of different codecs may share a label."""
    environment = results["environment"]
    labels = list(dict.fromkeys(entry["method"] for entry in environment["methods"]))
    codecs = [entry["codec"] for entry in environment["codecs"]]
    return [(codec, [label for label in labels if (codec, label) in pairs]) for codec in codecs]


def _best(cells: Sequence[Document | None]) -> int | None:
    """Which has the lowest mean: of those that every clip counts in, else of those that most do."""
    defined = [(i, cell) for i, cell in enumerate(cells) if cell is not None and cell["percent"] is not None]
    if not defined:
        return None
    most = max(cell["clips"] for _, cell in defined)
    return min((cell["percent"], i) for i, cell in defined if cell["clips"] == most)[1]


def _bd_rate_cell(row: Document | None, *, bold: bool) -> str:
    if row is None or row["percent"] is None:
        return _NONE
    text = f"{row['percent']:+.1f} ({row['worst']:+.1f}){_part(row['clips'], row['of_clips'])}"
    return f"**{text}**" if bold else text


def _mean(rows: Iterable[Document], name: str, decimals: int, *, scale: float = 1, sign: bool = True) -> str:
    values = [row[name] for row in rows]
    defined = [value * scale for value in values if value is not None]
    mean = statistics.fmean(defined) if defined else None
    return _number(mean, decimals, _part(len(defined), len(values)), sign=sign)


def _number(value: Any, decimals: int, mark: str = "", *, sign: bool = True) -> str:
    if value is None:
        return _NONE
    # No minus sign before a zero.
    rounded = round(value, decimals) + 0.0
    return f"{rounded:{'+' if sign else ''}.{decimals}f}{mark}"


def _part(count: int | None, of: int | None) -> str:
    return "" if count == of else f" \\[{count}/{of}\\]"


def _titled(title: str, unit: str) -> str:
    return f"{title}, {unit}" if unit else title
