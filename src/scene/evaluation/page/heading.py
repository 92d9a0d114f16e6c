"""What was measured, in one line and in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def is_comparison(results: Mapping[str, Any]) -> bool:
    """Whether the document is of `scene compare`: files made elsewhere, without a CRF."""
    points = results.get("points") or []
    return bool(points) and all(point.get("crf") is None for point in points)


def headline(results: Mapping[str, Any]) -> str:
    """HTML text of the title."""
    if is_comparison(results):
        return f"Files compared with {escape(_join(_distinct(results, 'clip')))}"
    codecs = _distinct(results, "codec")
    return f"Pre-processing before {escape(_join(codecs))}" if codecs else "Pre-processing before video codecs"


def sentence(results: Mapping[str, Any]) -> str:
    """HTML text that says how much was measured, and with which version."""
    points = results.get("points") or []
    environment = results.get("environment") or {}
    version = f" SCENE {escape(str(environment['scene']))}." if environment.get("scene") else ""
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
        f"{_count(len(clips), 'clip')} of {frames} through {escape(_join(codecs))} at {rates} rates, "
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


def _distinct(results: Mapping[str, Any], name: str) -> list[str]:
    return list(dict.fromkeys(str(point.get(name, "")) for point in results.get("points") or []))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
