"""What `scene encode --guard` gains and costs: BD-rates of a model with and without it, and the time of its probes.

    OMP_NUM_THREADS=1 python scripts/bench_guard.py CLIPS --model asconvsr --codecs x264,svtav1 --out guard.json

Points are measured as by `scene evaluate`; the guard is that of `scene encode`, and decides for each shot at each CRF.
The probes' time is their share of what network, probes and encoder take one after the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene.cli.console import setup_logging
from scene.evaluation.grid.methods import Method, fit_to_codecs, parse_method
from scene.evaluation.grid.variant import make_variant
from scene.files import write_atomically
from scene.jobs.guard import GUARD_METRICS, Guard, GuardReport, ShotProbe
from scene.measure.cache import Measurement
from scene.measure.clip import Clip, Recipe, make_reference, open_clips
from scene.measure.encode import CodecRun, codec_run, key_frame_interval
from scene.measure.point import measure_point
from scene.measure.raw_video import RawVideo, write_raw_video
from scene.measure.score import require_ffmpeg
from scene.metrics.bjontegaard import bd_rate
from scene.metrics.rate_saving import Saving
from scene.metrics.scores import METRICS
from scene.picture import Picture
from scene.video.encoders.settings import EncoderSettings
from scene.video.ffmpeg import FFmpeg
from scene.video.rawvideo.y4m import read_frames, read_header
from scene.video.source.probe import probe

SHOWN = ("vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim")
CODECS = ("x264", "x265", "svtav1")
# As `scene evaluate` sets SVT-AV1.
ENCODER_ARGS = {"svtav1": "tune=1"}


class RawFrame:
    """A frame of a clip in memory, on its way through a guard."""

    def __init__(self, number: int, picture: Picture) -> None:
        self.pts = number
        self.shown = picture
        self.enhanced = False

    def picture(self) -> Picture:
        return self.shown

    def replace(self, picture: Picture) -> None:
        self.shown, self.enhanced = picture, True


class Prepared:
    """Stands in for an enhancer: the network has been run over all pictures before, once for many CRFs."""

    batch = 1

    def __init__(self, plain: Sequence[Picture], enhanced: Sequence[Picture]) -> None:
        self._enhanced = {id(before): after for before, after in zip(plain, enhanced, strict=True)}
        self.calls = 0

    def start_shot(self) -> None:
        """Every picture has the embedding of a video without a guard, which is that of one with a guard."""

    def stream(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        for picture in pictures:
            self.calls += 1
            yield self._enhanced[id(picture)]


@dataclass(frozen=True, slots=True)
class Variant:
    """A clip after the network: the file, its pictures, and what a picture took."""

    video: RawVideo
    pictures: list[Picture]
    seconds_a_frame: float


@dataclass(frozen=True, slots=True)
class Row:
    """A clip with one codec at one CRF.

    Attributes:
        points: by method: none, model, guard.
        enhanced, network_s: frames that the network runs over with the guard, and what that takes.
        savings: of each shot, by metric, as logarithms of a rate.
    """

    clip: str
    codec: str
    crf: float
    points: dict[str, Measurement]
    guard: GuardReport
    enhanced: int
    network_s: float
    savings: list[dict[str, float]]

    @property
    def share(self) -> float:
        """Of the time that the probes take."""
        return self.guard.seconds / (self.guard.seconds + self.network_s + self.points["guard"].encode_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", help="video files, or folders of them")
    parser.add_argument("--model", default="scene", help="a shipped model or a .safetensors file")
    parser.add_argument("--codecs", default=",".join(CODECS), help=f"of {', '.join(CODECS)}")
    parser.add_argument("--crf", help="for all codecs, by default each one's own ladder; four or more for BD-rates")
    parser.add_argument("--frames", type=int, help="only the first so many of each clip")
    parser.add_argument("--halve-above", type=int, help="halve clips of more lines than this, as `scene evaluate` does")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="encodes and comparisons side by side")
    parser.add_argument("--out", type=Path, help="results as JSON, written after every clip")
    given = parser.parse_args()
    setup_logging("text")
    logging.getLogger("scene.jobs.guard").setLevel(logging.WARNING)
    method = parse_method(given.model)
    if method.network is None:
        parser.error(f"--model {given.model} is no network")
    crfs = tuple(map(float, given.crf.split(","))) if given.crf else None
    runs = [codec_run(name, crfs=crfs) for name in given.codecs.split(",")]
    if not {run.codec.name for run in runs} <= set(CODECS):
        parser.error(f"--codecs must be of {', '.join(CODECS)}")
    clips = open_clips([path for name in given.clips for path in (sorted(name.iterdir()) if name.is_dir() else [name])])
    ffmpeg = require_ffmpeg(GUARD_METRICS, "the guard")
    rows: list[Row] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for clip in clips:
            rows += measure_clip(ffmpeg, clip, Recipe(given.frames, given.halve_above), method, runs, pool)
            if given.out is not None:
                write_atomically(given.out, json.dumps(results(method, rows), indent=1) + "\n")
            print(f"{clip.name}: measured", file=sys.stderr, flush=True)
    print(table(rows))


def measure_clip(
    ffmpeg: FFmpeg, clip: Clip, recipe: Recipe, method: Method, runs: Iterable[CodecRun], pool: ThreadPoolExecutor
) -> list[Row]:
    """Every codec and CRF; encodes run in the pool while the next guard decides."""
    with tempfile.TemporaryDirectory(prefix="scene-bench-guard-") as name:
        folder = Path(name)
        reference = make_reference(ffmpeg, clip, recipe, folder / "reference.y4m")
        plain = read_pictures(reference)
        variants: dict[tuple[Method, float | None], Variant] = {}
        pending: list[tuple[Row, dict[str, Future[Measurement]]]] = []

        def measure(video: RawVideo, run: CodecRun, crf: float) -> Future[Measurement]:
            gop = key_frame_interval(clip.rate)

            def work() -> Measurement:
                with tempfile.TemporaryDirectory(dir=folder) as private:
                    return measure_point(ffmpeg, reference, video, run, crf, gop, folder=Path(private))

            return pool.submit(work)

        for run in runs:
            fitted = next(other for other in fit_to_codecs(method) if other.serves(run.codec.name))
            for crf in run.crfs:
                step = fitted.step(run.codec.name, crf)
                if (fitted, step) not in variants:
                    path = folder / f"variant-{len(variants)}.y4m"
                    began = time.monotonic()
                    video = make_variant(ffmpeg, fitted, reference, path, step=step)
                    seconds = (time.monotonic() - began) / video.frames
                    variants[fitted, step] = Variant(video, read_pictures(video), seconds)
                variant = variants[fitted, step]
                frames, row = guard_clip(ffmpeg, clip, reference, plain, variant, run, crf)
                futures = {"none": measure(reference, run, crf), "model": measure(variant.video, run, crf)}
                if len({frame.enhanced for frame in frames}) == 1:
                    futures["guard"] = futures["model" if frames[0].enhanced else "none"]
                else:
                    path = folder / f"guarded-{run.codec.name}-{crf:g}.y4m"
                    futures["guard"] = measure(
                        write_raw_video(path, reference.header, (frame.shown for frame in frames)), run, crf
                    )
                pending.append((row, futures))
        return [
            dataclasses.replace(row, points={kind: future.result() for kind, future in futures.items()})
            for row, futures in pending
        ]


def guard_clip(
    ffmpeg: FFmpeg,
    clip: Clip,
    reference: RawVideo,
    plain: Sequence[Picture],
    variant: Variant,
    run: CodecRun,
    crf: float,
) -> tuple[list[RawFrame], Row]:
    """The clip as the guard would give it to the encoder, and a row that lacks its points."""
    settings = EncoderSettings(run.codec.name, crf, run.preset, ENCODER_ARGS.get(run.codec.name, ""))
    shot_probe = ShotProbe(ffmpeg, settings, probe(reference.path))
    if not shot_probe.metrics:
        raise SystemExit(f"{clip.name} is too small to be probed")
    savings = []

    def conditioned(before: Sequence[Picture], after: Sequence[Picture], stamps: Sequence[int]) -> Saving:
        saving = shot_probe(before, after, stamps)
        savings.append(dict(saving.by_metric))
        return saving

    enhancer = Prepared(plain, variant.pictures)
    guard: Guard[Any] = Guard(enhancer, conditioned)  # type: ignore[arg-type]
    frames = [RawFrame(number, picture) for number, picture in enumerate(plain)]
    for frame in frames:
        list(guard.take(frame))
    list(guard.finish())
    network_s = enhancer.calls * variant.seconds_a_frame
    return frames, Row(clip.name, run.codec.name, crf, {}, guard.report, enhancer.calls, network_s, savings)


def read_pictures(video: RawVideo) -> list[Picture]:
    with video.path.open("rb") as stream:
        return list(read_frames(stream, read_header(stream, matrix=video.header.format.matrix)))


def bd_rates(rows: Sequence[Row], codec: str, method: str, metric: str) -> dict[str, float | None]:
    """BD-rates against no model by clip, in percent; None where there is none."""
    found = {}
    for clip in dict.fromkeys(row.clip for row in rows if row.codec == codec):
        own = [row for row in rows if (row.clip, row.codec) == (clip, codec)]
        curves = [
            [(row.points[kind].bytes, getattr(row.points[kind].scores, metric)) for row in own]
            for kind in ("none", method)
        ]
        found[clip] = bd_rate(*curves).percent
    return found


def table(rows: Sequence[Row]) -> str:
    """Mean BD-rates (of the worst clip), how much was passed through, and what probing took, as Markdown."""
    titles = {metric.name: metric.title for metric in METRICS}
    head = ["codec", "method", *(titles[name] for name in SHOWN), "shots passed", "probes' time"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for codec in dict.fromkeys(row.codec for row in rows):
        own = [row for row in rows if row.codec == codec]
        passed = sum(row.guard.passed for row in own) / sum(row.guard.shots for row in own)
        share = statistics.fmean(row.share for row in own)
        ends = {"model": ["", ""], "guard": [f"{100 * passed:.0f} %", f"{100 * share:.0f} %"]}
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


def results(method: Method, rows: Sequence[Row]) -> dict[str, Any]:
    """All that was measured, and the BD-rates, as JSON types."""
    return {
        "format": 1,
        "command": shlex.join(["python", *sys.argv]),
        "model": method.identity,
        "rows": [
            {
                **{name: getattr(row, name) for name in ("clip", "codec", "crf", "enhanced", "network_s", "savings")},
                "guard": dataclasses.asdict(row.guard),
                "probe_share": row.share,
                "points": {kind: {**dataclasses.asdict(point), "frames": None} for kind, point in row.points.items()},
            }
            for row in rows
        ],
        "bd_rate": [
            {"codec": codec, "method": kind, "metric": metric, "percent": bd_rates(rows, codec, kind, metric)}
            for codec in dict.fromkeys(row.codec for row in rows)
            for kind in ("model", "guard")
            for metric in SHOWN
        ],
    }


if __name__ == "__main__":
    main()
