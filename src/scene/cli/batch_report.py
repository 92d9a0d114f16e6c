"""What `scene batch` says: a sentence for each file, and a table at the end."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import Any

from scene.cli.console import announce, format_duration, printable, with_flags
from scene.jobs.batch.outcome import Encoded, FileResult
from scene.jobs.batch.report import quality_of, totals
from scene.jobs.batch.run import BatchResult

# Of more files only those that failed are printed; the page has all.
_MOST_ROWS = 40
_MOST_NAMES = 5


def announce_file(result: FileResult) -> None:
    """Logs what became of a file; of one that is left as it is, nothing."""
    encoded = result.encoded
    if encoded is None:
        logging.getLogger("scene").error("%s", reason_with_name(result))
        return
    if result.state == "unchanged":
        return
    for warning in encoded.warnings:
        logging.getLogger("scene").warning("%s", warning)
    wanted = result.encode
    found = "" if encoded.found is None else f", {', '.join(quality_of(result))} expected"
    announce(
        f"{wanted.source} -> {wanted.destination}: {encoded.frames} frames in {encoded.seconds:.1f} s, "
        f"{encoded.bytes / 1e6:.2f} MB (source {encoded.source_bytes / 1e6:.2f} MB){found}",
        {"source": str(wanted.source), "destination": str(wanted.destination), **asdict(encoded)},
    )


def with_option_names(result: BatchResult) -> BatchResult:
    """The result with its reasons in the words of the command line."""
    return replace(result, files=tuple(replace(one, reason=with_flags(one.reason)) for one in result.files))


def reason_with_name(result: FileResult) -> str:
    """Why a file failed, in a sentence that names it."""
    source = str(result.encode.source)
    return result.reason if source in result.reason else f"{source}: {result.reason}"


def failures_in_words(result: BatchResult) -> str:
    """Which files failed; empty if none did."""
    failed = [str(one.encode.source) for one in result.files if one.state == "failed"]
    if not failed:
        return ""
    more = f" and {len(failed) - _MOST_NAMES} more" if len(failed) > _MOST_NAMES else ""
    return (
        f"{len(failed)} of {len(result.files)} files failed: {'; '.join(failed[:_MOST_NAMES])}{more} (reasons above)."
    )


def table_text(result: BatchResult) -> str:
    """The files, before and after, for people."""
    few = len(result.files) <= _MOST_ROWS
    shown = [one for one in result.files if few or one.state == "failed"]
    rows = [["file", "before", "after", "change", "quality", "bits at equal NEG"]]
    rows += [_row(one, one.encoded) for one in shown if one.encoded is not None]
    sums = totals(result)
    all_of_them = f"{sums['encoded']} of {sums['files']} files"
    rows.append([all_of_them, *_sizes(sums["source_bytes"], sums["bytes"]), "", ""])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((name.ljust(widths[0]), *padded)).rstrip())
    lines += [f"failed: {printable(reason_with_name(one))}" for one in shown if one.encoded is None]
    unchanged = f", {sums['unchanged']} were there already" if sums["unchanged"] else ""
    lines.append(f"{format_duration(result.seconds)}, {result.workers} at a time{unchanged}.")
    return "\n".join(lines) + "\n"


def fields(result: BatchResult) -> dict[str, Any]:
    """The result as an event of the log has it."""
    return {**totals(result), "seconds": round(result.seconds, 2), "workers": result.workers}


def _row(result: FileResult, encoded: Encoded) -> list[str]:
    won = "" if encoded.equal_neg_percent is None else f"{encoded.equal_neg_percent:+.1f} %"
    name = printable(str(result.encode.destination))
    return [name, *_sizes(encoded.source_bytes, encoded.bytes), ", ".join(quality_of(result)), won]


def _sizes(before: int, after: int) -> list[str]:
    change = f"{100 * (after / before - 1):+.0f} %" if before else ""
    return [f"{before / 1e6:.2f} MB", f"{after / 1e6:.2f} MB", change]
