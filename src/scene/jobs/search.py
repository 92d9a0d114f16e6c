"""Find the CRF that reaches a quality, with enhancement and without: what `scene search` does."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import InputError, TargetError, UsageError
from scene.jobs.crf_rule import Reading, Scale, bracket, crossing, next_place
from scene.jobs.enhancing import BYPASS, DEFAULT_MODEL, Enhancement, open_enhancer
from scene.jobs.sample_scores import find_scoring_ffmpeg
from scene.jobs.search_bench import Bench, EnhancerFor, Probe, open_bench
from scene.metrics.libvmaf import LEAST_SIDES
from scene.metrics.targets import Target, score_text, title
from scene.progress import OnProgress, Progress, silent
from scene.video.encode import Codec, EncoderSettings, check_settings, encoder_pixel_format
from scene.video.opening import require_readable
from scene.video.probe import SourceInfo, probe
from scene.video.trial import check_trial

if TYPE_CHECKING:
    from scene.enhance import Enhancer

log = logging.getLogger(__name__)

# What is being worked on, and at which CRF.
_Report = Callable[[str, float | None], None]

DEFAULT_SAMPLE_SECONDS = 3.0
# Always measured.
_SHOWN = ("vmaf", "vmaf_neg")
# Between two CRFs: FFmpeg hands whole ones alone to SVT-AV1.
_STEPS = {"x264": 0.5, "x265": 0.5, "svtav1": 1.0}
# FFmpeg takes 0 for "no CRF given" with SVT-AV1, which at 1 gives broken pictures (4.1, 8 bit).
_FINEST = {"svtav1": 2}
# From the first CRF to the second: from an encoder's usual one far, from the unprocessed pictures' answer not so far.
_FAR, _NEAR = 8, 4
# Encoder parameters that read or write files or need a pass over the whole video, and those that set another quality.
_REFUSED = {"pass", "stats", "csv", "recon", "dump-yuv", "analysis-save", "analysis-load"} | {
    *("crf", "qp", "q", "bitrate", "tbr", "rc", "lossless"),
}


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A quality that one file is to be encoded at.

    Attributes:
        targets: at least one; all of them must hold.
        max_kbps: bound on the rate of the video stream in kilobits (1000 bits) per second.
        settings: without a CRF.
        model, strength, semantics, device: as in `EncodeRequest`; model "none" searches for the encoder alone.
        samples: how many, None for as many as the video's length asks for.
        sample_seconds: length of each.
        best_effort: answer with the nearest CRF where none meets all.
    """

    source: Path
    targets: tuple[Target, ...]
    max_kbps: float | None = None
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    model: str = DEFAULT_MODEL
    strength: float = 1.0
    semantics: str = "auto"
    device: str = "auto"
    samples: int | None = None
    sample_seconds: float = DEFAULT_SAMPLE_SECONDS
    best_effort: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The CRF for one kind of pictures.

    Attributes:
        model: the network's identity, "none" for the source's own pictures.
        probe: what was measured at the CRF.
        bytes: predicted size of the video stream.
        missed: the demand that fails and how near it came, empty if none does.
        exact_kbps: rate at which the targets are just met; None where they are not, or are with room at the coarsest.
        probes: all that were made, by CRF.
    """

    model: str
    probe: Probe
    bytes: float
    missed: str
    exact_kbps: float | None
    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found.

    Attributes:
        info: of the source.
        seconds: that the video lasts.
        sampled_frames, samples: what was encoded at each CRF.
        whole: whether that was all of the video.
        plain: the answer for the source's own pictures.
        enhanced: the answer for enhanced ones, None without a model.
        saving: of rate through enhancement at exactly the targets, in percent; None where it is not known.
        chosen: which of the answers to encode with.
        took: seconds of wall-clock time.
    """

    info: SourceInfo
    seconds: float
    sampled_frames: int
    samples: int
    whole: bool
    plain: Answer
    enhanced: Answer | None
    saving: float | None
    chosen: Answer
    took: float


def search_crf(request: SearchRequest, on_progress: OnProgress = silent) -> SearchResult:
    """Finds the coarsest CRF that meets all demands, without and with enhancement, by encodes of samples.

    Every answer is a CRF that was measured. Progress counts encoded samples.

    Raises:
        UsageError: arguments that cannot be meant, or that the source and the encoder do not allow.
        InputError: the source is missing, unreadable or damaged, or its pictures are too small to be measured.
        TargetError: no CRF meets all demands, and `best_effort` is off.
        MissingError: the encoder, the device, or ffmpeg with libvmaf is not on this machine.
        SceneError: an encode or a measurement failed, or there is no room for temporary files.
    """
    started = time.monotonic()
    codec = _check(request)
    metrics = tuple(dict.fromkeys((*_SHOWN, *(target.metric for target in request.targets))))
    require_readable(request.source)
    info = probe(request.source)
    _check_size(info, metrics)
    encoder_pixel_format(codec, info)
    check_trial(request.settings, info)
    model = _load(request, codec, info, codec.default_crf)
    ffmpeg = find_scoring_ffmpeg(metrics)
    done = 0

    def report(what: str, crf: float | None) -> None:
        nonlocal done
        done += 1
        on_progress(Progress(done, None, {"pictures": what} if crf is None else {"pictures": what, "crf": crf}))

    length = Fraction(request.sample_seconds).limit_denominator(1000)
    with open_bench(
        info, request.settings, ffmpeg, metrics, request.samples, length, lambda: report("decoded", None)
    ) as bench:
        plain = _Curve(bench, request, codec, None, report).answer(codec.default_crf, _FAR)
        enhanced = None
        if model is not None:
            curve = _Curve(bench, request, codec, lambda crf: _load(request, codec, info, crf), report)
            enhanced = replace(curve.answer(plain.probe.crf, _NEAR), model=model.identity)
        saving = _saving(plain, enhanced)
        return SearchResult(
            info=info,
            seconds=float(bench.seconds),
            sampled_frames=bench.frames,
            samples=len(bench.samples),
            whole=bench.whole,
            plain=plain,
            enhanced=enhanced,
            saving=saving,
            chosen=_choose(request, plain, enhanced, saving),
            took=time.monotonic() - started,
        )


def _check(request: SearchRequest) -> Codec:
    codec = check_settings(request.settings)
    if request.settings.crf is not None:
        raise UsageError("a search finds the CRF itself; leave it out of the settings.")
    for item in request.settings.encoder_args.split(":"):
        if item.partition("=")[0] in _REFUSED:
            raise UsageError(f"--encoder-args {item!r} leaves nothing to search; leave it out.")
    if not request.targets:
        raise UsageError("give at least one --target, such as vmaf-neg=93.")
    metrics = [target.metric for target in request.targets]
    if len(set(metrics)) < len(metrics):
        raise UsageError("a metric is given as --target twice; give the higher value alone.")
    if request.max_kbps is not None and not (math.isfinite(request.max_kbps) and request.max_kbps > 0):
        raise UsageError(f"--max-kbps {request.max_kbps:g} makes no sense; give kilobits per second, such as 2000.")
    if request.samples is not None and request.samples < 1:
        raise UsageError("--samples must be at least 1.")
    if not (math.isfinite(request.sample_seconds) and request.sample_seconds >= 0.1):
        raise UsageError("--sample-seconds must be at least 0.1.")
    return codec


def _check_size(info: SourceInfo, metrics: Sequence[str]) -> None:
    side = min(info.format.width, info.format.height)
    for metric in metrics:
        if side < LEAST_SIDES[metric]:
            raise InputError(
                f"{info.path}: pictures of {info.format.width}x{info.format.height} are too small; "
                f"{title(metric)} needs {LEAST_SIDES[metric]} samples on each side."
            )


def _load(request: SearchRequest, codec: Codec, info: SourceInfo, crf: float) -> Enhancer | None:
    enhancement = Enhancement(
        model=request.model, strength=request.strength, semantics=request.semantics, device=request.device
    )
    return open_enhancer(enhancement, codec.name, crf, info.format)


class _Curve:
    """Probes of one kind of pictures."""

    def __init__(
        self, bench: Bench, request: SearchRequest, codec: Codec, enhancer_for: EnhancerFor | None, report: _Report
    ) -> None:
        self._bench = bench
        self._request = request
        self._enhancer_for = enhancer_for
        self._what = "unprocessed" if enhancer_for is None else "enhanced"
        self._report = report
        step = _STEPS[codec.name]
        self._scale = Scale(_FINEST.get(codec.name, 0), codec.max_crf, step)
        self._probes: dict[float, Probe] = {}

    def answer(self, start: float, steps: int) -> Answer:
        """The coarsest CRF that meets all, else the nearest and what it misses.

        Args:
            start: the first CRF.
            steps: of the scale from there to the second.
        """
        request, way = self._request, steps * self._scale.step
        readings: list[Reading] = []
        while (crf := next_place(readings, self._scale, start, way)) is not None:
            scores = self._measure(crf).scores
            readings.append(Reading(crf, tuple(scores[t.metric] - t.value for t in request.targets)))
        below, above = bracket(readings)
        if below is None:
            best = max(self._probes.values(), key=lambda probe: _nearness(probe.scores, request.targets))
            missed = f"{self._misses(best.scores)} at most, at CRF {best.crf:g}"
            return self._answered(self._within_rate()[0] if request.max_kbps else best, missed, None)
        found = self._probes[below.place]
        exact = None
        if above is not None:
            # Between neighbours a straight line, so that it does not matter what else was measured.
            exact = _between(found, self._probes[above.place], crossing((below, above))).kbps
        if request.max_kbps is None or found.kbps <= request.max_kbps:
            return self._answered(found, "", exact)
        # The rate falls along the scale too: what is short at the coarsest CRF of the quality is short at all.
        nearest, at_rate = self._within_rate()
        if nearest.kbps > request.max_kbps:
            missed = f"{nearest.kbps:.0f} of {request.max_kbps:g} kb/s are needed even at CRF {nearest.crf:g}"
        else:
            missed = f"at {request.max_kbps:g} kb/s {self._misses(at_rate)}"
        return self._answered(nearest, missed, None)

    def _within_rate(self) -> tuple[Probe, Mapping[str, float]]:
        """The finest CRF that holds the rate, else the coarsest of all; and the scores at exactly the rate."""
        limit = self._request.max_kbps
        assert limit is not None
        scale = Scale(-self._scale.high, -self._scale.low, self._scale.step)

        def reading(probe: Probe) -> Reading:
            return Reading(-probe.crf, (math.log(limit / probe.kbps),))

        # What the other search measured counts, but not against what this one may measure.
        readings = [reading(probe) for probe in self._around(limit)]
        while (place := next_place(readings, scale, -self._scale.low, _FAR * scale.step)) is not None:
            readings.append(reading(self._measure(-place)))
        below, above = bracket(readings)
        if below is None:
            assert above is not None
            nearest = self._probes[-above.place]
            return nearest, nearest.scores
        nearest = self._probes[-below.place]
        if above is None:
            return nearest, nearest.scores
        return nearest, _between(nearest, self._probes[-above.place], -crossing((below, above))).scores

    def _around(self, limit: float) -> list[Probe]:
        """Of the probes the cheapest above a rate and the dearest below it."""
        ordered = sorted(self._probes.values(), key=lambda probe: probe.kbps)
        dearer = [probe for probe in ordered if probe.kbps > limit][:1]
        return [probe for probe in ordered if probe.kbps <= limit][-1:] + dearer

    def _measure(self, crf: float) -> Probe:
        if crf not in self._probes:
            enhancer = self._enhancer_for(crf) if self._enhancer_for else None
            found = self._bench.measure(crf, enhancer, lambda: self._report(self._what, crf))
            scores = ", ".join(f"{title(name)} {score_text(name, value)}" for name, value in found.scores.items())
            log.info("%s, CRF %g: %.0f kb/s, %s", self._what, crf, found.kbps, scores)
            self._probes[crf] = found
        return self._probes[crf]

    def _misses(self, scores: Mapping[str, float]) -> str:
        """Of the targets the one that is missed by the largest share of it."""
        worst = min(self._request.targets, key=lambda target: scores[target.metric] / target.value)
        return f"{title(worst.metric)} reaches {score_text(worst.metric, scores[worst.metric])} of {worst.value:g}"

    def _answered(self, found: Probe, missed: str, exact: float | None) -> Answer:
        size = found.kbps * 1000 / 8 * float(self._bench.seconds)
        probes = tuple(self._probes[crf] for crf in sorted(self._probes))
        return Answer(BYPASS, found, size, missed, exact, probes)


def _between(here: Probe, there: Probe, crf: float) -> Probe:
    """What is expected at a CRF between two probes: the rate by its logarithm and the scores in proportion."""
    share = (crf - here.crf) / (there.crf - here.crf)
    scores = {name: value + share * (there.scores[name] - value) for name, value in here.scores.items()}
    return Probe(crf, here.kbps * (there.kbps / here.kbps) ** share, scores, here.worst)


def _saving(plain: Answer, enhanced: Answer | None) -> float | None:
    if enhanced is None or enhanced.exact_kbps is None or plain.exact_kbps is None:
        return None
    return 100 * (1 - enhanced.exact_kbps / plain.exact_kbps)


def _choose(request: SearchRequest, plain: Answer, enhanced: Answer | None, saving: float | None) -> Answer:
    """The answer to encode with; raises TargetError where neither meets all and none but a full answer will do."""
    if enhanced is None:
        chosen = plain
    elif bool(plain.missed) != bool(enhanced.missed):
        chosen = plain if enhanced.missed else enhanced
        log.warning("%s pictures do not get there: %s.", *_naming(plain, enhanced))
    elif plain.missed:
        chosen = max((enhanced, plain), key=lambda answer: _nearness(answer.probe.scores, request.targets))
    elif saving is None:
        chosen = min((enhanced, plain), key=lambda answer: answer.probe.kbps)
    else:
        chosen = enhanced if saving > 0 else plain
    if chosen.missed:
        both = "" if enhanced is None else f" with enhancement ({plain.missed} without)"
        said = f"{request.source}: {(enhanced or plain).missed}{both}"
        if not request.best_effort:
            raise TargetError(f"{said}; ask for less, or give --best-effort.")
        log.warning("%s; this is the nearest.", said)
    return chosen


def _naming(plain: Answer, enhanced: Answer) -> tuple[str, str]:
    return ("enhanced", enhanced.missed) if enhanced.missed else ("unprocessed", plain.missed)


def _nearness(scores: Mapping[str, float], targets: Sequence[Target]) -> float:
    """0 where all targets are met exactly; of those that are missed the largest share of it counts."""
    return min(scores[target.metric] / target.value - 1 for target in targets)
