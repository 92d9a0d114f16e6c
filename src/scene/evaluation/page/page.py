"""Puts the report together: template, style, script, data and pictures in one file that asks for no other."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product, zip_longest
from typing import Any

from markupsafe import Markup

from scene.evaluation.report.looks import COLOURS, looks
from scene.evaluation.report.provenance import facts, is_comparison, provenance_tables
from scene.evaluation.report.results import Document
from scene.evaluation.report.spoken import spoken
from scene.evaluation.report.table import Cell, Table
from scene.evaluation.report.tables import (
    CLIP_FIGURES,
    STATISTICS,
    anchors,
    bd_rate_table,
    clip_table,
    effect_table,
    equal_crf_table,
    files_table,
    region_table,
)
from scene.evaluation.report.verdict import verdicts
from scene.evaluation.visuals.side_by_side import Moving, SideBySide
from scene.metrics.gain_sentence import HONEST
from scene.metrics.scores import METRICS, REGION_METRICS
from scene.pages import page_part, page_templates, policy_hash

# In this order they are one module.
_SCRIPTS = (
    "dom.js",
    "data.js",
    "notes.js",
    "tables.js",
    "export.js",
    "chart.js",
    "plots.js",
    "moving.js",
    "side_by_side.js",
    "page.js",
)
# More figures than this make the file slow to open; clips are then thinned to every second frame, third, ...
_MOST_FRAME_SCORES = 2_000_000
# Percent from which a cell is tinted as a small, a clear and a large change.
_TINTS = (1.0, 5.0, 20.0)
_MINUS = "\u2212"
# The metric that is hard to fake comes first.
_ORDER = tuple(sorted(METRICS, key=lambda metric: metric.name != HONEST))

# A table and what it is shown for: the chosen text by the control's label.
Choice = tuple[dict[str, str], Table]


def page_html(
    results: Mapping[str, Any],
    frames: Mapping[str, Any],
    side_by_sides: Sequence[SideBySide],
    regions: Sequence[bytes | None] = (),
) -> str:
    """The report of an evaluation or a comparison as one self-contained HTML document.

    Args:
        results: results.json, parsed; keys that older versions did not write may be missing, and a document of
            `scene compare` (every CRF null, no BD-rates) shows its points instead of BD-rates.
        frames: frames.json, parsed; may be empty.
        side_by_sides: frames to look at; may be empty.
        regions: for each of them a transparent PNG that tints the region of interest, or None; see
            `scene.evaluation.visuals.region`.

    Returns:
        The text of report.html. It loads nothing: pictures are data URIs, and its content security policy forbids
        the rest. No text of the documents can become markup.
    """
    document = dict(results)
    style = _style()
    script = "\n".join(page_part(__package__, name) for name in _SCRIPTS)
    comparison = is_comparison(document)
    return (
        page_templates(__package__, {"shown": _number, "tint": _tint, "json": json.dumps, "minus": _minus})
        .get_template("page.html")
        .render(
            # Both hold what the project wrote itself, and the policy names their very bytes.
            style=Markup(style),
            style_hash=policy_hash(style),
            script=Markup(script),
            script_hash=policy_hash(script),
            title=_headline(document),
            verdicts=verdicts(document),
            said=spoken(document) if comparison else [],
            sentence=_sentence(document),
            comparison=comparison,
            files=files_table(document) if comparison else None,
            summary=[(anchor, list(_summary(document, anchor))) for anchor in anchors(document)],
            regions=[(anchor, list(_region_choices(document, anchor))) for anchor in anchors(document)],
            clips=list(_clip_choices(document)),
            equal_crf=list(_equal_crf_choices(document)),
            effects=list(_effect_choices(document)),
            command=(document.get("environment") or {}).get("command"),
            facts=facts(document),
            provenance=provenance_tables(document),
            every_point=bool(document.get("points")) and not comparison and not document.get("failures"),
            results=_json(_shown(document)),
            metrics=_json([_metric(metric) for metric in (*_ORDER, *REGION_METRICS)]),
            frames=_json(_thinned(frames)),
            side_by_sides=_json(
                [_side_by_side(shown, region) for shown, region in zip_longest(side_by_sides, regions)]
            ),
        )
    )


def _number(cell: Cell) -> str:
    """The value with a real minus; what rounds to zero has no sign."""
    text = cell.text
    if cell.value is not None and round(cell.value, cell.decimals) == 0:
        return text.lstrip("+")
    return text.replace("-", _MINUS)


def _minus(text: str) -> str:
    """A sentence with real minuses before its figures."""
    return re.sub(r"(?<!\w)-(?=\d)", _MINUS, text)


def _tint(cell: Cell) -> str:
    if cell.value is None or not cell.percent:
        return ""
    level = sum(abs(cell.value) >= threshold for threshold in _TINTS)
    return f"{'save' if cell.value < 0 else 'cost'}{level}" if level else ""


def _summary(results: Document, anchor: str) -> Iterator[Choice]:
    for statistic, text in STATISTICS.items():
        yield {"Show": text}, bd_rate_table(results, anchor, statistic=statistic, order=_ORDER)


def _region_choices(results: Document, anchor: str) -> Iterator[Choice]:
    for statistic, text in STATISTICS.items():
        table = region_table(results, anchor, statistic=statistic)
        if table.rows:
            yield {"Show": text}, table


def _clip_choices(results: Document) -> Iterator[Choice]:
    rows = results.get("bd_rate") or []
    codecs, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("codec", "metric"))
    metrics = [metric for metric in (*_ORDER, *REGION_METRICS) if metric.name in names]
    for codec, metric, anchor, (figure, text) in product(codecs, metrics, anchors(results), CLIP_FIGURES.items()):
        table = clip_table(results, codec, metric, figure, anchor)
        if table.rows:
            title = f"{metric.title} ({metric.unit})" if metric.unit else metric.title
            yield {"Codec": codec, "Metric": title, "Against": _anchor_text(anchor), "Figure": text}, table


def _equal_crf_choices(results: Document) -> Iterator[Choice]:
    rows = results.get("equal_crf") or []
    clips = sorted(dict.fromkeys(row["clip"] for row in rows), key=lambda clip: clip != "mean")
    for clip, anchor in product(clips, dict.fromkeys(row["anchor"] for row in rows)):
        choice = {"Clip": "mean over clips" if clip == "mean" else clip, "Against": _anchor_text(anchor)}
        yield choice, equal_crf_table(results, anchor, clip=clip, order=_ORDER)


def _effect_choices(results: Document) -> Iterator[Choice]:
    clips = list(dict.fromkeys(row["clip"] for row in results.get("treatments") or []))
    for clip in [None] * (len(clips) > 1) + clips:
        yield {"Clip": clip or "mean over clips"}, effect_table(results, clip)


def _anchor_text(anchor: str) -> str:
    return "codec only" if anchor == "none" else anchor


def _headline(results: Document) -> str:
    """The title."""
    if is_comparison(results):
        return f"Files compared with {_join(_distinct(results, 'clip'))}"
    codecs = _distinct(results, "codec")
    return f"Pre-processing before {_join(codecs)}" if codecs else "Pre-processing before video codecs"


def _sentence(results: Document) -> str:
    """A sentence that says how much was measured, and with which version."""
    points = results.get("points") or []
    environment = results.get("environment") or {}
    version = f" SCENE {environment['scene']}." if environment.get("scene") else ""
    if not points:
        return f"Nothing was measured.{version}"
    frames = _frames(points)
    if is_comparison(results):
        files = _count(len(points), "file")
        return f"{files} of {frames}, scored against the reference frame by frame.{version}"
    clips, methods = _distinct(results, "clip"), [m for m in _distinct(results, "method") if m != "none"]
    codecs = _distinct(results, "codec")
    ladder = sorted({len({p.get("crf") for p in points if p.get("codec") == codec}) for codec in codecs})
    rates = f"{ladder[0]}" if len(ladder) == 1 else f"{ladder[0]} to {ladder[-1]}"
    return (
        f"{_count(len(clips), 'clip')} of {frames} through {_join(codecs)} at {rates} rates, "
        f"without pre-processing and with {_count(len(methods), 'method')}: {len(points):,} encodes, each scored "
        f"against the unprocessed source.{version}"
    )


def _frames(points: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({int(point["frames"]) for point in points if point.get("frames")})
    if not counts:
        return "all frames"
    if len(counts) == 1:
        return _count(counts[0], "frame")
    return f"{counts[0]} to {counts[-1]} frames"


def _distinct(results: Document, name: str) -> list[str]:
    return list(dict.fromkeys(str(point.get(name, "")) for point in results.get("points") or []))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _style() -> str:
    """The style, with the colours of methods that plots in files have too."""
    return re.sub(
        r"light-dark\(look(\d)\)",
        lambda m: f"light-dark({', '.join(COLOURS[int(m[1])])})",
        page_part(__package__, "page.css"),
    )


def _json(value: Any) -> Markup:
    """JSON that no string in it can end the script element with."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _finite(value: Any) -> Any:
    """The same with null for infinities and NaN, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def _shown(results: Document) -> dict[str, Any]:
    """What the script draws; the rest of the document is in the page's text already."""
    shown: dict[str, Any] = {"points": results.get("points") or []}
    environment = results.get("environment") or {}
    shown["methods"] = environment.get("methods") or []
    shown["codecs"] = environment.get("codecs") or []
    shown["looks"] = looks(results)
    return shown


def _metric(metric: Any) -> dict[str, Any]:
    names = ("name", "title", "unit", "better", "decimals", "bd_rate", "per_frame")
    return {name: getattr(metric, name) for name in names}


def _thinned(frames: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of frames with as many digits as can be seen, and no more frames than the page bears.

    Returns:
        {"step", "frames"}: every how many frames one is kept, and the entries of frames.json.
    """
    entries = frames.get("frames") or []
    count = sum(len(values) for entry in entries for values in entry.get("scores", {}).values())
    step = max(1, math.ceil(count / _MOST_FRAME_SCORES))
    return {
        "step": step,
        "frames": [
            {**entry, "scores": {name: _rounded(values[::step]) for name, values in entry.get("scores", {}).items()}}
            for entry in entries
        ],
    }


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    # Five digits serve MS-SSIM, whose differences are small, as well as scores up to 100.
    return [value if value is None else float(f"{value:.5g}") for value in values]


def _side_by_side(shown: SideBySide, region: bytes | None) -> dict[str, Any]:
    return {
        "clip": shown.clip,
        "codec": shown.codec,
        "frame": shown.frame,
        "width": shown.width,
        "height": shown.height,
        "crop": shown.crop,
        "note": shown.note,
        "panes": [
            {
                "label": pane.label,
                "caption": pane.caption,
                "image": _data_uri("image/webp", pane.image),
                "crop": _data_uri("image/webp", pane.crop),
            }
            for pane in shown.panes
        ],
        "moving": None if shown.moving is None else _moving(shown.moving),
        "region": None if region is None else _data_uri("image/png", region),
    }


def _moving(moving: Moving) -> dict[str, Any]:
    names = ("labels", "width", "height", "pitch", "first", "frames", "rate")
    return {**{name: getattr(moving, name) for name in names}, "video": _data_uri("video/mp4", moving.video)}


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
