"""Contrast and unsharp at the setting that VMAF likes best, for each codec: what a filter that fakes it gets.

They are tuned on the very clips that are measured. No network gets that: it is generous to the control, on purpose.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby

from scene.errors import SceneError, UsageError
from scene.evaluation.grid.grid import Grid, measure_grid
from scene.evaluation.grid.methods import Method, parse_methods
from scene.evaluation.report.summary import ClipRow, clip_rows
from scene.measure.cache import PointCache
from scene.measure.clip import Clip, Recipe
from scene.measure.encode import CodecRun
from scene.progress import OnProgress, silent
from scene.video.ffmpeg import FFmpeg

CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "contrast:tuned": tuple(f"contrast:{k}" for k in ("1.04", "1.06", "1.08", "1.10", "1.15")),
    "unsharp:tuned": tuple(f"unsharp:{a}" for a in ("0.3", "0.6", "1.0")),
}
# Enough to rank settings that lie some percent apart; the figures themselves come from the evaluation's own recipe.
TUNING_FRAMES = 12
TUNING_CRFS = 4


def is_tuned(name: str) -> bool:
    """Whether a method's name asks for tuning."""
    return name in CANDIDATES


def tune(
    names: Sequence[str],
    clips: tuple[Clip, ...],
    recipe: Recipe,
    runs: Sequence[CodecRun],
    ffmpeg: FFmpeg,
    cache: PointCache,
    *,
    jobs: int = 1,
    threads: int = 1,
    ray: str | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, tuple[Method, ...]]:
    """The tuned methods of `names` that were asked for, by name; codecs with the same best setting share one.

    The candidates are measured by `measure_grid` on the first frames of every clip at four CRFs of each codec, through
    the same cache as everything else.

    Args:
        names: methods of the evaluation; those that ask for no tuning are passed over.
        recipe: of the evaluation.

    Raises:
        UsageError: a codec has fewer than four CRFs, which BD-rate needs.
        SceneError: no candidate has a BD-rate on any clip; and what `measure_grid` raises.
    """
    wanted = [name for name in dict.fromkeys(names) if is_tuned(name)]
    if not wanted:
        return {}
    thinned = tuple(replace(run, crfs=thin(run.crfs, run.codec.name)) for run in runs)
    frames = TUNING_FRAMES if recipe.frames is None else min(TUNING_FRAMES, recipe.frames)
    methods = parse_methods([candidate for name in wanted for candidate in CANDIDATES[name]])
    grid = Grid(clips, replace(recipe, frames=frames), methods, thinned)
    measured = measure_grid(
        *(grid, ffmpeg, cache), jobs=jobs, threads=threads, ray=ray, effects=False, on_progress=on_progress
    )
    rows = clip_rows(measured)
    return {
        name: _chosen(name, [method for method in methods if method.label in CANDIDATES[name]], runs, rows)
        for name in wanted
    }


def thin(crfs: tuple[float, ...], codec: str) -> tuple[float, ...]:
    """Four CRFs of a ladder, its ends among them, evenly spaced by position.

    Raises:
        UsageError: it has fewer.
    """
    if len(crfs) < TUNING_CRFS:
        raise UsageError(f"a tuned method needs {TUNING_CRFS} CRFs of {codec} at least, and there are {len(crfs)}.")
    return tuple(crfs[round(n * (len(crfs) - 1) / (TUNING_CRFS - 1))] for n in range(TUNING_CRFS))


def best_setting(candidates: Sequence[Method], codec: str, rows: Sequence[ClipRow]) -> Method:
    """The candidate with the lowest mean VMAF BD-rate for a codec, of those that are defined on the most clips.

    Of equals the first, which is the mildest.

    Args:
        rows: of `scene.evaluation.report.summary.clip_rows`.

    Raises:
        SceneError: none is defined on any clip.
    """
    values = {
        candidate.label: [
            row.percent
            for row in rows
            if (row.codec, row.method, row.metric) == (codec, candidate.label, "vmaf") and row.percent is not None
        ]
        for candidate in candidates
    }
    most = max(map(len, values.values()))
    if most == 0:
        names = ", ".join(values)
        raise SceneError(f"nothing can be tuned for {codec}: none of {names} has a VMAF BD-rate on any clip")
    complete = [candidate for candidate in candidates if len(values[candidate.label]) == most]
    return min(complete, key=lambda candidate: statistics.fmean(values[candidate.label]))


def place_tuned(
    names: Sequence[str], ready: Sequence[Method], tuned: Mapping[str, tuple[Method, ...]]
) -> tuple[Method, ...]:
    """All methods in the order of `names`.

    Args:
        ready: of `parse_methods`, called with the names that ask for no tuning.
        tuned: of `tune`.
    """
    anchor, *others = ready
    # Several methods may share a label, each for codecs of its own.
    rest = (tuple(group) for _, group in groupby(others, key=lambda method: method.label))
    placed = [anchor]
    for name in dict.fromkeys(names):
        if name in tuned:
            placed.extend(tuned[name])
        elif name != anchor.label:
            placed.extend(next(rest))
    return (*placed, *chain.from_iterable(rest))


def _chosen(
    name: str, candidates: Sequence[Method], runs: Sequence[CodecRun], rows: Sequence[ClipRow]
) -> tuple[Method, ...]:
    codecs: dict[Method, list[str]] = {}
    for run in runs:
        codecs.setdefault(best_setting(candidates, run.codec.name, rows), []).append(run.codec.name)
    return tuple(replace(method, label=name, codecs=tuple(served)) for method, served in codecs.items())
