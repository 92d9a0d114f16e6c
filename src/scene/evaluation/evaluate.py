"""An evaluation from its request to the files that it leaves."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scene.errors import UsageError
from scene.evaluation.grid.grid import Grid, measure_grid
from scene.evaluation.grid.methods import SVTAV1_VMAF, Method, has_vmaf_tune, methods_for, parse_methods
from scene.evaluation.grid.protocol import Protocol, find_clips, read_protocol
from scene.evaluation.output import write_html, write_report
from scene.evaluation.report.results import Report, make_report
from scene.evaluation.requests import DEFAULT_CODECS, DEFAULT_MODELS, EvaluationRequest
from scene.evaluation.tuning import is_tuned, place_tuned, tune
from scene.evaluation.visuals.build import make_side_by_sides
from scene.evaluation.visuals.region import region_tints
from scene.files import default_cache_folder
from scene.measure.cache import PointCache
from scene.measure.clip import Clip, Recipe, open_clips, require_measurable
from scene.measure.encode import CodecRun, codec_run
from scene.measure.names import display_name
from scene.measure.regions import open_masks
from scene.progress import StageProgress, silent_stages
from scene.video.encoders.svtav1 import SvtAv1
from scene.video.encoding.isolated import encoder_version
from scene.video.ffmpeg import find_ffmpeg

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """A request whose names are resolved: all but what has to be measured first.

    Attributes:
        clips, recipe: what is measured.
        runs: codecs with presets and CRFs.
        models: names of the methods, in order.
        methods: those of `models` that need no tuning, `none` first, and the filters.
    """

    clips: tuple[Clip, ...]
    recipe: Recipe
    runs: tuple[CodecRun, ...]
    models: tuple[str, ...]
    methods: tuple[Method, ...]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What came of an evaluation.

    Attributes:
        report: all figures; `report.measured.failures` says which points are missing, and why.
        files: that were written.
    """

    report: Report
    files: tuple[Path, ...]


def evaluate(request: EvaluationRequest, stages: StageProgress = silent_stages) -> EvaluationResult:
    """Encodes clips with and without pre-processing, measures them, and compares by BD-rate.

    Points that cannot be measured are named in the report; the rest is there, and the next call tries them again.

    Args:
        stages: opened as "tune" (if a method asks for it) and "evaluate", which count points, and as "report", which
            counts side-by-side pictures.

    Raises:
        UsageError: fields that contradict one another, an unknown method, codec or protocol key.
        InputError: a clip, a protocol or a weights file is missing or damaged, a clip is too small for the metrics, or
            has no mask of its size and length.
        MissingError: ffmpeg, an encoder, a filter's program or Ray is missing.
        SceneError: the cache or `out` cannot be written to.
    """
    plan = plan_evaluation(request)
    require_measurable(plan.clips, plan.recipe)
    program = find_ffmpeg(request.ffmpeg)
    masks = {} if request.regions is None else open_masks(request.regions, plan.clips, plan.recipe)
    cache = PointCache(request.cache or default_cache_folder())
    cores = os.cpu_count() or 1
    jobs = request.jobs or cores
    threads = max(1, cores // jobs)
    methods = plan.methods
    if any(map(is_tuned, plan.models)):
        with stages("tune", "points") as on_progress:
            tuned = tune(
                *(plan.models, plan.clips, plan.recipe, plan.runs, program, cache),
                jobs=jobs,
                threads=threads,
                ray=request.ray,
                on_progress=on_progress,
            )
        methods = place_tuned(plan.models, methods, tuned)
    grid = Grid(plan.clips, plan.recipe, methods, plan.runs, masks)
    with stages("evaluate", "points") as on_progress:
        measured = measure_grid(
            *(grid, program, cache),
            jobs=jobs,
            threads=threads,
            device=request.device,
            ray=request.ray,
            on_progress=on_progress,
        )
    report = make_report(grid, measured, program, command=request.command, against=request.against)
    if request.out is None:
        return EvaluationResult(report, ())
    files = write_report(report, request.out)
    with stages("report", "slides") as on_progress:
        side_by_sides = make_side_by_sides(
            *(report, program), cache=cache, device=request.device, jobs=jobs, on_progress=on_progress
        )
    tints = region_tints(grid, program, side_by_sides)
    return EvaluationResult(report, (*files, write_html(report, side_by_sides, request.out, tints)))


def plan_evaluation(request: EvaluationRequest) -> EvaluationPlan:
    """Looks up all that a request names: clips, codecs, methods; nothing is encoded.

    Raises:
        UsageError, InputError, MissingError: see `evaluate`.
    """
    protocol = None if request.protocol is None else read_protocol(request.protocol)
    paths = _paths(request, protocol)
    runs = _runs(request, protocol)
    models = _models(request, protocol, runs)
    methods = parse_methods(
        [name for name in models if not is_tuned(name)], strength=request.strength, filters=request.filters
    )
    methods = methods_for(methods, [run.codec.name for run in runs])
    labels = [method.label for method in methods[1:]] + [name for name in models if is_tuned(name)]
    if request.against is not None and request.against not in labels:
        raise UsageError(f"`against` {display_name(request.against)!r} is not among the methods: {', '.join(labels)}.")
    return EvaluationPlan(open_clips(paths), _recipe(request, protocol), runs, models, methods)


def _paths(request: EvaluationRequest, protocol: Protocol | None) -> list[Path]:
    """The request's own clips, else those of its protocol."""
    if request.data is not None and protocol is None:
        raise UsageError("`data` is the folder of a protocol's clips; give `protocol`, or clips alone.")
    if request.data is not None and request.clips:
        raise UsageError("give clips or `data`, not both.")
    if request.clips:
        return list(request.clips)
    if protocol is None:
        raise UsageError("give at least one clip.")
    if request.data is None:
        raise UsageError(f"give {protocol.clips.title} with `data` FOLDER, or other clips; {protocol.clips.source}.")
    return find_clips(protocol.clips, request.data)


def _runs(request: EvaluationRequest, protocol: Protocol | None) -> tuple[CodecRun, ...]:
    """The codecs with their settings: the request's, else the protocol's, else the codec's own."""
    planned = {} if protocol is None else {run.codec.name: run for run in protocol.codecs}
    names: Sequence[str] = request.codecs if request.codecs is not None else tuple(planned) or DEFAULT_CODECS
    if not names:
        raise UsageError("give at least one codec.")
    for name in request.preset_by_codec:
        if name not in names:
            raise UsageError(f"`preset` names {name!r}, which is not among the codecs.")
    runs = []
    for name in dict.fromkeys(names):
        settled = planned.get(name)
        crfs = request.crf_by_codec.get(name, request.crf)
        preset = request.preset_by_codec.get(name, request.preset)
        runs.append(
            codec_run(
                name,
                preset=settled.preset if settled and preset is None else preset,
                crfs=settled.crfs if settled and crfs is None else crfs,
                encoder_args=settled.encoder_args if settled else None,
            )
        )
    return tuple(runs)


def _models(request: EvaluationRequest, protocol: Protocol | None, runs: Sequence[CodecRun]) -> tuple[str, ...]:
    """The methods of the request, else those of the protocol that the codecs can be measured with."""
    if request.models is not None or protocol is None:
        return tuple(dict.fromkeys(DEFAULT_MODELS if request.models is None else request.models))
    served = SVTAV1_VMAF.label in protocol.methods and any(SVTAV1_VMAF.serves(run.codec.name) for run in runs)
    if served and not has_vmaf_tune(version := encoder_version(SvtAv1.name)):
        served = False
        _log.warning("SVT-AV1 %s has no tune for VMAF: %s is left out.", version, SVTAV1_VMAF.label)
    return tuple(name for name in protocol.methods if served or name != SVTAV1_VMAF.label)


def _recipe(request: EvaluationRequest, protocol: Protocol | None) -> Recipe:
    settled = Recipe() if protocol is None else protocol.recipe
    return Recipe(
        settled.frames if request.frames is None else request.frames,
        settled.halve_above if request.halve_above is None else request.halve_above,
    )
