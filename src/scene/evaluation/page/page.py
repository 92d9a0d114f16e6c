"""Puts the report together: template, style, script, data and pictures in one file that asks for no other."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from scene.evaluation.page.heading import headline, sentence
from scene.evaluation.page.repeat import repeat_html
from scene.evaluation.page.summary import summary_html
from scene.evaluation.visuals.side_by_side import SideBySide
from scene.metrics.scores import METRICS

# In this order they are one module.
_SCRIPTS = ("dom.js", "data.js", "notes.js", "tables.js", "chart.js", "plots.js", "side_by_side.js", "page.js")
# More figures than this make the file slow to open; clips are then thinned to every second frame, third, ...
_MOST_FRAME_SCORES = 2_000_000


def page_html(results: Mapping[str, Any], frames: Mapping[str, Any], side_by_sides: Sequence[SideBySide]) -> str:
    """The report of an evaluation or a comparison as one self-contained HTML document.

    Args:
        results: results.json, parsed; keys that older versions did not write may be missing, and a document of
            `scene compare` (every CRF null, no BD-rates) shows its points instead of BD-rates.
        frames: frames.json, parsed; may be empty.
        side_by_sides: frames to look at; may be empty.

    Returns:
        The text of report.html. It loads nothing: pictures are data URIs, and its content security policy forbids
        the rest. No text of the documents can become markup.
    """
    style = _read("page.css")
    script = "\n".join(_read(name) for name in _SCRIPTS)
    parts = {
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "title": headline(results),
        "sentence": sentence(results),
        "summary": summary_html(results),
        "repeat": repeat_html(results),
        "results": _json(_shown(results)),
        "metrics": _json([_metric(metric) for metric in METRICS]),
        "frames": _json(_thinned(frames)),
        "side_by_sides": _json([_side_by_side(shown) for shown in side_by_sides]),
    }
    # One pass: what is put in is never searched for further places.
    return re.sub(r"<!--slot:(\w+)-->", lambda match: parts[match[1]], _read("page.html"))


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> str:
    """JSON that no string in it can end the script element with."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    """The same with null for infinities and NaN, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def _shown(results: Mapping[str, Any]) -> dict[str, Any]:
    """What the script draws; the rest of the document is in the page's text already."""
    names = ("points", "bd_rate", "equal_crf", "treatments")
    shown: dict[str, Any] = {name: results.get(name) or [] for name in names}
    environment = results.get("environment") or {}
    shown["methods"] = environment.get("methods") or []
    shown["codecs"] = environment.get("codecs") or []
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


def _side_by_side(shown: SideBySide) -> dict[str, Any]:
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
    }


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
