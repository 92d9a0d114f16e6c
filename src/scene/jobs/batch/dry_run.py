"""What an encode would do, without writing anything: streams, settings, and what a trial says of time and size."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scene.errors import SceneError
from scene.jobs.batch.rehearsal import Streams, rehearse
from scene.jobs.batch.target import TargetEncodeRequest, check_target
from scene.jobs.encode import EncodeRequest, check_request, open_enhancer_for
from scene.jobs.sample_encode import expected_bytes, key_frame_spacing
from scene.options import BYPASS
from scene.video.container.tags import describe
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.trial import check_part, stream_trial
from scene.video.source.open import open_input
from scene.video.source.probe import best_video
from scene.video.source.samples import plan_spans, read_samples, video_seconds

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
    streams = rehearse(wanted, checked)
    enhancer = open_enhancer_for(wanted, plan)
    seconds = video_seconds(plan.info)
    with open_input(wanted.source, network=wanted.allow_network) as opened:
        video = describe(opened.streams[plan.info.stream_index])
        untried = _untried(request, wanted, plan, best_video(opened, wanted.source).index)
    bitrate = wanted.settings.bitrate
    if untried:
        estimate = Estimate(None, None if bitrate is None else bitrate * 125 * float(seconds), 0, untried)
    else:
        estimate = _try(plan, enhancer, seconds)
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


def _untried(request: EncodeRequest | TargetEncodeRequest, wanted: EncodeRequest, plan: EncodePlan, best: int) -> str:
    """Why no frames can be tried, empty if they can."""
    if isinstance(request, TargetEncodeRequest):
        return "the CRF is known after a search"
    if wanted.settings.bitrate is not None:
        return "a bitrate is not tried on parts"
    if wanted.focus.focus:
        return "a focus is not tried on parts"
    if wanted.guard:
        return "the guard decides shot by shot"
    if wanted.deinterlace or wanted.allow_network or plan.info.stream_index != best or not plan.encoder.has_trials:
        return "parts of it cannot be tried"
    try:
        check_part(wanted.settings)
    except SceneError:
        return "parts of it cannot be tried"
    return ""


def _try(plan: EncodePlan, enhancer: Enhancer | None, seconds: Fraction) -> Estimate:
    """Enhances and encodes samples, with as many threads as the whole video has.

    Where network and encoder share the processor their times add up; beside a GPU the longer one counts.
    """
    info, settings = plan.info, plan.settings
    spans = plan_spans(seconds, info.rate, _SAMPLES, _FRAMES / info.rate)
    enhancing = encoding = coded = 0.0
    with tempfile.TemporaryDirectory(prefix="scene-trial-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        samples = read_samples(info, spans, folder)
        whole = spans[0].frames is None
        interval = 0.0 if whole else key_frame_spacing(settings, info.rate, seconds)
        if enhancer is not None:
            # The first picture takes longer than any other.
            next(enhancer.stream(islice(samples[0].pictures(), 4)))
        for sample in samples:
            began = time.monotonic()
            given = sample
            if enhancer is not None:
                enhancer.start_shot()
                given = sample.with_pictures(folder / "enhanced.raw", enhancer.stream(sample.pictures()))
            between = time.monotonic()
            sizes: list[int] = []
            pictures = zip(given.pictures(), given.stamps, strict=True)
            for _ in stream_trial(pictures, settings, info, sizes, one_thread=False):
                pass
            enhancing += between - began
            encoding += time.monotonic() - between
            coded += expected_bytes(sizes, interval)
    frames = sum(len(sample.stamps) for sample in samples)
    shown = float(sum(sample.seconds for sample in samples))
    beside = enhancer is not None and enhancer.device.type != "cpu"
    a_frame = (max(enhancing, encoding) if beside else enhancing + encoding) / frames
    total = info.frames or float(seconds * info.rate)
    return Estimate(a_frame * total, coded / shown * float(seconds), frames, "")
