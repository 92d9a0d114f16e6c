"""Find the CRF that reaches a quality, with enhancement and without: what `scene search` does."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import InputError, TargetError, UsageError
from scene.jobs.encode import EncodeRequest
from scene.jobs.samples.quality_search import FAR, Constraints, QualitySearch, SearchAnswer, nearness
from scene.jobs.samples.sample_encode import open_samples
from scene.measure.libvmaf import too_small
from scene.measure.score import require_ffmpeg
from scene.metrics.rate_saving import RatePoint, rate_difference
from scene.metrics.targets import Target, title
from scene.options import BYPASS, EnhanceOptions
from scene.progress import OnProgress, Progress, silent
from scene.video.encoders import find_encoder, trial_encoders
from scene.video.encoders.base import Encoder
from scene.video.encoders.params import FIXED_QUALITY, parse_encoder_args
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.plan import check_colour, check_settings, plan_encode
from scene.video.encoding.trial import check_trial
from scene.video.hdr import warn_of_hdr
from scene.video.source.completeness import missing_bytes
from scene.video.source.open import require_readable
from scene.video.source.probe import SourceInfo, probe

if TYPE_CHECKING:
    from scene.enhance import Enhancer

log = logging.getLogger(__name__)

DEFAULT_SAMPLE_SECONDS = 3.0
# Always measured.
_SHOWN = ("vmaf", "vmaf_neg")
# Steps to the second CRF where the first one is the unprocessed pictures' answer.
_NEAR = 4


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A quality that one file is to be encoded at.

    Attributes:
        targets: at least one; all of them must hold.
        max_kbps: bound on the rate of the video stream in kilobits (1000 bits) per second.
        settings: without a CRF.
        enhancement: of the source's pictures; model "none" searches for the encoder alone.
        samples: how many, None for as many as the video's length asks for.
        sample_seconds: length of each.
        best_effort: answer with the nearest CRF where none meets all.
    """

    source: Path
    targets: tuple[Target, ...]
    max_kbps: float | None = None
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    enhancement: EnhanceOptions = field(default_factory=EnhanceOptions)
    samples: int | None = None
    sample_seconds: float = DEFAULT_SAMPLE_SECONDS
    best_effort: bool = False


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
    plain: SearchAnswer
    enhanced: SearchAnswer | None
    saving: float | None
    chosen: SearchAnswer
    took: float


def search(request: SearchRequest, on_progress: OnProgress = silent) -> SearchResult:
    """Finds the coarsest CRF that meets all constraints, without and with enhancement, by encodes of samples.

    Every answer is a CRF that was measured. Progress counts encoded samples.

    Raises:
        UsageError: invalid arguments, or that the source and the encoder do not allow.
        InputError: the source is missing, unreadable, damaged or of a kind that is not supported, or its pictures are
            RGB or too small to be measured.
        TargetError: no CRF meets all constraints, and `best_effort` is off.
        MissingError: the encoder, the device, or ffmpeg with libvmaf is not on this machine.
        SceneError: an encode or a measurement failed, or there is no room for temporary files.
    """
    started = time.monotonic()
    codec = check_search(request)
    metrics = tuple(dict.fromkeys((*_SHOWN, *(target.metric for target in request.targets))))
    require_readable(request.source)
    info = probe(request.source)
    if missing := missing_bytes(request.source):
        raise InputError(f"{request.source} is cut short: its last {missing} bytes are missing.")
    check_pictures(info, metrics)
    # What `scene encode` refuses is refused here, before hours and not after them.
    check_colour(plan_encode(request.settings, info))
    check_trial(request.settings, info)
    model = load_enhancer(request, codec, info, codec.default_crf)
    if model is not None:
        warn_of_hdr(str(info.path), info.colour.transfer)
    ffmpeg = require_ffmpeg(metrics, "measuring")
    done = 0

    def report(what: str, crf: float | None) -> None:
        nonlocal done
        done += 1
        on_progress(Progress(done, None, {"pictures": what} if crf is None else {"pictures": what, "crf": crf}))

    length = Fraction(request.sample_seconds).limit_denominator(1000)
    with open_samples(
        info, request.settings, ffmpeg, metrics, request.samples, length, lambda: report("decoded", None)
    ) as samples:
        constraints = Constraints(request.targets, request.max_kbps)
        plain = QualitySearch(samples, codec, constraints, None, report).answer(codec.default_crf, FAR)
        enhanced = None
        if model is not None:
            enhanced_search = QualitySearch(
                samples, codec, constraints, partial(load_enhancer, request, codec, info), report
            )
            enhanced = replace(enhanced_search.answer(plain.measured.crf, _NEAR), model=model.identity)
        saving = saving_percent(plain, enhanced)
        return SearchResult(
            info=info,
            seconds=float(samples.seconds),
            sampled_frames=samples.frames,
            samples=len(samples.samples),
            whole=samples.whole,
            plain=plain,
            enhanced=enhanced,
            saving=saving,
            chosen=choose_answer(request, plain, enhanced, saving),
            took=time.monotonic() - started,
        )


def check_search(request: SearchRequest) -> Encoder:
    """The encoder of a valid request. Raises UsageError, or MissingError, for what is wrong whatever the source is."""
    if not find_encoder(request.settings.codec).has_trials:
        raise UsageError(f"a search cannot try codec {request.settings.codec}; use {trial_encoders()}.")
    codec = check_settings(request.settings)
    if request.settings.crf is not None:
        raise UsageError("a search finds the CRF itself; leave it out of the settings.")
    if request.settings.bitrate is not None:
        raise UsageError("a search has no bitrate; give `max_kbps` as a bound.")
    for name, value in parse_encoder_args(request.settings.encoder_args):
        if name in FIXED_QUALITY:
            raise UsageError(f"`encoder_args` {name}={value} leaves nothing to search; leave it out.")
    if not request.targets:
        raise UsageError("give at least one `targets`, such as vmaf-neg=93.")
    metrics = [target.metric for target in request.targets]
    if len(set(metrics)) < len(metrics):
        raise UsageError("a metric is given as `targets` twice; give the higher value alone.")
    if request.max_kbps is not None and not (math.isfinite(request.max_kbps) and request.max_kbps > 0):
        raise UsageError(f"`max_kbps` {request.max_kbps:g} makes no sense; give kbit/s, such as 2000.")
    if request.samples is not None and request.samples < 1:
        raise UsageError("`samples` must be at least 1.")
    if not (math.isfinite(request.sample_seconds) and request.sample_seconds >= 0.1):
        raise UsageError("`sample_seconds` must be at least 0.1.")
    return codec


def check_as_it_is(request: EncodeRequest) -> None:
    """Raises UsageError for what a quality that is found on samples of the file does not go with."""
    for name, on in (
        ("guard", request.guard),
        ("focus", request.focus.focus > 0),
        ("deinterlace", request.deinterlace),
        ("size", request.size is not None),
        ("autorotate", request.autorotate),
    ):
        if on:
            raise UsageError(f"`targets` is found on samples of the file as it is; leave `{name}` out.")


def check_pictures(info: SourceInfo, metrics: Sequence[str]) -> None:
    """Raises InputError for pictures that cannot be measured."""
    if info.format.matrix == "rgb":
        raise InputError(f"{info.path} is RGB, and the metrics look at luma; convert it first (format=yuv444p).")
    for metric in metrics:
        needed = too_small(info.format.width, info.format.height, [metric])
        if needed is not None:
            raise InputError(
                f"{info.path}: pictures of {info.format.width}x{info.format.height} are too small; "
                f"{title(metric)} needs {needed}."
            )


def load_enhancer(request: SearchRequest, codec: Encoder, info: SourceInfo, crf: float) -> Enhancer | None:
    """The enhancer for a CRF, at the beginning of a video; None for a bypass. Raises as `search` does."""
    if request.enhancement.changes_nothing:
        return None
    # Torch takes seconds to import, and a search for the encoder alone does without.
    from scene.enhance import open_enhancer

    enhancer = open_enhancer(request.enhancement, codec=codec.name, crf=crf)
    enhancer.check(info.format)
    return enhancer


def saving_percent(plain: SearchAnswer, enhanced: SearchAnswer | None) -> float | None:
    """What enhancement saves of the rate at exactly the targets; None where one of the two is not known."""
    if enhanced is None or enhanced.exact_kbps is None or plain.exact_kbps is None:
        return None
    return 100 * (1 - enhanced.exact_kbps / plain.exact_kbps)


def gain_by_metric(request: SearchRequest, result: SearchResult) -> dict[str, float | None] | None:
    """Differences of rate through enhancement in percent, negative where it saves, for each metric that was measured.

    Each at the score that the unprocessed pictures' answer has by that metric, but for one that is the only target: at
    the target, as `SearchResult.saving`. None without a model.
    """
    if result.enhanced is None:
        return None
    curves = [[RatePoint(one.kbps, one.scores) for one in a.tried] for a in (result.plain, result.enhanced)]
    gains = {
        name: rate_difference(curves[0], curves[1], name, score) for name, score in result.plain.measured.scores.items()
    }
    if len(request.targets) == 1:
        gains[request.targets[0].metric] = None if result.saving is None else -result.saving
    return gains


def encode_request(request: SearchRequest, result: SearchResult, destination: Path) -> EncodeRequest:
    """The encode of the answer that was chosen."""
    enhancement = EnhanceOptions(model=BYPASS) if result.chosen is result.plain else request.enhancement
    settings = replace(request.settings, crf=result.chosen.measured.crf)
    return EncodeRequest(request.source, destination, settings, enhancement)


def choose_answer(
    request: SearchRequest, plain: SearchAnswer, enhanced: SearchAnswer | None, saving: float | None
) -> SearchAnswer:
    """The answer to encode with; raises TargetError where neither meets all and none but a full answer will do."""
    if enhanced is None:
        chosen = plain
    elif bool(plain.missed) != bool(enhanced.missed):
        chosen = plain if enhanced.missed else enhanced
        log.warning("%s pictures do not get there: %s.", *_naming(plain, enhanced))
    elif plain.missed:
        chosen = max((enhanced, plain), key=lambda answer: nearness(answer.measured.scores, request.targets))
    elif saving is None:
        chosen = min((enhanced, plain), key=lambda answer: answer.measured.kbps)
    else:
        chosen = enhanced if saving > 0 else plain
    if chosen.missed:
        both = "" if enhanced is None else f" with enhancement ({plain.missed} without)"
        said = f"{request.source}: {(enhanced or plain).missed}{both}"
        if not request.best_effort:
            raise TargetError(f"{said}; ask for less, or give `best_effort`.")
        log.warning("%s; this is the nearest.", said)
    return chosen


def _naming(plain: SearchAnswer, enhanced: SearchAnswer) -> tuple[str, str]:
    return ("enhanced", enhanced.missed) if enhanced.missed else ("unprocessed", plain.missed)
