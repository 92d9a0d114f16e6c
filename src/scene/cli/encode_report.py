"""The encodes of `scene encode`, one after the other, and what is said of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from scene.cli.console import LogFormat, announce, format_duration, printable, progress_display
from scene.errors import SceneError
from scene.metrics.gain_sentence import HONEST, gain_sentence
from scene.metrics.targets import score_text, title

if TYPE_CHECKING:
    from scene.jobs.chunks.runners.parallel import ChunkedEncodeRequest
    from scene.jobs.encode import EncodeRequest, EncodeResult
    from scene.jobs.gain import Gain
    from scene.jobs.guard import GuardReport
    from scene.jobs.prepare.dry_run import DryRun
    from scene.jobs.prepare.target import TargetEncodeRequest


def run_encodes(
    requests: Sequence[EncodeRequest | TargetEncodeRequest | ChunkedEncodeRequest],
    log_format: LogFormat,
    *,
    dry: bool = False,
) -> None:
    """Does what is asked and announces each result.

    Args:
        dry: say only what would be done.

    Raises:
        SceneError: the one request failed, as itself; or some of several did.
    """
    work = partial(_plan if dry else _encode, log_format=log_format)
    if len(requests) == 1:
        work(requests[0])
        return
    from scene.jobs.batch.many import each

    _, failures = each(requests, work, lambda request: str(_plain(request).source))
    if failures:
        named = "; ".join(str(_plain(failure.request).source) for failure in failures)
        raise SceneError(f"{len(failures)} of {len(requests)} files failed: {named} (reasons above).")


def _encode(request: EncodeRequest | TargetEncodeRequest | ChunkedEncodeRequest, log_format: LogFormat) -> None:
    import scene

    if isinstance(request, scene.ChunkedEncodeRequest):
        announce_encode(scene.encode_in_chunks(request, partial(progress_display, log_format=log_format)))
        return
    if isinstance(request, scene.EncodeRequest):
        with progress_display("encode", "frames", log_format) as on_progress:
            result = scene.encode(request, on_progress)
        if result.gain is not None:
            for sentence in gain_sentences(result.gain, request.settings.codec):
                announce(sentence)
        announce_encode(result)
        return
    from scene.cli.search_report import json_document, sentences

    both = scene.encode_to_target(request, partial(progress_display, log_format=log_format))
    for sentence in sentences(request.search, both.found):
        announce(sentence)
    answer = both.found.chosen.measured
    scores = " and ".join(f"{title(t.metric)} {score_text(t.metric, answer.scores[t.metric])}" for t in request.targets)
    announce(f"Encoded with CRF {answer.crf:g}, of which the search expects {scores} at {answer.kbps:.0f} kbit/s.")
    found = json_document(request.search, both.found)
    del found["command"]
    announce(_summary(both.encoded), {**_fields(both.encoded), "search": found})


def announce_encode(result: EncodeResult) -> None:
    """Says what an encode did."""
    announce(_summary(result), _fields(result))


def gain_sentences(gain: Gain, codec: str) -> list[str]:
    """What an encode at a CRF won: bits at equal quality, which is what to want, and what it is at this CRF."""
    rates: dict[str, float | None] = {HONEST: None, **gain.equal_score_percent}
    rate, change = round(gain.rate_percent, 1), gain.changes[HONEST]
    bits = f"{abs(rate):.1f} % {'fewer' if rate < 0 else 'more'} bits than" if rate else "as many bits as"
    said = f"{title(HONEST)} {change:+.2f} with {bits} {codec} alone ({gain.frames} frames were tried)"
    if change > 0:
        said = f"the gain is quality: {said}; for a smaller file raise --crf, or give --target"
    return [
        gain_sentence(rates, subject="this video"),
        f"At the same CRF {said}." if change > 0 else f"At the same CRF: {said}.",
    ]


def _plan(request: EncodeRequest | TargetEncodeRequest | ChunkedEncodeRequest, log_format: LogFormat) -> None:
    import scene

    plan = scene.dry_run(request.encode if isinstance(request, scene.ChunkedEncodeRequest) else request)
    if log_format == "json":
        names = {"source": str(plan.source), "destination": str(plan.destination)}
        announce(f"{plan.destination}: not written", {**asdict(plan), **names})
    else:
        print("\n".join(map(printable, plan_lines(plan))))


def plan_lines(plan: DryRun) -> list[str]:
    """A dry run for people."""
    encoder, streams, estimate = plan.encoder, plan.streams, plan.estimate
    options = encoder["options"]
    words = " ".join(options) if isinstance(options, list) else " ".join(f"{k}={v}" for k, v in options.items())
    model = plan.model if plan.model == "none" else f"{plan.model}, strength {plan.strength:g}"
    tried = f" ({estimate.frames} frames were tried)" if estimate.frames else ""
    unknown = f"unknown: {estimate.unknown}"
    rows = [
        ("video", f"{plan.video}, {plan.video_seconds:.1f} s"),
        ("model", model),
        ("encoder", f"{encoder['encoder']} {encoder['preset']}, {plan.quality}"),
        ("", f"{encoder['width']}x{encoder['height']} {encoder['pixel_format']} {words}"),
        *(("kept", name) for name in streams.copied),
        *(("converted", name) for name in streams.converted),
        *(("left out", f"{name}: the container cannot hold it") for name in streams.unheld),
        *(("left out", f"{name}: not asked for") for name in streams.unwanted),
        ("time", unknown if estimate.seconds is None else f"about {format_duration(estimate.seconds)}{tried}"),
        ("size", unknown if estimate.bytes is None else f"about {estimate.bytes / 1e6:.2f} MB of video{tried}"),
    ]
    return [f"{plan.source} -> {plan.destination}", *(f"  {name:10}{text}" for name, text in rows)]


def _plain(request: EncodeRequest | TargetEncodeRequest | ChunkedEncodeRequest) -> EncodeRequest:
    import scene

    return request if isinstance(request, scene.EncodeRequest) else request.encode


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
