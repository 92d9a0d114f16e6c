"""What has to be said beside the tables of a results document: how it was measured, and what limits the figures."""

from __future__ import annotations

import re
import statistics
from collections import Counter

from scene.evaluation.results import Document
from scene.metrics.scores import METRICS

_TITLES = {metric.name: metric.title for metric in METRICS}
_FALLING_SHORT = re.compile(r"overlap [0-9.]+ is below")


def protocol_lines(results: Document) -> list[str]:
    """What was measured, with what, as plain text."""
    environment = results["environment"]
    lines = []
    if clips := environment["clips"]:
        recipe = environment["recipe"]
        frames = "all frames" if recipe["frames"] is None else f"first {recipe['frames']} frames"
        halved = recipe["halve_above"]
        sizes = "at their own size" if halved is None else f"those above {halved} lines halved (Lanczos)"
        named = [f"{clip['clip']} ({'x'.join(map(str, clip['measured_size']))})" for clip in clips]
        lines.append(f"{len(clips)} clip{'s' * (len(clips) > 1)}, {frames}, {sizes}: {', '.join(named)}")
    for codec in environment["codecs"]:
        if "crf" in codec:
            lines.append(_codec_line(codec, environment["recipe"]))
    lines.append(f"ffmpeg {environment['ffmpeg']}; rate is that of the elementary stream")
    for method in environment["methods"]:
        # Older documents do not say which codecs a method is for.
        codecs = method.get("codecs")
        if method.get("identity", method["method"]) != method["method"] or codecs:
            where = f" with {', '.join(codecs)}" if codecs else ""
            lines.append(f"{method['method']} is {method['identity']}{where}")
    timing = results.get("timing")
    if timing and timing["points"]:
        share = (timing["encode_seconds"] + timing["compare_seconds"]) / (timing["wall_seconds"] * timing["jobs"])
        lines.append(
            f"{timing['points']} points were measured in {timing['wall_seconds']:.0f} s by {timing['jobs']} workers, "
            f"{share:.0%} of whose time went into encoding and comparing; the others were known"
        )
    return lines


def remarks(results: Document) -> list[str]:
    """What limits the BD-rates, as plain text: clips without a value, curves that overlap little, failed points."""
    rows = [row for row in results["bd_rate"] if row["clip"] != "mean"]
    lines = [
        f"{_name(row)}: {row['clips']} of {row['of_clips']} clips; {_reasons(row, rows)}"
        for row in results["bd_rate"]
        if row["clip"] == "mean" and row["clips"] < row["of_clips"]
    ]
    if not lines:
        lines.append("Every clip counts in every figure.")
    defined = [row for row in rows if row["percent"] is not None]
    flagged = sum(1 for row in defined if row["note"])
    if flagged:
        lines.append(
            f"{flagged} of {len(rows)} per-clip values have a note (overlap below 0.75, or points left out): see "
            "results.json"
        )
    shifts = [abs(row["hull_percent"] - row["percent"]) for row in defined if row.get("hull_percent") is not None]
    if shifts:
        lines.append(
            f"Over the curves' convex hulls {len(shifts)} of the {len(defined)} per-clip values are defined; they "
            f"differ from those here by {statistics.median(shifts):.2f} points in the median, {max(shifts):.1f} at most"
        )
    if results["failures"]:
        lines.append(f"{len(results['failures'])} points could not be measured: see results.json")
    return lines


def _codec_line(codec: Document, recipe: Document) -> str:
    ladder = ", ".join(f"{crf:g}" for crf in codec["crf"])
    return (
        f"{codec['codec']} {codec['version']}: preset {codec['preset']}, {codec.get('quality', 'CRF')} {ladder}, "
        f"GOP {recipe['gop_seconds']:g} s, one thread"
    )


def _name(row: Document) -> str:
    against = "" if row["anchor"] == "none" else f" against {row['anchor']}"
    return f"{row['codec']}, {row['method']}{against}, {_TITLES[row['metric']]}"


def _reasons(mean: Document, rows: list[Document]) -> str:
    """Why the other clips have no value, alike reasons counted together."""
    place = ("codec", "method", "anchor", "metric")
    missing = [row for row in rows if row["percent"] is None and all(row[key] == mean[key] for key in place)]
    reasons = Counter(_FALLING_SHORT.sub("overlap is below", row["note"].partition(";")[0]) for row in missing)
    return ", ".join(f"{reason} on {count}" for reason, count in reasons.items())
