"""What `scene search` prints: a table or JSON, and the command that encodes with the answer."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from scene.cli.encode import encode_words
from scene.jobs.samples.quality_search import SearchAnswer
from scene.jobs.samples.sample_encode import CrfScores
from scene.jobs.search import SearchRequest, SearchResult, encode_request, gain_by_metric
from scene.measure.names import display_name
from scene.metrics.gain_sentence import HONEST, gain_sentence
from scene.metrics.targets import score_text, title

FORMAT = 1


def table_text(request: SearchRequest, result: SearchResult) -> str:
    """For people."""
    metrics = list(result.plain.measured.scores)
    rows = [["", "CRF", "kbit/s", "size", *map(title, metrics)], _row("unprocessed", result.plain)]
    if result.enhanced is not None:
        rows.append(_row("enhanced", result.enhanced))
    if result.samples > 1:
        worst = result.chosen.measured.worst
        rows.append(["worst sample", "", "", "", *(score_text(name, worst[name].score) for name in metrics)])
        rows.append(["  it starts at", "", "", "", *(_clock(worst[name].start) for name in metrics)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_what(request, result)]
    for label, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((label.ljust(widths[0]), *padded)).rstrip())
    return "\n".join((*sentences(request, result), *lines, command_text(request, result), ""))


def sentences(request: SearchRequest, result: SearchResult) -> list[str]:
    """What was found and what was won, in words: by VMAF NEG first, whatever the targets are."""
    gains = gain_by_metric(request, result)
    told = [target.metric for target in request.targets] == [HONEST] and not result.chosen.missed
    if gains is None or (told and gains[HONEST] is None):
        return [_verdict(request, result)]
    won = gain_sentence(gains, subject="this video")
    if not told:
        return [won, _verdict(request, result)]
    # The verdict would say the same again.
    return [won] if result.saving is not None and result.saving > 0 else [won, "So enhancement is left out."]


def json_text(request: SearchRequest, result: SearchResult) -> str:
    """For machines; the keys are described in docs/search.md."""
    return json.dumps(json_document(request, result), indent=2) + "\n"


def json_document(request: SearchRequest, result: SearchResult) -> dict[str, Any]:
    """The same as JSON types."""
    return {
        "format": FORMAT,
        "source": str(request.source),
        "targets": {target.metric: target.value for target in request.targets},
        "max_kbps": request.max_kbps,
        "met": not result.chosen.missed,
        "chosen": "unprocessed" if result.chosen is result.plain else "enhanced",
        "saving_percent": result.saving,
        "rate_difference_percent": gain_by_metric(request, result),
        "unprocessed": _answer(result.plain),
        "enhanced": None if result.enhanced is None else _answer(result.enhanced),
        "video_seconds": result.seconds,
        "samples": result.samples,
        "sampled_frames": result.sampled_frames,
        "whole": result.whole,
        "took_seconds": round(result.took, 2),
        "command": command_words(request, result),
    }


def command_words(request: SearchRequest, result: SearchResult) -> list[str]:
    """The `scene encode` command of the answer that was chosen, as an argument vector."""
    made = encode_request(request, result, _destination(request))
    return encode_words(made.source, made.destination, made.settings, made.enhancement)


def command_text(request: SearchRequest, result: SearchResult) -> str:
    """The same, quoted for a shell."""
    return display_name(shlex.join(command_words(request, result)))


def _destination(request: SearchRequest) -> Path:
    return request.source.with_name(f"{request.source.stem}-{request.settings.codec}.mkv")


def _what(request: SearchRequest, result: SearchResult) -> str:
    fmt, settings = result.info.format, request.settings
    sampled = f"all {result.sampled_frames} frames"
    if not result.whole:
        samples = "1 sample" if result.samples == 1 else f"{result.samples} samples"
        sampled = f"{samples} with {result.sampled_frames} frames of {result.seconds:.1f} s"
    preset = f" {settings.preset}" if settings.preset else ""
    return f"{display_name(request.source.name)}, {fmt.width}x{fmt.height}; {settings.codec}{preset}; {sampled}"


def _row(label: str, answer: SearchAnswer) -> list[str]:
    measured = answer.measured
    scores = (score_text(name, value) for name, value in measured.scores.items())
    return [label, f"{measured.crf:g}", f"{measured.kbps:.0f}", f"{answer.bytes / 1e6:.2f} MB", *scores]


def _verdict(request: SearchRequest, result: SearchResult) -> str:
    wanted = " and ".join(target.text for target in request.targets)
    if result.chosen.missed:
        bound = request.max_kbps
        within = "" if bound is None or result.chosen.measured.kbps > bound else f" within {bound:g} kbit/s"
        return f"Not reached: {result.chosen.missed}. This is the nearest{within}."
    if result.enhanced is None:
        return f"Reaches {wanted}."
    if result.saving is None:
        return f"What enhancement saves at {wanted} is not known: one of the two does not just meet it at any CRF."
    verb = "saves" if result.saving > 0 else "costs"
    advice = "" if result.saving > 0 else ", so leave it out"
    return f"Enhancement {verb} {abs(result.saving):.1f} % at {wanted}{advice}."


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _answer(answer: SearchAnswer) -> dict[str, Any]:
    return {
        "model": answer.model,
        **_scores(answer.measured),
        "bytes": round(answer.bytes),
        "missed": answer.missed or None,
        "exact_kbps": answer.exact_kbps,
        "worst_sample": {name: {"score": at.score, "start_s": at.start} for name, at in answer.measured.worst.items()},
        "probes": [_scores(tried) for tried in answer.tried],
    }


def _scores(tried: CrfScores) -> dict[str, Any]:
    return {"crf": tried.crf, "kbps": tried.kbps, "scores": dict(tried.scores)}
