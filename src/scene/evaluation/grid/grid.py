"""The grid clip x method x codec x CRF: what is cached is taken, the rest is measured, here or on a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from scene.errors import UsageError
from scene.evaluation.grid.cost import costs
from scene.evaluation.grid.local import RunnerConfig, run_locally
from scene.evaluation.grid.methods import NONE, Method, check_encoders
from scene.evaluation.grid.prefilter import EFFECT_VERSION, PrefilterEffect
from scene.evaluation.grid.tasks import PREFILTER_QUALITY, PointTask, PrefilterTask, Task, TaskResults
from scene.measure.cache import Measurement, PointCache
from scene.measure.clip import Clip, Recipe, reference_key
from scene.measure.encode import CodecRun, encoder_settings, key_frame_interval, settings_key
from scene.measure.libvmaf import METRICS_VERSION
from scene.measure.regions import Mask
from scene.measure.workspace import workspace
from scene.progress import OnProgress, silent
from scene.video.encoding.isolated import encoder_version
from scene.video.ffmpeg import FFmpeg, require_filters


@dataclass(frozen=True, slots=True)
class Grid:
    """What to measure.

    Attributes:
        clips: from `open_clips`.
        recipe: how references are made.
        methods: from `parse_methods`, the anchor `none` first.
        codecs: with their presets and CRFs.
        masks: of every clip or of none, by the clip's SHA-256; see `scene.measure.regions.open_masks`.
    """

    clips: tuple[Clip, ...]
    recipe: Recipe
    methods: tuple[Method, ...]
    codecs: tuple[CodecRun, ...]
    masks: Mapping[str, Mask] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One encode of the grid and what it measured.

    Attributes:
        clip, method, codec, crf: its place in the grid.
        encoder: the encoder's version.
        measurement: size and scores.
    """

    clip: Clip
    method: Method
    run: CodecRun
    crf: float
    encoder: str
    measurement: Measurement

    @property
    def encoder_args(self) -> str:
        """The encoder's own parameters with which `scene encode` gives the same stream of the same pictures."""
        gop = key_frame_interval(self.clip.rate)
        return encoder_settings(self.run, self.crf, gop, self.method.parameters).encoder_args

    @property
    def kbps(self) -> float:
        """Rate of the elementary stream in kilobits per second."""
        seconds = self.measurement.scores.frames / self.clip.rate
        return float(self.measurement.bytes * 8 / seconds / 1000)


@dataclass(frozen=True, slots=True)
class Failure:
    """A point that could not be measured, and why."""

    clip: str
    method: str
    codec: str
    crf: float
    reason: str


@dataclass(frozen=True, slots=True)
class ClipEffect:
    """What a method did to a clip's pictures before any encoder."""

    clip: Clip
    method: Method
    effect: PrefilterEffect


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a measurement went; points from the cache take none.

    Attributes:
        wall_seconds: from beginning to end.
        encode_seconds, compare_seconds: inside encoders, and inside decoders and metrics, summed over workers.
        jobs: workers side by side.
        points: how many were measured.
    """

    wall_seconds: float
    encode_seconds: float
    compare_seconds: float
    jobs: int
    points: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The grid after measuring.

    Attributes:
        points: in the grid's order.
        encoders: versions by codec.
        failures: points that could not be measured.
        effects: by clip and method, in the grid's order; `none` has none.
        timing: None where nothing is known of it.
    """

    points: tuple[Point, ...]
    encoders: dict[str, str]
    failures: tuple[Failure, ...]
    effects: tuple[ClipEffect, ...] = ()
    timing: Timing | None = field(default=None, compare=False)


def measure_grid(
    grid: Grid,
    ffmpeg: FFmpeg,
    cache: PointCache,
    *,
    jobs: int = 1,
    threads: int = 1,
    device: str = "auto",
    ray: str | None = None,
    effects: bool = True,
    on_progress: OnProgress = silent,
) -> Measured:
    """Measures every point of the grid, and every method's effect of every clip, each at most once for one cache.

    What fails is tried once more; if it fails again the rest goes on without it, and the next call tries it again. On
    an interruption running encoders are killed, raw video is deleted, and what was measured stays in the cache. What a
    killed call left of raw video is deleted by the next.

    Args:
        jobs: how many points to measure side by side.
        threads: of libvmaf, in each.
        device: for networks.
        ray: None to measure on this machine; "auto" to do so through Ray, or on the cluster that $RAY_ADDRESS names;
            else a cluster's address. See `scene.evaluation.grid.ray`.
        effects: False to measure points alone.
        on_progress: counts points and effects.

    Raises:
        MissingError: PyAV lacks an encoder, or the encoder what a method needs; ffmpeg lacks libvmaf; the device is not
            on this machine; Ray is not installed, or a machine of the cluster has another ffmpeg or PyAV.
        UsageError: a network that cannot be run on video like this, or a method that needs masks where there are none.
        SceneError: the cache cannot be written to, or the cluster cannot be reached.
    """
    began = time.monotonic()
    # Giving up here must not stop whatever else the caller runs.
    ffmpeg = replace(ffmpeg, stop=threading.Event())
    for method in grid.methods:
        if method.focus is not None and method.focus.needs_mask and not grid.masks:
            raise UsageError(f"{method.label} needs masks; give `regions`.")
    with workspace() as folder:
        encoders = {run.codec.name: encoder_version(run.codec.name) for run in grid.codecs}
        check_encoders(grid.methods, encoders)
        tasks = [t for t in plan(grid, ffmpeg, encoders) if effects or not isinstance(t, PrefilterTask)]
        results = TaskResults(tasks, cache, on_progress, costs(tasks, grid.recipe))
        if results.missing:
            require_filters(ffmpeg, "libvmaf")
            config = RunnerConfig(ffmpeg, grid.recipe, folder, jobs, threads, device)
            if ray is None:
                run_locally(results, config)
            else:
                from scene.evaluation.grid.ray import run_on_cluster

                jobs = run_on_cluster(results, config, ray)
    return _gather(results, encoders, time.monotonic() - began, jobs)


def plan(grid: Grid, ffmpeg: FFmpeg, encoders: Mapping[str, str]) -> Iterator[Task]:
    """What a grid consists of, in its order: by clip, method, codec and CRF, each method's effect first.

    Args:
        encoders: versions by codec.
    """
    for clip in grid.clips:
        reference = reference_key(clip, grid.recipe)
        common = {"reference": reference, "ffmpeg": ffmpeg.build, "metrics": METRICS_VERSION}
        gop = key_frame_interval(clip.rate)
        for method in grid.methods:
            runs = [run for run in grid.codecs if method.serves(run.codec.name)]
            # First, since it takes longest: at the end of a grid all workers should end together.
            if runs and _changes_pictures(method):
                identity = method.identity_at(method.step(*PREFILTER_QUALITY))
                yield PrefilterTask(clip, method, {**common, "method": identity, "treatment": EFFECT_VERSION})
            for run in runs:
                focus = method.focus
                # The method's identity says which kind of map; what it is made of belongs to the clip.
                told = {"focus": grid.masks[clip.sha256].sha256} if focus is not None and focus.needs_mask else {}
                for crf in run.crfs:
                    key = {
                        **common,
                        **told,
                        "method": method.identity_at(method.step(run.codec.name, crf)),
                        "encoder": encoders[run.codec.name],
                        "settings": settings_key(encoder_settings(run, crf, gop, method.parameters)),
                    }
                    yield PointTask(clip, method, run, crf, gop, key, grid.masks.get(clip.sha256))


def _changes_pictures(method: Method) -> bool:
    """Whether there is a effect to measure; a method that is a setting of the encoder has none."""
    return method.identity != NONE.identity and not method.parameters and method.focus is None


def _gather(results: TaskResults, encoders: dict[str, str], wall_seconds: float, jobs: int) -> Measured:
    points, failures, effects, fresh = [], [], [], []
    for index, task in enumerate(results.tasks):
        outcome = results.done.get(index)
        if isinstance(task, PrefilterTask):
            if isinstance(outcome, PrefilterEffect):
                effects.append(ClipEffect(task.clip, task.method, outcome))
        elif isinstance(outcome, Measurement):
            points.append(Point(task.clip, task.method, task.run, task.crf, encoders[task.run.codec.name], outcome))
            if index not in results.cached:
                fresh.append(outcome)
        else:
            reason = results.failed[index]
            failures.append(Failure(task.clip.name, task.method.label, task.run.codec.name, task.crf, reason))
    timing = Timing(
        wall_seconds=wall_seconds,
        encode_seconds=sum(measurement.encode_seconds for measurement in fresh),
        compare_seconds=sum(measurement.compare_seconds for measurement in fresh),
        jobs=jobs,
        points=len(fresh),
    )
    return Measured(tuple(points), encoders, tuple(failures), tuple(effects), timing if fresh else None)
