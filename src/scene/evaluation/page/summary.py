"""The first table of the report: mean, median and worst BD-rate of every codec and method, or the points compared."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from scene.evaluation.page.heading import is_comparison
from scene.evaluation.page.markup import note_button, plain_table, signed, table
from scene.metrics.scores import METRICS, Metric

_STATISTICS = {"percent": "Mean", "median": "Median", "worst": "Worst"}
# Percent from which a cell is tinted as a small, a clear and a large change.
_TINTS = (1.0, 5.0, 20.0)

Row = Mapping[str, Any]


def summary_html(results: Mapping[str, Any]) -> str:
    """HTML of the summary: BD-rates, or a table of points for a comparison of files.

    The tables of medians and worst clips are hidden until the script's control asks for them.
    """
    if is_comparison(results):
        return _points(results["points"])
    rows = results.get("bd_rate") or []
    means = [row for row in rows if _is_mean(row)]
    if not means:
        return "<p>There are no BD-rates: each takes one method besides the codec alone and at least four CRFs.</p>"
    anchors = list(dict.fromkeys(str(row.get("anchor", "none")) for row in means))
    return "".join(_against(anchor, means, rows) for anchor in anchors)


def _against(anchor: str, means: Sequence[Row], rows: Sequence[Row]) -> str:
    own = [row for row in means if row.get("anchor", "none") == anchor]
    metrics = [metric for metric in METRICS if any(row["metric"] == metric.name for row in own)]
    title = "" if anchor == "none" else f"<h3>Against {escape(anchor)}</h3>"
    return title + "".join(_statistic(name, own, rows, metrics) for name in _STATISTICS)


def _statistic(statistic: str, means: Sequence[Row], rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    cells = {(row["codec"], row["method"], row["metric"]): row for row in means}
    bodies = []
    for codec in dict.fromkeys(row["codec"] for row in means):
        best = {metric.name: _best(statistic, codec, metric.name, means) for metric in metrics}
        lines = [f'<tr><th scope="rowgroup" colspan="{len(metrics) + 1}">{escape(codec)}</th></tr>']
        for method in dict.fromkeys(row["method"] for row in means if row["codec"] == codec):
            line = [f'<th scope="row">{escape(method)}</th>']
            for metric in metrics:
                row = cells.get((codec, method, metric.name))
                line.append(_cell(statistic, row, metric, _quality(row, rows), bold=method in best[metric.name]))
            lines.append(f"<tr>{''.join(line)}</tr>")
        bodies.append(f"<tbody>{''.join(lines)}</tbody>")
    what = "Worst clip's BD-rate" if statistic == "worst" else f"{_STATISTICS[statistic]} BD-rate over clips"
    hidden = "" if statistic == "percent" else " hidden"
    head = ["Method", *(metric.title for metric in metrics)]
    return table(f"{what}, %", head, bodies, attributes=f' data-statistic="{statistic}"{hidden}')


def _cell(statistic: str, row: Row | None, metric: Metric, quality: float | None, *, bold: bool) -> str:
    if row is None:
        return "<td></td>"
    value = row.get(statistic)
    if value is None:
        note = row.get("note") or "No clip has a value."
        return f"<td>{note_button('N/A', note)}{_small(row, quality, metric)}</td>"
    text = signed(value, 1)
    text = f"<b>{text}</b>" if bold else text
    if not _full(row):
        count = f"[{row['clips']}/{row['of_clips']}]"
        text += " " + note_button(
            count, f"{row['clips']} of {row['of_clips']} clips have a value. {row.get('note', '')}"
        )
    if statistic == "worst":
        small = f'<span class="small">{escape(str(row.get("worst_clip") or ""))}</span>'
    else:
        small = _small(row, quality, metric, row.get("worst"))
    return f'<td class="{_tint(value)}">{text}{small}</td>'


def _small(row: Row, quality: float | None, metric: Metric, worst: float | None = None) -> str:
    """What stands beneath a figure: the worst clip's, and the change of score at equal rate."""
    texts = [] if worst is None else [f"worst {signed(worst, 1)}"]
    texts += [] if quality is None else [f"\u0394 {signed(quality, metric.decimals)}{_quality_count(row)}"]
    text = " \u00b7 ".join(texts)
    return f'<span class="small">{text}</span>' if text else ""


def _quality_count(row: Row) -> str:
    count = row.get("bd_quality_clips")
    return "" if count in (None, row["of_clips"]) else f" [{count}/{row['of_clips']}]"


def _best(statistic: str, codec: str, metric: str, means: Sequence[Row]) -> set[str]:
    """Methods with the lowest value; those that lack a clip count only where every method lacks one."""
    rows = [r for r in means if (r["codec"], r["metric"]) == (codec, metric) and r.get(statistic) is not None]
    rows = [row for row in rows if _full(row)] or rows
    if not rows:
        return set()
    lowest = min(round(row[statistic], 1) for row in rows)
    return {row["method"] for row in rows if round(row[statistic], 1) == lowest}


def _quality(row: Row | None, rows: Sequence[Row]) -> float | None:
    """BD-quality of a mean row, from its clips where the row has none itself."""
    if row is None or row.get("bd_quality") is not None:
        return None if row is None else row["bd_quality"]
    keys = ("codec", "method", "metric", "anchor")
    clips = [r for r in rows if not _is_mean(r) and all(r.get(key) == row.get(key) for key in keys)]
    values = [r["bd_quality"] for r in clips if r.get("bd_quality") is not None]
    return statistics.fmean(values) if values else None


def _is_mean(row: Row) -> bool:
    # A clip may be called mean as well.
    return "of_clips" in row


def _full(row: Row) -> bool:
    return row.get("clips") == row.get("of_clips")


def _tint(percent: float) -> str:
    level = sum(abs(percent) >= threshold for threshold in _TINTS)
    return f"{'save' if percent < 0 else 'cost'}{level}" if level else ""


def _points(points: Sequence[Row]) -> str:
    metrics = [metric for metric in METRICS if any(point.get(metric.name) is not None for point in points)]
    head = ["File", "Codec", "kbit/s", "Frames", *(_title(metric) for metric in metrics)]
    rows = [
        [
            str(point.get("method", "")),
            str(point.get("codec", "")),
            "" if point.get("kbps") is None else f"{point['kbps']:,.1f}",
            str(point.get("frames", "")),
            *("N/A" if point.get(m.name) is None else f"{point[m.name]:.{m.decimals}f}" for m in metrics),
        ]
        for point in points
    ]
    return plain_table("Scores against the reference, means over frames", head, rows, figures=True)


def _title(metric: Metric) -> str:
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title
