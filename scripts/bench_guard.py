"""What `scene encode --guard` gains and costs: BD-rates of a model with it and without, and the time of its probes.

    python scripts/bench_guard.py CLIPS --codecs x264,x265 --out guard.json

Every point is an encode of `scene encode` itself, scored against the unprocessed clip; the guard decides for each shot
at each CRF. Encodes follow one another, so that the probes' share of an encode's time is that of an idle machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av

import scene
from scene.cli.console import setup_logging
from scene.files import write_atomically
from scene.jobs.guard import GUARD_METRICS, GuardReport
from scene.measure.clip import Clip, Recipe, make_reference, open_clips
from scene.measure.encode import CodecRun, codec_run, encoder_settings, key_frame_interval
from scene.measure.point import score_encode
from scene.measure.raw_video import RawVideo
from scene.measure.score import require_ffmpeg
from scene.metrics.bjontegaard import bd_rate
from scene.metrics.scores import METRICS
from scene.options import DEFAULT_MODEL
from scene.video.ffmpeg import FFmpeg

SHOWN = ("vmaf", *GUARD_METRICS)
METHODS = ("none", "model", "guard")


@dataclass(frozen=True, slots=True)
class Row:
    """A clip with one codec, at one CRF, by one of `METHODS`.

    Attributes:
        bytes: of the video's packets.
        scores: by metric.
        seconds: that the encode took.
        guard: what the guard did; None without one.
    """

    clip: str
    codec: str
    crf: float
    method: str
    bytes: int
    scores: dict[str, float]
    seconds: float
    guard: GuardReport | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", help="video files, or folders of them")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a shipped model or a .safetensors file")
    parser.add_argument("--codecs", default="x264,x265", help="of x264, x265, svtav1")
    parser.add_argument("--crf", help="for all codecs, by default each one's own ladder; four or more for BD-rates")
    parser.add_argument("--frames", type=int, help="only the first so many of each clip")
    parser.add_argument("--halve-above", type=int, help="halve clips of more lines than this, as `scene evaluate` does")
    parser.add_argument("--out", type=Path, help="results as JSON, written after every clip")
    given = parser.parse_args()
    setup_logging("text")
    logging.getLogger("scene").setLevel(logging.WARNING)
    crfs = tuple(map(float, given.crf.split(","))) if given.crf else None
    runs = [codec_run(name, crfs=crfs) for name in given.codecs.split(",")]
    clips = open_clips([path for name in given.clips for path in (sorted(name.iterdir()) if name.is_dir() else [name])])
    ffmpeg = require_ffmpeg(SHOWN, "the guard")
    rows: list[Row] = []
    for clip in clips:
        rows += measure_clip(ffmpeg, clip, Recipe(given.frames, given.halve_above), given.model, runs)
        if given.out is not None:
            write_atomically(given.out, json.dumps(results(given.model, rows), indent=1) + "\n")
        print(f"{clip.name}: measured", file=sys.stderr, flush=True)
    print(table(rows))


def measure_clip(ffmpeg: FFmpeg, clip: Clip, recipe: Recipe, model: str, runs: Iterable[CodecRun]) -> Iterator[Row]:
    """Every codec, CRF and method."""
    with tempfile.TemporaryDirectory(prefix="scene-bench-guard-") as name:
        folder = Path(name)
        reference = make_reference(ffmpeg, clip, recipe, folder / "reference.y4m")
        for run in runs:
            for crf in run.crfs:
                settings = encoder_settings(run, crf, key_frame_interval(clip.rate))
                for method in METHODS:
                    yield measure(ffmpeg, clip, reference, settings, method, model, folder)


def measure(
    ffmpeg: FFmpeg,
    clip: Clip,
    reference: RawVideo,
    settings: scene.EncoderSettings,
    method: str,
    model: str,
    folder: Path,
) -> Row:
    """One encode and its scores."""
    encoded = scene.encode(
        scene.EncodeRequest(
            reference.path,
            folder / "encoded.mkv",
            settings,
            scene.EnhanceOptions("none" if method == "none" else model),
            guard=method == "guard",
            overwrite=True,
        )
    )
    scores, _ = score_encode(ffmpeg, encoded.destination, reference, SHOWN, folder=folder)
    with av.open(str(encoded.destination)) as container:
        size = sum(packet.size for packet in container.demux(video=0))
    if method == "guard" and encoded.guard is None:
        raise SystemExit(f"{clip.name} is too small to be probed")
    crf = settings.crf
    assert crf is not None
    return Row(clip.name, settings.codec, crf, method, size, dict(scores.means), encoded.seconds, encoded.guard)


def probe_share(rows: Iterable[Row]) -> float:
    """Of the encodes' time, what the guard's probes take."""
    guarded = [(row.guard.seconds, row.seconds) for row in rows if row.guard is not None]
    return sum(probes for probes, _ in guarded) / sum(seconds for _, seconds in guarded)


def bd_rates(rows: Sequence[Row], codec: str, method: str, metric: str) -> dict[str, float | None]:
    """BD-rates against no model by clip, in percent; None where there is none."""
    found = {}
    for clip in dict.fromkeys(row.clip for row in rows if row.codec == codec):
        own = [row for row in rows if (row.clip, row.codec) == (clip, codec)]
        curves = [[(row.bytes, row.scores[metric]) for row in own if row.method == kind] for kind in ("none", method)]
        found[clip] = bd_rate(*curves).percent
    return found


def table(rows: Sequence[Row]) -> str:
    """Mean BD-rates (of the worst clip), how much was passed through, and what probing took, as Markdown."""
    titles = {metric.name: metric.title for metric in METRICS}
    head = ["codec", "method", *(titles[name] for name in SHOWN), "shots passed", "probes' time"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for codec in dict.fromkeys(row.codec for row in rows):
        own = [row for row in rows if row.codec == codec]
        reports = [row.guard for row in own if row.guard is not None]
        passed = sum(report.passed for report in reports) / sum(report.shots for report in reports)
        ends = {"model": ["", ""], "guard": [f"{100 * passed:.0f} %", f"{100 * probe_share(own):.0f} %"]}
        for method, end in ends.items():
            cells = [in_words(bd_rates(rows, codec, method, metric).values()) for metric in SHOWN]
            lines.append([codec, "model" if method == "model" else "model, guard", *cells, *end])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_words(percents: Iterable[float | None]) -> str:
    """Mean and worst, and how many clips have no BD-rate."""
    values = list(percents)
    defined = [value for value in values if value is not None]
    if not defined:
        return "-"
    lost = f", {len(values) - len(defined)} undefined" if len(defined) < len(values) else ""
    return f"{statistics.fmean(defined):+.1f} % ({max(defined):+.1f}{lost})"


def results(model: str, rows: Sequence[Row]) -> dict[str, Any]:
    """All that was measured, and the BD-rates, as JSON types."""
    codecs = dict.fromkeys(row.codec for row in rows)
    return {
        "format": 2,
        "command": shlex.join(["python", *sys.argv]),
        "model": model,
        "rows": [asdict(row) for row in rows],
        "probe_share": {codec: probe_share(row for row in rows if row.codec == codec) for codec in codecs},
        "bd_rate": [
            {"codec": codec, "method": kind, "metric": metric, "percent": bd_rates(rows, codec, kind, metric)}
            for codec in codecs
            for kind in METHODS[1:]
            for metric in SHOWN
        ],
    }


if __name__ == "__main__":
    main()
