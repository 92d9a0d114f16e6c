"""What is needed to repeat an evaluation: command, versions, settings, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from scene.evaluation.page.markup import plain_table


def repeat_html(results: Mapping[str, Any]) -> str:
    """HTML of the last section; what the document does not say is left out."""
    environment = results.get("environment") or {}
    recipe = environment.get("recipe") or {}
    parts = []
    if environment.get("command"):
        parts.append(f'<pre tabindex="0" aria-label="Command"><code>{escape(str(environment["command"]))}</code></pre>')
    facts = _facts(environment, recipe, results.get("timing") or {})
    parts.append("<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts) + "</dl>")
    parts += [_codecs(environment, recipe), _methods(environment), _clips(environment), _failures(results)]
    return "".join(parts)


def _facts(
    environment: Mapping[str, Any], recipe: Mapping[str, Any], timing: Mapping[str, Any]
) -> list[tuple[str, str]]:
    facts = [
        ("SCENE", environment.get("scene")),
        ("ffmpeg", environment.get("ffmpeg")),
        ("Platform", environment.get("platform")),
        ("Frames", _frames(recipe) if recipe else None),
        ("Reference", _reference(recipe) if recipe else None),
        ("Time", _time(timing)),
    ]
    return [(name, str(text)) for name, text in facts if text]


def _frames(recipe: Mapping[str, Any]) -> str:
    return f"the first {recipe['frames']} of each clip" if recipe.get("frames") else "all of each clip"


def _reference(recipe: Mapping[str, Any]) -> str:
    lines = recipe.get("halve_above")
    halved = f", clips of more than {lines} lines halved (Lanczos)" if lines else ", at its own size"
    return f"the unprocessed source{halved}"


def _time(timing: Mapping[str, Any]) -> str:
    if not timing.get("wall_seconds"):
        return ""
    text = f"{_duration(timing['wall_seconds'])} with {timing.get('jobs', 1)} jobs"
    if timing.get("points"):
        text += f", {timing['points']} points measured and the others from the cache"
    encode, compare = timing.get("encode_seconds"), timing.get("compare_seconds")
    if encode is not None and compare is not None:
        text += f"; {_duration(encode)} in encoders, {_duration(compare)} in scoring"
    return text


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _codecs(environment: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    gop = f"{recipe['gop_seconds']} s" if recipe.get("gop_seconds") else ""
    rows = [
        [
            str(entry.get("codec", "")),
            str(entry.get("encoder", "")),
            str(entry.get("version", "")),
            str(entry.get("preset", "")),
            ", ".join(f"{crf:g}" for crf in entry.get("crf") or []),
            gop,
        ]
        for entry in environment.get("codecs") or []
    ]
    return plain_table("Encoders", ["Codec", "Encoder", "Version", "Preset", "CRF", "GOP"], rows) if rows else ""


def _methods(environment: Mapping[str, Any]) -> str:
    rows = [
        [str(m.get("method", "")), ", ".join(m.get("codecs") or []) or "all", str(m.get("identity", ""))]
        for m in environment.get("methods") or []
    ]
    return plain_table("Methods", ["Method", "Codecs", "Identity"], rows) if rows else ""


def _clips(environment: Mapping[str, Any]) -> str:
    rows = [
        [
            str(clip.get("clip", "")),
            f"{clip['fps']:.5g}" if clip.get("fps") else "",
            _size(clip.get("source_size")),
            _size(clip.get("measured_size")),
            str(clip.get("sha256", "")),
        ]
        for clip in environment.get("clips") or []
    ]
    return plain_table("Clips", ["Clip", "Frames/s", "Source", "Measured", "SHA-256"], rows) if rows else ""


def _size(size: Any) -> str:
    return "\u00d7".join(str(length) for length in size) if size else ""


def _failures(results: Mapping[str, Any]) -> str:
    rows = [
        [str(failure.get(name, "")) for name in ("clip", "method", "codec", "crf", "reason")]
        for failure in results.get("failures") or []
    ]
    if not rows:
        return "<p>Every point was measured.</p>" if results.get("points") else ""
    return plain_table(
        f"{len(rows)} points that could not be measured", ["Clip", "Method", "Codec", "CRF", "Reason"], rows
    )
