"""The convex hull of a video: which size is best at which rate, measured on samples of the video itself.

J. De Cock, Z. Li, M. Manohara, A. Aaron, "Complexity-based consistent-quality encoding in the cloud", ICIP 2016.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from scipy.interpolate import PchipInterpolator

from scene.errors import TargetError
from scene.jobs.ladder.rungs import Rung, fitted_size
from scene.jobs.samples.sample_encode import EnhancerFor, open_samples
from scene.jobs.search import SearchRequest, check_pictures, load_enhancer
from scene.measure.score import require_ffmpeg
from scene.metrics.bjontegaard import bd_rate, pareto_front, upper_hull
from scene.metrics.targets import Target
from scene.options import EnhanceOptions
from scene.progress import OnProgress, Progress, silent
from scene.video.encoders import find_encoder
from scene.video.encoders.settings import EncoderSettings
from scene.video.source.presentation import scaled_info
from scene.video.source.probe import SourceInfo

METRIC = "vmaf_neg"
# Heights of candidates, as names of sizes have them.
_LINES = (2160, 1440, 1080, 720, 540, 360, 270)
# The best rung looks like the source to most people; below the last one nobody wants to look.
_BEST_SCORE, _LEAST_SCORE, _LEAST_KBPS = 94.0, 30.0, 100.0
# From one rung's rate to the next: less is no use to a player, more is a step that people see.
_STEP = 1.75
_MOST_RUNGS = 7
_SAMPLES, _SAMPLE_SECONDS = 8, Fraction(2)


@dataclass(frozen=True, slots=True)
class HullPoint:
    """What a size gave at a CRF.

    Attributes:
        size: (width, height).
        score: VMAF NEG against the source at its own size.
    """

    size: tuple[int, int]
    crf: float
    kbps: float
    score: float


@dataclass(frozen=True, slots=True)
class Hull:
    """All that was measured of one kind of pictures.

    Attributes:
        points: of every size at every CRF.
    """

    points: tuple[HullPoint, ...]

    @property
    def front(self) -> list[tuple[float, float]]:
        """(kbit/s, score) of the upper convex hull over the logarithm of the rate, both rising."""
        return upper_hull([(point.kbps, point.score) for point in self.points])

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Largest first."""
        return sorted({point.size for point in self.points}, reverse=True)

    def rate_at(self, score: float) -> float | None:
        """The rate in kbit/s at which the best size for it reaches a score; None outside of what was measured."""
        rates = []
        for size in self.sizes:
            curve = self.curve(size)
            if curve[0].score <= score <= curve[-1].score:
                rates.append(math.exp(_between([p.score for p in curve], [math.log(p.kbps) for p in curve], score)))
        return min(rates, default=None)

    def best_at(self, kbps: float) -> HullPoint | None:
        """The size that is best at a rate, and its CRF there; None outside of what was measured."""
        found = []
        for size in self.sizes:
            curve = self.curve(size)
            if curve[0].kbps <= kbps <= curve[-1].kbps:
                rates = [math.log(point.kbps) for point in curve]
                crf, score = (
                    _between(rates, values, math.log(kbps))
                    for values in ([point.crf for point in curve], [point.score for point in curve])
                )
                found.append(HullPoint(size, crf, kbps, score))
        return max(found, key=lambda point: point.score, default=None)

    def curve(self, size: tuple[int, int]) -> list[HullPoint]:
        """The points of a size that no other of it beats at no more rate, by rising rate and score."""
        own = {(point.kbps, point.score): point for point in self.points if point.size == size}
        return [own[pair] for pair in pareto_front(list(own))]


def _between(x: Sequence[float], y: Sequence[float], wanted: float) -> float:
    """Piecewise cubic Hermite interpolation (PCHIP), which keeps a monotone curve monotone."""
    return y[0] if len(x) < 2 else float(PchipInterpolator(x, y)(wanted))


@dataclass(frozen=True, slots=True)
class PlannedRung:
    """A rung of the hull.

    Attributes:
        rung: its size and CRF.
        kbps, score: that are expected of it.
        plain_kbps: that the same score takes without enhancement, at the size that is best then; None if unknown.
    """

    rung: Rung
    kbps: float
    score: float
    plain_kbps: float | None


@dataclass(frozen=True, slots=True)
class LadderPlan:
    """A ladder for one video.

    Attributes:
        rungs: best first.
        enhanced: None without a model.
        plain: of the encoder alone.
        saving: BD-rate of the enhanced hull against the plain one in percent; None without a model, or if undefined.
        seconds: of the samples that were encoded at each point.
    """

    rungs: tuple[PlannedRung, ...]
    enhanced: Hull | None
    plain: Hull
    saving: float | None
    seconds: float


def plan_ladder(
    info: SourceInfo, settings: EncoderSettings, enhancement: EnhanceOptions, on_progress: OnProgress = silent
) -> LadderPlan:
    """Measures samples of a video at several sizes and CRFs, and chooses rungs on their hull.

    Args:
        settings: as a rung is encoded, without a CRF.
        enhancement: of the pictures at each size.

    Raises:
        InputError: the source cannot be read, or is too small to be measured.
        TargetError: no rung is worth while.
        MissingError: there is no ffmpeg with libvmaf.
        SceneError: an encode or a measurement failed.
    """
    check_pictures(info, [METRIC])
    ffmpeg = require_ffmpeg([METRIC], "measuring")
    encoder = find_encoder(settings.codec)
    crfs = encoder.measured_crfs[::2]
    request = SearchRequest(info.path, (Target(METRIC, _BEST_SCORE),), settings=settings, enhancement=enhancement)
    kinds = ("plain",) if enhancement.changes_nothing else ("plain", "enhanced")
    sizes = _sizes(info)
    found: dict[str, list[HullPoint]] = {kind: [] for kind in kinds}
    done, total = 0, len(sizes) * len(kinds) * len(crfs)
    seconds = 0.0
    for size in sizes:
        scaled = scaled_info(info, size)
        # At its end a set of samples stops what runs of its program.
        program = replace(ffmpeg, stop=threading.Event())
        with open_samples(scaled, settings, program, [METRIC], _SAMPLES, _SAMPLE_SECONDS, lambda: None) as samples:
            seconds = samples.frames / float(info.rate)
            for kind in kinds:
                load: EnhancerFor = partial(load_enhancer, request, encoder, scaled)
                for crf in crfs:
                    scores = samples.measure(crf, load(crf) if kind == "enhanced" else None, lambda: None)
                    found[kind].append(HullPoint(size, crf, scores.kbps, scores.scores[METRIC]))
                    done += 1
                    on_progress(Progress(done, total, {"size": f"{size[0]}x{size[1]}", "crf": crf}))
    plain = Hull(tuple(found["plain"]))
    enhanced = Hull(tuple(found["enhanced"])) if "enhanced" in found else None
    chosen = _choose(enhanced or plain, encoder.search_step)
    if not chosen:
        raise TargetError(f"{info.path}: no rung is worth while; give `rungs`.")
    rungs = tuple(
        PlannedRung(Rung(point.size, crf=point.crf), point.kbps, point.score, plain.rate_at(point.score))
        for point in chosen
    )
    saving = None if enhanced is None else bd_rate(plain.front, enhanced.front).percent
    return LadderPlan(rungs, enhanced, plain, saving, seconds)


def _sizes(info: SourceInfo) -> list[tuple[int, int]]:
    """The source's own size, and those below it that have a name."""
    whole = info.format.width - info.format.width % 2, info.format.height - info.format.height % 2
    fitted = [size for lines in _LINES if (size := fitted_size(info, lines)) is not None]
    smaller = [size for size in fitted if size[0] * size[1] < 0.9 * whole[0] * whole[1]]
    return [whole, *dict.fromkeys(smaller)]


def _choose(hull: Hull, step: float) -> Sequence[HullPoint]:
    """Rungs from the best score down, each for so much less rate than the one before."""
    best = max(point.score for point in hull.points)
    rate = hull.rate_at(min(_BEST_SCORE, best))
    chosen: list[HullPoint] = []
    while rate is not None and len(chosen) < _MOST_RUNGS and (rate >= _LEAST_KBPS or not chosen):
        point = hull.best_at(rate)
        if point is None or (chosen and point.score < _LEAST_SCORE):
            break
        crf = round(point.crf / step) * step
        chosen.append(HullPoint(point.size, crf, point.kbps, point.score))
        rate /= _STEP
    return chosen
