"""A batch as JSON and as one HTML page: sizes before and after, and what failed and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

import scene
from scene.files import write_atomically
from scene.jobs.batch.outcome import FileResult
from scene.jobs.batch.run import BatchResult
from scene.jobs.prepare.target import TargetEncodeRequest
from scene.measure.names import display_name
from scene.metrics.targets import score_text, title
from scene.pages import page_part, page_templates, policy_hash
from scene.video.encoders import find_encoder

FORMAT = 1
JSON_NAME, PAGE_NAME = "batch.json", "batch.html"
# Of the page's bars, in its own units.
_BAR = 120


def write_report(result: BatchResult, folder: Path, command: str) -> None:
    """Writes `batch.json` and `batch.html` into a folder.

    Args:
        command: that made the batch, as it is written into both.

    Raises:
        OSError: they cannot be written.
    """
    document = batch_document(result, command)
    write_atomically(folder / JSON_NAME, json.dumps(document, indent=1) + "\n")
    write_atomically(folder / PAGE_NAME, batch_page(result, command))


def batch_document(result: BatchResult, command: str) -> dict[str, Any]:
    """The batch as JSON types; the keys are described in docs/batch.md."""
    return {
        "format": FORMAT,
        "scene": scene.__version__,
        "command": command,
        "workers": result.workers,
        "seconds": round(result.seconds, 2),
        **totals(result),
        "results": [_file(one) for one in result.files],
    }


def totals(result: BatchResult) -> dict[str, int]:
    """How many files became what, and the sizes of those that are there."""
    there = [one.encoded for one in result.files if one.encoded is not None]
    states = [one.state for one in result.files]
    return {
        "files": len(states),
        "encoded": len(there),
        **{state: states.count(state) for state in ("done", "unchanged", "failed")},
        "source_bytes": sum(one.source_bytes for one in there),
        "bytes": sum(one.bytes for one in there),
    }


def quality_of(result: FileResult) -> list[str]:
    """By what a file was encoded, in words: its CRF or bitrate, and the scores that a search expects of it."""
    settings, found = result.encode.settings, result.encoded and result.encoded.found
    if found and isinstance(result.request, TargetEncodeRequest):
        wanted = [target.metric for target in result.request.targets]
        scores = [f"{title(name)} {score_text(name, found.scores[name])}" for name in wanted]
        return [f"CRF {found.crf:g}", *scores]
    if isinstance(result.request, TargetEncodeRequest):
        return [target.text for target in result.request.targets]
    if settings.bitrate is not None:
        return [f"{settings.bitrate} kbit/s"]
    return [f"CRF {find_encoder(settings.codec).crf_of(settings):g}"]


def _file(result: FileResult) -> dict[str, Any]:
    wanted = result.encode
    targets = result.request.targets if isinstance(result.request, TargetEncodeRequest) else ()
    return {
        "source": str(wanted.source),
        "destination": str(wanted.destination),
        "state": result.state,
        "reason": result.reason or None,
        "code": result.code,
        "settings": asdict(wanted.settings),
        "enhancement": asdict(wanted.enhancement),
        "targets": {target.metric: target.value for target in targets},
        "encoded": None if result.encoded is None else asdict(result.encoded),
    }


def batch_page(result: BatchResult, command: str) -> str:
    """The same as an HTML document that loads nothing. No name of a file can become markup."""
    style = page_part(__package__, "page.css")
    largest = max((one.encoded.source_bytes for one in result.files if one.encoded is not None), default=0)
    sums = totals(result)
    return (
        page_templates(__package__, _FILTERS)
        .get_template("page.html")
        .render(
            # The project's own, and the policy names its very bytes.
            style=Markup(style),
            style_hash=policy_hash(style),
            totals=sums,
            seconds=result.seconds,
            workers=result.workers,
            version=scene.__version__,
            command=command,
            failed=[_Row.of(one, largest) for one in result.files if one.encoded is None],
            rows=[_Row.of(one, largest) for one in result.files if one.encoded is not None],
            change=_change(sums["source_bytes"], sums["bytes"]),
            searched=any(isinstance(one.request, TargetEncodeRequest) for one in result.files),
        )
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A file as the page shows it; the lengths of its bars are in units of 1/120 of the longest."""

    name: str
    output: str
    result: FileResult
    quality: list[str]
    change: str
    before: float
    after: float

    @classmethod
    def of(cls, result: FileResult, largest: int) -> _Row:
        encoded = result.encoded
        sizes = (encoded.source_bytes, encoded.bytes) if encoded is not None else (0, 0)
        # The smallest that can be seen.
        before, after = (max(1.0, round(_BAR * size / largest, 1)) if size else 0.0 for size in sizes)
        return cls(
            name=display_name(str(result.encode.source)),
            output=display_name(str(result.encode.destination)),
            result=result,
            quality=quality_of(result),
            change=_change(*sizes),
            before=before,
            after=after,
        )


def _change(before: int, after: int) -> str:
    return _signed(100 * (after / before - 1), 0) if before else ""


def _signed(percent: float, decimals: int = 1) -> str:
    """A change in percent, with a real minus; what rounds to zero has no sign."""
    rounded = round(percent, decimals)
    return f"{rounded:+.{decimals}f} %".replace("-", "\u2212") if rounded else f"{0:.{decimals}f} %"


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


_FILTERS: dict[str, Callable[..., str]] = {
    "size": _size,
    "duration": _duration,
    "signed": _signed,
    "shown": display_name,
}
