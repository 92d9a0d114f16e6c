"""What is needed to repeat an evaluation: command, versions, settings, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from scene.evaluation.page.heading import is_comparison
from scene.evaluation.page.markup import plain_table


def repeat_html(results: Mapping[str, Any]) -> str:
    """HTML of the last section; what the document does not say is left out."""
    environment = results.get("environment") or {}
    recipe = environment.get("recipe") or {}
    parts = []
    if environment.get("command"):
        parts.append(f'<pre tabindex="0" aria-label="Command"><code>{escape(str(environment["command"]))}</code></pre>')
    facts = _facts(results)
    parts.append("<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts) + "</dl>")
    parts += [_codecs(environment, recipe), _methods(results), _clips(environment), _failures(results)]
    return "".join(parts)


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    environment, timing = results.get("environment") or {}, results.get("timing") or {}
    recipe = environment.get("recipe")
    facts = [
        ("SCENE", environment.get("scene")),
        ("PyAV", environment.get("pyav")),
        ("ffmpeg", environment.get("ffmpeg")),
        ("Platform", environment.get("platform")),
        ("Frames", _frames(recipe) if recipe else None),
        ("Reference", _reference(recipe) if recipe else None),
        ("Time", _time(timing, len(results.get("points") or []))),
    ]
    return [(name, str(text)) for name, text in facts if text]


def _frames(recipe: Mapping[str, Any]) -> str:
    return f"the first {recipe['frames']} of each clip" if recipe.get("frames") else "all of each clip"


def _reference(recipe: Mapping[str, Any]) -> str:
    lines = recipe.get("halve_above")
    halved = f", clips of more than {lines} lines halved (Lanczos)" if lines else ", at its own size"
    return f"the unprocessed source{halved}"


def _time(timing: Mapping[str, Any], points: int) -> str:
    wall, jobs = timing.get("wall_seconds"), timing.get("jobs") or 1
    if not wall or not timing.get("points"):
        return ""
    share = (timing.get("encode_seconds", 0) + timing.get("compare_seconds", 0)) / (wall * jobs)
    return (
        f"{timing['points']} of {points} points measured in {_duration(wall)} by {jobs} workers, {share:.0%} of whose "
        "time went into encoding and scoring"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _codecs(environment: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    gop = f"{recipe['gop_seconds']} s" if recipe.get("gop_seconds") else ""
    rows = [
        [
            *(str(entry.get(name, "")) for name in ("codec", "encoder", "version", "preset")),
            f"{entry.get('quality', 'CRF')} {', '.join(f'{crf:g}' for crf in entry.get('crf') or [])}",
            gop,
            str(entry.get("encoder_args") or " ".join(map(str, entry.get("options") or []))),
        ]
        for entry in environment.get("codecs") or []
    ]
    head = ["Codec", "Encoder", "Version", "Preset", "Quality", "GOP", "Options"]
    return plain_table("Encoders", head, rows) if rows else ""


def _methods(results: Mapping[str, Any]) -> str:
    environment = results.get("environment") or {}
    if is_comparison(results):
        files = [
            [str(entry.get(name, "")) for name in ("method", "identity")] for entry in environment.get("methods") or []
        ]
        return plain_table("Files", ["File", "Identity"], files) if files else ""
    rows = [
        [
            str(entry.get("method", "")),
            ", ".join(entry.get("codecs") or []) or "all",
            " ".join([str(entry.get("identity", "")), *map(str, entry.get("parameters") or [])]),
        ]
        for entry in environment.get("methods") or []
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
        return "" if is_comparison(results) or not results.get("points") else "<p>Every point was measured.</p>"
    return plain_table(
        f"{len(rows)} point{'s' * (len(rows) > 1)} that could not be measured",
        ["Clip", "Method", "Codec", "CRF", "Reason"],
        rows,
    )
