"""The encodes of `scene encode`, one after the other, and what is said of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from scene.cli.console import LogFormat, announce, progress_display
from scene.errors import SceneError

if TYPE_CHECKING:
    from scene.jobs.batch.target import TargetEncodeRequest
    from scene.jobs.encode import EncodeRequest, EncodeResult
    from scene.jobs.guard import GuardReport


def run_encodes(requests: Sequence[EncodeRequest | TargetEncodeRequest], log_format: LogFormat) -> None:
    """Does what is asked and announces each result.

    Raises:
        SceneError: the one request failed, as itself; or some of several did.
    """
    work = partial(_encode, log_format=log_format)
    if len(requests) == 1:
        work(requests[0])
        return
    from scene.jobs.batch.many import each

    _, failures = each(requests, work, lambda request: str(_plain(request).source))
    if failures:
        named = "; ".join(str(_plain(failure.request).source) for failure in failures)
        raise SceneError(f"{len(failures)} of {len(requests)} files failed: {named} (reasons above).")


def _encode(request: EncodeRequest | TargetEncodeRequest, log_format: LogFormat) -> None:
    import scene

    if isinstance(request, scene.EncodeRequest):
        with progress_display("encode", "frames", log_format) as on_progress:
            result = scene.encode(request, on_progress)
        announce(_summary(result), _fields(result))
        return
    from scene.cli.search_report import json_document, sentences

    both = scene.encode_to_target(request, partial(progress_display, log_format=log_format))
    for sentence in sentences(request.search, both.found):
        announce(sentence)
    found = json_document(request.search, both.found)
    del found["command"]
    announce(_summary(both.encoded), {**_fields(both.encoded), "search": found})


def _plain(request: EncodeRequest | TargetEncodeRequest) -> EncodeRequest:
    import scene

    return request.encode if isinstance(request, scene.TargetEncodeRequest) else request


def _fields(result: EncodeResult) -> dict[str, Any]:
    return {**asdict(result), "destination": str(result.destination)}


def _summary(result: EncodeResult) -> str:
    guard = "" if result.guard is None else _in_words(result.guard)
    damage = f", {result.damage} damaged places" if result.damage else ""
    return (
        f"{result.destination}: {result.frames} frames in {result.seconds:.1f} s "
        f"({result.frames / result.seconds:.2f} fps), {result.bytes / 1e6:.2f} MB (source "
        f"{result.source_bytes / 1e6:.2f} MB), model {result.model}{damage}{guard}"
    )


def _in_words(report: GuardReport) -> str:
    return f"; guard: {report.passed} of {report.shots} shots passed through, probes took {report.seconds:.1f} s"
