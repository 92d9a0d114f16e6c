"""What limits the figures of a results document, as sentences beside its tables."""

from __future__ import annotations

import re
import statistics
from collections import Counter

from scene.evaluation.report.results import Document
from scene.metrics.scores import METRICS, REGION_METRICS

_TITLES = {metric.name: metric.title for metric in (*METRICS, *REGION_METRICS)}
# Notes of `scene.metrics.bjontegaard` without what differs from clip to clip.
_ALIKE = (
    (re.compile(r"overlap [0-9.]+ is below"), "overlap below"),
    (re.compile(r"the (?:anchor|test) has [0-9]+ usable points of ([0-9]+)"), r"fewer than \1 usable points"),
)


def remarks(results: Document, anchor: str = "none") -> list[str]:
    """What limits the BD-rates, as plain text: clips without a value, curves that overlap little, failed points."""
    compared = [row for row in results["bd_rate"] if row["anchor"] == anchor]
    rows = [row for row in compared if row["clip"] != "mean"]
    short: dict[tuple[str, str], list[Document]] = {}
    for row in compared:
        if row["clip"] == "mean" and row["clips"] < row["of_clips"]:
            short.setdefault((row["codec"], row["method"]), []).append(row)
    lines = [_missing_line(means, rows) for means in short.values()] or ["Every clip counts in every figure."]
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


def _missing_line(means: list[Document], rows: list[Document]) -> str:
    """How many clips of one codec and method have no value, by metric, and why."""
    counts = [f"{_TITLES[mean['metric']]} {mean['of_clips'] - mean['clips']} of {mean['of_clips']}" for mean in means]
    place = ("codec", "method", "metric")
    missing = [
        row for mean in means for row in rows if row["percent"] is None and all(row[key] == mean[key] for key in place)
    ]
    reasons = Counter(_reason(row["note"]) for row in missing)
    where, why = f"{means[0]['codec']}, {means[0]['method']}", "; ".join(text for text, _ in reasons.most_common())
    return f"{where}, clips without a value: {', '.join(counts)} ({why})"


def _reason(note: str) -> str:
    first = note.partition(";")[0]
    for pattern, words in _ALIKE:
        first = pattern.sub(words, first)
    return first
