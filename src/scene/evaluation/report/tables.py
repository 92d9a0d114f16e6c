"""The tables of a results document: BD-rates in the shape of the paper's Table 1, and what stands beside them.

All are made from the document alone, so that files of results can be shown without measuring anything. Those that the
document has no data for have no rows; keys that older versions did not write may be missing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from scene.evaluation.report.results import Document
from scene.evaluation.report.table import Cell, Row, Table, mark_best
from scene.metrics.scores import METRICS, REGION_METRICS, Metric

# The paper's three first, in its order.
_FIRST = ("ms_ssim", "vmaf", "vmaf_neg")
PAPER_ORDER = tuple(sorted(METRICS, key=lambda m: _FIRST.index(m.name) if m.name in _FIRST else len(_FIRST)))
_METRICS = {metric.name: metric for metric in METRICS}
# Inside, outside, and the whole frame beside them, whose PSNR is measured without a mask too.
REGION_ORDER = (*REGION_METRICS[:4], replace(_METRICS["psnr_y"], title="PSNR whole"), *REGION_METRICS[4:])
_DETAILED = ("vmaf", "vmaf_neg")
STATISTICS = {"percent": "Mean over clips", "median": "Median", "worst": "Worst clip"}
CLIP_FIGURES = {
    "percent": "BD-rate, %",
    "bd_quality": "Score at equal rate",
    "hull_percent": "BD-rate of convex hulls, %",
}
_NO_SHARE = "The method raises VMAF by less than one point, so that a share of it would be a share of noise."


def bd_rate_table(
    results: Document,
    anchor: str = "none",
    *,
    statistic: str = "percent",
    order: Sequence[Metric] = PAPER_ORDER,
) -> Table:
    """One row for each codec and method: BD-rate over clips by every metric, the best of each codec marked.

    Args:
        statistic: one of `STATISTICS`.
        order: of the metrics.
    """
    means = _means(results, anchor)
    metrics = [metric for metric in order if any(key[2] == metric.name for key in means)]
    rows: list[Row] = []
    for codec, methods in _places(results, means):
        columns = [
            mark_best([_bd_rate_cell(means.get((codec, m, metric.name)), metric, statistic, results) for m in methods])
            for metric in metrics
        ]
        rows += [(codec, method, *cells) for method, cells in zip(methods, zip(*columns, strict=True), strict=True)]
    what = "Worst clip's BD-rate" if statistic == "worst" else f"{STATISTICS[statistic].split()[0]} BD-rate over clips"
    return Table(
        f"{what}, %", ("Codec", "Method", *(metric.title for metric in metrics)), tuple(rows), words=2, grouped=True
    )


def region_table(results: Document, anchor: str = "none", *, statistic: str = "percent") -> Table:
    """As `bd_rate_table`, of scores inside and outside the masks and of whole frames, all at the whole frame's rate."""
    table = bd_rate_table(results, anchor, statistic=statistic, order=REGION_ORDER)
    masked = any(row["metric"] == REGION_METRICS[0].name for row in results.get("bd_rate") or [])
    return replace(table, caption=f"{table.caption}, by region", rows=table.rows if masked else ())


def detail_table(results: Document, anchor: str = "none") -> Table:
    """Median BD-rate and BD-quality of the two kinds of VMAF."""
    means = {key: row for key, row in _means(results, anchor).items() if "bd_quality" in row}
    metrics = [_METRICS[name] for name in _DETAILED]
    rows: list[Row] = []
    for codec, methods in _places(results, means):
        for method in methods:
            cells = []
            for metric in metrics:
                row = means.get((codec, method, metric.name), {})
                of_clips = row.get("of_clips")
                cells += [Cell(row.get("median"), clips=row.get("clips"), of_clips=of_clips)]
                cells += [
                    Cell(row.get("bd_quality"), metric.decimals, clips=row.get("bd_quality_clips"), of_clips=of_clips)
                ]
            rows.append((codec, method, *cells))
    titles = [f"{metric.title}, {what}" for metric in metrics for what in ("median BD-rate", "BD-quality")]
    return Table("Median, and quality at equal rate", ("Codec", "Method", *titles), tuple(rows), words=2, grouped=True)


def clip_table(results: Document, codec: str, metric: Metric, figure: str, anchor: str = "none") -> Table:
    """One row for each clip and one column for each method: the values of one metric, the best of each clip marked.

    Args:
        figure: one of `CLIP_FIGURES`.
    """
    place = (codec, metric.name, anchor)
    own = [
        row
        for row in results.get("bd_rate") or []
        if not _is_mean(row) and (row["codec"], row["metric"], row["anchor"]) == place
    ]
    by_place = {(row["clip"], row["method"]): row for row in own}
    methods = _in_order(results, [row["method"] for row in own])
    rate = figure != "bd_quality"
    rows: list[Row] = []
    for clip in dict.fromkeys(row["clip"] for row in own):
        cells = [_clip_cell(by_place.get((clip, method)), figure, 1 if rate else metric.decimals) for method in methods]
        rows.append((clip, *mark_best(cells, highest=not rate)))
    caption = f"{codec}, {metric.title}: {CLIP_FIGURES[figure]}"
    return Table(caption, ("Clip", *methods), tuple(rows) if any(_has_value(row) for row in rows) else ())


def equal_crf_table(
    results: Document, anchor: str = "none", *, clip: str = "mean", order: Sequence[Metric] = PAPER_ORDER
) -> Table:
    """Change of rate and scores at equal CRF, means over CRFs.

    Args:
        clip: whose; "mean" for the mean over clips.
    """
    rows = [row for row in results.get("equal_crf") or [] if (row["clip"], row["anchor"]) == (clip, anchor)]
    by_place = {(row["codec"], row["method"]): row for row in rows}
    metrics = [metric for metric in order if any(row.get(metric.name) is not None for row in rows)]
    body: list[Row] = []
    for codec, methods in _places(results, by_place):
        for method in methods:
            row = by_place[codec, method]
            changes = [Cell(row.get(metric.name), metric.decimals) for metric in metrics]
            body.append((codec, method, Cell(row["rate_percent"], percent=True), *changes))
    whose = "mean over clips" if clip == "mean" else clip
    head = ("Codec", "Method", "rate, %", *(_titled(metric) for metric in metrics))
    return Table(f"Changes at equal CRF, {whose}", head, tuple(body), words=2, grouped=True)


def effect_table(results: Document, clip: str | None = None) -> Table:
    """What each method does to the pictures.

    Args:
        clip: whose; None for the mean over clips.
    """
    groups: dict[str, list[Document]] = {}
    for row in results.get("treatments") or []:
        if clip in (None, row["clip"]):
            codecs = row.get("codecs")
            title = f"{row['method']} ({', '.join(codecs)})" if codecs else row["method"]
            groups.setdefault(title, []).append(row)
    body: list[Row] = [
        (
            title,
            _mean(rows, "gain", 3, signed=False),
            _mean(rows, "offset", 1),
            _mean(rows, "clipped", 2, scale=100, signed=False),
            _mean(rows, "vmaf_gain", 1),
            _mean(rows, "affine_gain", 1),
            _mean(rows, "affine_share", 0, scale=100, signed=False, note=_NO_SHARE),
            _mean(rows, "cambi", 2),
            _mean(rows, "flicker", 3, signed=False),
        )
        for title, rows in groups.items()
    ]
    head = ("gain", "offset", "clipped, %", "VMAF gain", "by gain alone", "affine share, %", "CAMBI", "flicker")
    return Table(f"Before any encoder, {clip or 'mean over clips'}", ("Method", *head), tuple(body))


def points_table(results: Document) -> Table:
    """Every point with its scores: for documents without curves to compare."""
    points = results["points"]
    metrics = [metric for metric in PAPER_ORDER if any(metric.name in point for point in points)]
    rows: tuple[Row, ...] = tuple(
        (
            *(point[name] for name in ("clip", "codec", "method")),
            "" if point["crf"] is None else f"{point['crf']:g}",
            Cell(point["kbps"], signed=False),
            *(Cell(point.get(metric.name), metric.decimals, signed=False) for metric in metrics),
        )
        for point in points
    )
    head = ("Clip", "Codec", "Method", "CRF", "kbit/s", *(_titled(metric) for metric in metrics))
    return Table("Scores against the unprocessed source", head, rows, words=3)


def files_table(results: Document) -> Table:
    """One row for each file of a comparison; VMAF is clipped at 100."""
    points = results["points"]
    metrics = [metric for metric in METRICS if any(metric.name in point for point in points)]
    rows: tuple[Row, ...] = tuple(
        (
            *(str(point.get(name, "")) for name in ("method", "codec")),
            Cell(point.get("kbps"), 0, signed=False),
            *(Cell(_shown_score(point, metric), metric.decimals, signed=False) for metric in metrics),
        )
        for point in points
    )
    titles = (f"{metric.title} ({metric.unit})" if metric.unit else metric.title for metric in metrics)
    return Table("Scores against the reference, means over frames", ("File", "Codec", "kbit/s", *titles), rows, words=2)


def _shown_score(point: Document, metric: Metric) -> float | None:
    """A score as it is shown: VMAF as players show it. Older documents have it unclipped alone."""
    value: float | None = point.get(metric.name)
    if metric.name != "vmaf" or value is None:
        return value
    return float(point.get("vmaf_clipped", min(100.0, value)))


def anchors(results: Document) -> list[str]:
    """What methods are compared with, `none` first."""
    return list(dict.fromkeys(str(row["anchor"]) for row in results.get("bd_rate") or []))


def _bd_rate_cell(row: Document | None, metric: Metric, statistic: str, results: Document) -> Cell | None:
    if row is None:
        return None
    value, quality, worst = row.get(statistic), _quality(row, results), row.get("worst")
    below = [] if worst is None or value is None else [f"worst {_difference(worst, 1)}"]
    if quality is not None:
        count = row.get("bd_quality_clips")
        part = "" if count in (None, row["of_clips"]) else f" [{count}/{row['of_clips']}]"
        below.append(f"\u0394 {_difference(quality, metric.decimals)}{part}")
    if statistic == "worst" and value is not None:
        below = [str(row.get("worst_clip") or "")]
    return Cell(
        value,
        clips=row.get("clips"),
        of_clips=row.get("of_clips"),
        note=row.get("note") or ("No clip has a value." if value is None else ""),
        percent=True,
        worst=worst if statistic == "percent" else None,
        below=" \u00b7 ".join(below),
    )


def _quality(row: Document, results: Document) -> float | None:
    """BD-quality of a mean row, from its clips where the row has none itself."""
    if row.get("bd_quality") is not None:
        return float(row["bd_quality"])
    place = ("codec", "method", "metric", "anchor")
    clips = [r for r in results["bd_rate"] if not _is_mean(r) and all(r[key] == row[key] for key in place)]
    values = [r["bd_quality"] for r in clips if r.get("bd_quality") is not None]
    return statistics.fmean(values) if values else None


def _clip_cell(row: Document | None, figure: str, decimals: int) -> Cell | None:
    if row is None:
        return None
    rate = figure != "bd_quality"
    note = row.get("note" if rate else "rate_note") or ""
    value = row.get(figure)
    return Cell(value, decimals, note=note or ("There is no value." if value is None else ""), percent=rate)


def _has_value(row: Row) -> bool:
    return any(isinstance(cell, Cell) and cell.value is not None for cell in row)


def _means(results: Document, anchor: str) -> dict[tuple[str, str, str], Document]:
    rows = [row for row in results.get("bd_rate") or [] if _is_mean(row) and row["anchor"] == anchor]
    return {(row["codec"], row["method"], row["metric"]): row for row in rows}


def _is_mean(row: Document) -> bool:
    # A clip may be called mean as well.
    return "of_clips" in row


def _places(results: Document, keys: Iterable[tuple[str, ...]]) -> list[tuple[str, list[str]]]:
    """Codecs with their methods, in the order of the evaluation; methods of different codecs may share a label."""
    pairs = list(dict.fromkeys(key[:2] for key in keys))
    codecs = dict.fromkeys([entry["codec"] for entry in _environment(results, "codecs")] + [key[0] for key in pairs])
    places = [(codec, _in_order(results, [own for of, own in pairs if of == codec])) for codec in codecs]
    return [(codec, methods) for codec, methods in places if methods]


def _in_order(results: Document, methods: Sequence[str]) -> list[str]:
    labels = [entry["method"] for entry in _environment(results, "methods")]
    return [label for label in dict.fromkeys([*labels, *methods]) if label in methods]


def _environment(results: Document, name: str) -> list[Document]:
    return (results.get("environment") or {}).get(name) or []


def _mean(
    rows: Sequence[Document], name: str, decimals: int, *, scale: float = 1, signed: bool = True, note: str = ""
) -> Cell:
    values = [row.get(name) for row in rows]
    defined = [value * scale for value in values if value is not None]
    mean = statistics.fmean(defined) if defined else None
    return Cell(mean, decimals, signed, len(defined), len(values), note=note if mean is None else "")


def _difference(value: float, decimals: int) -> str:
    """A difference with its sign, and a real minus."""
    return Cell(value, decimals).text.replace("-", "\u2212")


def _titled(metric: Metric) -> str:
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title
