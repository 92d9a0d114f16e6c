"""What an encode would do, without writing anything: streams, settings, and what a trial says of time and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scene.jobs.encode import EncodeRequest, check_request, choose_model_for, open_enhancer_for
from scene.jobs.prepare.rehearsal import Streams, rehearse
from scene.jobs.prepare.target import TargetEncodeRequest, check_target
from scene.jobs.samples.speed import open_speed_trial, together, untried
from scene.options import BYPASS
from scene.video.container.tags import describe
from scene.video.encoding.plan import EncodePlan
from scene.video.source.open import open_input
from scene.video.source.samples import video_seconds

if TYPE_CHECKING:
    from scene.enhance import Enhancer

# Of the trial: so many samples of so many frames.
_SAMPLES, _FRAMES = 3, 24


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an encode would take.

    Attributes:
        seconds: of wall-clock time on this machine as busy as it is, without copying and verifying; None where nothing
            was tried.
        bytes: of the video stream; None where nothing was tried.
        frames: that were tried, 0 for none.
        unknown: why something is not known, empty if all is.
    """

    seconds: float | None
    bytes: float | None
    frames: int
    unknown: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would be done with one source.

    Attributes:
        video: what is encoded, in words.
        video_seconds: that it lasts.
        streams: what becomes of the others.
        encoder: `scene.video.encoding.plan.EncodePlan.record`, and the preset.
        quality: "CRF 26", "2000 kbit/s", or the targets of a search.
        model: the network's identity, "none" for a bypass.
        strength: of its change.
    """

    source: Path
    destination: Path
    video: str
    video_seconds: float
    streams: Streams
    encoder: Mapping[str, Any]
    quality: str
    model: str
    strength: float
    estimate: Estimate


def dry_run(request: EncodeRequest | TargetEncodeRequest) -> DryRun:
    """Checks all that an encode checks before its first frame, and tries some frames; the destination is not touched.

    A search is not made: what needs one is not known.

    Raises:
        UsageError, InputError, MissingError, SceneError: as `scene.encode` and `scene.encode_to_target` before work.
    """
    if isinstance(request, TargetEncodeRequest):
        wanted, checked = request.encode, check_target(request)
        bound = "" if request.max_kbps is None else f" within {request.max_kbps:g} kbit/s"
        quality = f"{' and '.join(target.text for target in request.targets)}{bound}, by a search"
    else:
        wanted, checked = request, check_request(request)
        settings = wanted.settings
        crf = f"CRF {checked.plan.encoder.crf_of(settings):g}" if settings.bitrate is None else ""
        quality = crf or f"{settings.bitrate} kbit/s"
    plan = checked.plan
    wanted = choose_model_for(wanted, plan)
    streams = rehearse(wanted, checked)
    enhancer = open_enhancer_for(wanted, plan)
    seconds = video_seconds(plan.info)
    with open_input(wanted.source, network=wanted.allow_network) as opened:
        video = describe(opened.streams[plan.info.stream_index])
    bitrate = wanted.settings.bitrate
    if unknown := _untried(request, wanted, plan):
        estimate = Estimate(None, None if bitrate is None else bitrate * 125 * float(seconds), 0, unknown)
    else:
        estimate = _try(plan, enhancer)
    return DryRun(
        source=wanted.source,
        destination=wanted.destination,
        video=video,
        video_seconds=float(seconds),
        streams=streams,
        encoder={**plan.record(), "preset": wanted.settings.preset or plan.encoder.default_preset},
        quality=quality,
        model=enhancer.identity if enhancer else BYPASS,
        strength=wanted.enhancement.strength,
        estimate=estimate,
    )


def _untried(request: EncodeRequest | TargetEncodeRequest, wanted: EncodeRequest, plan: EncodePlan) -> str:
    """Why no frames can be tried, empty if they can."""
    if isinstance(request, TargetEncodeRequest):
        return "the CRF is known after a search"
    if wanted.settings.bitrate is not None:
        return "a bitrate is not tried on parts"
    if wanted.focus.focus:
        return "a focus is not tried on parts"
    if wanted.guard:
        return "the guard decides shot by shot"
    return untried(plan, whole=wanted.deinterlace or wanted.allow_network)


def _try(plan: EncodePlan, enhancer: Enhancer | None) -> Estimate:
    """Enhances and encodes samples.

    Where network and encoder share the processor their times add up; beside a GPU the longer one counts.
    """
    enhancing = encoding = coded = 0.0
    with open_speed_trial(plan, _SAMPLES, _FRAMES) as trial:
        if enhancer is not None:
            trial.warm_up(enhancer)
        for sample in trial.samples:
            given = sample
            if enhancer is not None:
                given, took = trial.enhance(sample, enhancer)
                enhancing += took
            size, took = trial.encode(given)
            coded, encoding = coded + size, encoding + took
        shown = float(sum(sample.seconds for sample in trial.samples))
        a_frame = together(enhancing, encoding, enhancer) / trial.frames
        seconds = float(trial.seconds)
        total = plan.info.frames or seconds * float(plan.info.rate)
        return Estimate(a_frame * total, coded / shown * seconds, trial.frames, "")
