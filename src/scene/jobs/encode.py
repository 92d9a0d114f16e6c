"""Decode, enhance, encode and mux one file: what `scene encode` does."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import tee
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from scene.errors import UsageError
from scene.files import PendingFile, check_destination
from scene.jobs.focus import check_focus, focused
from scene.jobs.model_choice import with_model_chosen
from scene.jobs.passes import run_first_pass, wants_first_pass
from scene.jobs.pipeline import run_pipeline
from scene.jobs.provenance import provenance
from scene.options import BYPASS, EnhanceOptions, FocusOptions
from scene.progress import OnProgress, Progress, silent
from scene.video.container.formats import Container, container_of
from scene.video.container.select import Chosen, Selection, choose_streams
from scene.video.container.verify import Thoroughness, verify
from scene.video.container.writer import Writer
from scene.video.encoders import trial_encoders
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.plan import EncodePlan, check_colour, check_settings, plan_encode
from scene.video.hdr import warn_of_hdr
from scene.video.source.decode import DecodedFrame, Decoder, Unit
from scene.video.source.open import open_input, require_readable
from scene.video.source.presentation import scaled_info, upright_info
from scene.video.source.probe import SourceInfo, probe

if TYPE_CHECKING:
    from scene.enhance import Enhancer
    from scene.importance.smoothing import PictureFocus
    from scene.jobs.gain import Gain, GainProbe
    from scene.jobs.guard import Guard, GuardReport

log = logging.getLogger(__name__)

# An encoder of pictures of fewer samples holds little memory, and collecting takes some 50 ms.
_LARGE = 640 * 360


@dataclass(frozen=True, slots=True)
class EncodeRequest:
    """One file to enhance and encode.

    Attributes:
        source, destination: the suffix of the destination chooses the container.
        settings: of the encoder.
        enhancement: of the source's pictures. A model that is conditioned on the quantiser gets that of the settings'
            CRF, or of what a first pass comes to.
        guard: leave shots as they are where a probe finds that enhancement does not pay; see `scene.jobs.guard`.
        overwrite: replace the destination if it exists.
        skip_damage: carry on, with a warning, where the source cannot be decoded or ends too soon.
        allow_network: follow HLS playlists and concat scripts, over the network too.
        maps, audio: which of the source's streams to take over; see `scene.video.container.select.Selection`.
        deinterlace: make a progressive frame of each interlaced one, which are refused otherwise.
        autorotate: turn pictures as the source says they are to be shown, rather than hand that on.
        size: (width, height) to scale frames down to before all else; None to leave them.
        verify: how much of the output is decoded at the end; see `scene.video.container.verify.verify`.
        compare: say what enhancement won, from short windows of the video that are tried without it too; some seconds
            of work after the file is there. See `scene.jobs.gain`.
        focus: whether the encoder is told where bits matter.
    """

    source: Path
    destination: Path
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    enhancement: EnhanceOptions = field(default_factory=EnhanceOptions)
    guard: bool = False
    overwrite: bool = False
    skip_damage: bool = False
    allow_network: bool = False
    maps: tuple[str, ...] = ()
    audio: bool = True
    deinterlace: bool = False
    autorotate: bool = False
    size: tuple[int, int] | None = None
    verify: Thoroughness = "quick"
    compare: bool = False
    focus: FocusOptions = field(default_factory=FocusOptions)


@dataclass(frozen=True, slots=True)
class EncodeResult:
    """What was done.

    Attributes:
        frames: encoded, all of the source's.
        seconds: wall-clock time, verification included.
        source_bytes, bytes: sizes of the two files.
        model: the network's identity, "none" for a bypass.
        damage: places of the source that were skipped or taken as they are, of a tolerant encode; see `Decoder`.
        guard: what the guard did; None without one, and where pictures are too small for its probes.
        gain: what enhancement won; None where it was not to be compared or could not be, with a bitrate or on pictures
            of less than 176 samples on a side for example.
    """

    destination: Path
    frames: int
    seconds: float
    source_bytes: int
    bytes: int
    model: str
    damage: int = 0
    guard: GuardReport | None = None
    gain: Gain | None = None


def encode(request: EncodeRequest, on_progress: OnProgress = silent) -> EncodeResult:
    """Enhances and encodes a file; the destination appears when it is complete and has been verified.

    Time stamps, all other streams, chapters and tags are kept as far as the destination's container can hold
    them; what it cannot hold is logged as a warning before work begins.

    Raises:
        UsageError: invalid arguments, or that the source and the container do not allow.
        InputError: the source is missing, unreadable, damaged or of a kind that is not supported.
        VerificationError: what was written is not what was encoded.
        TargetError: x264's first pass shows that the bitrate is too low.
        MissingError: the encoder, the device, or the ffmpeg program that a guard needs, is not on this machine.
        SceneError: the output cannot be written.
    """
    started = time.monotonic()
    checked = check_request(request)
    request = choose_model_for(request, checked.plan)
    fmt = checked.plan.info.format
    try:
        return _encode(request, checked, started, on_progress)
    finally:
        # PyAV's containers and streams refer to one another. Python's collector counts objects, not what they hold: an
        # encoder of a hundred megabytes would wait for it, and the next beside it.
        if fmt.width * fmt.height >= _LARGE:
            gc.collect()


def _encode(request: EncodeRequest, checked: CheckedRequest, started: float, on_progress: OnProgress) -> EncodeResult:
    # Now: the source may be gone when its encode is finished.
    source_bytes = request.source.stat().st_size
    plan, info = checked.plan, checked.plan.info
    enhancer = open_enhancer_for(request, plan)
    guard = open_guard_for(request, enhancer, plan)
    gain = _open_gain_probe(request, enhancer, plan)
    conditioned = enhancer is not None and enhancer.conditioned
    two_passes = wants_first_pass(plan.encoder, plan.settings, conditioned=conditioned)
    if two_passes and plan.focus:
        raise UsageError("`focus` takes one pass: of a first one the encoder would not know; use `crf`, or `passes` 1.")
    model = enhancer.identity if enhancer else BYPASS
    tag = provenance(
        *(plan.encoder, plan.settings, request.enhancement, model),
        focus=request.focus,
        guard=guard is not None,
        deinterlace=request.deinterlace,
        size=request.size,
    )
    with (
        PendingFile(request.destination) as pending,
        Decoder(info, writable=_changes_frames(request), tolerant=request.skip_damage) as decoder,
        ExitStack() as stack,
    ):
        writer = Writer(
            pending.path,
            checked.container,
            decoder.container,
            plan,
            tag,
            checked.chosen.copied,
            tolerant=request.skip_damage,
        )
        try:
            if two_passes:
                folder = stack.enter_context(TemporaryDirectory(prefix="scene-passes-", ignore_cleanup_errors=True))
                first = run_first_pass(plan, Path(folder), request.skip_damage, on_progress, conditioned=conditioned)
                if enhancer is not None and first.crf is not None:
                    enhancer.set_quantiser_step(plan.encoder.quantiser_step(first.crf) * enhancer.step_factor)
                writer.start(first.second)
            else:
                writer.start()
            fields = {"pass": "2/2"} if two_passes else {}
            report = _reporter(on_progress, info.frames, writer, time.monotonic(), fields)
            units, smoothing = focused(decoder.units, request)
            if enhancer is not None and smoothing is not None:
                enhancer.focus = smoothing.apply
            work = _enhance(enhancer, guard, gain, smoothing)
            run_pipeline(units, work, _write(writer, report), on_stop=writer.kill)
        except BaseException:
            # Closing writes an index, and with mp4 the whole file once more: not into a file without a name.
            pending.discard()
            writer.abort()
            raise
        verify(pending.path, request.destination, writer.written(), request.verify)
        written = pending.path.stat().st_size
        pending.publish(overwrite=request.overwrite)
    seconds = time.monotonic() - started
    return EncodeResult(
        destination=request.destination,
        frames=len(writer.stamps),
        seconds=seconds,
        source_bytes=source_bytes,
        bytes=written,
        model=model,
        damage=decoder.damage,
        guard=guard.report if guard else None,
        gain=gain.gain() if gain else None,
    )


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request whose names are resolved.

    Attributes:
        container: of the destination.
        chosen: which of the source's streams are taken over.
        plan: of the video.
    """

    container: Container
    chosen: Chosen
    plan: EncodePlan


def check_request(request: EncodeRequest) -> CheckedRequest:
    """Looks at the settings and the source without writing anything.

    Raises:
        UsageError, InputError, MissingError: see `encode`.
    """
    container = container_of(request.destination)
    check_settings(request.settings)
    require_readable(request.source)
    check_destination(request.source, request.destination, overwrite=request.overwrite)
    network = request.allow_network
    with open_input(request.source, network=network) as opened:
        chosen = choose_streams(opened, Selection(request.maps, request.audio), request.source)
    info = probe(request.source, chosen.video, deinterlace=request.deinterlace, network=network)
    info = presented(info, request)
    plan = plan_encode(request.settings, info, request.focus.told)
    check_colour(plan)
    check_focus(request, plan)
    return CheckedRequest(container, chosen, plan)


def presented(info: SourceInfo, request: EncodeRequest) -> SourceInfo:
    """The source as a request wants its pictures shown. Raises UsageError."""
    return scaled_info(upright_info(info) if request.autorotate else info, request.size)


def choose_model_for(request: EncodeRequest, plan: EncodePlan) -> EncodeRequest:
    """The request with a model's name in place of `auto`; see `scene.jobs.model_choice`."""
    whole = request.deinterlace or request.allow_network
    return replace(request, enhancement=with_model_chosen(plan, request.enhancement, whole=whole))


def _changes_frames(request: EncodeRequest) -> bool:
    return not request.enhancement.changes_nothing or request.focus.smoothed > 0


def open_enhancer_for(request: EncodeRequest, plan: EncodePlan) -> Enhancer | None:
    """The enhancer of a request, at the beginning of the video; None for a bypass.

    Raises:
        UsageError, InputError, MissingError: see `encode`.
    """
    if request.enhancement.changes_nothing:
        return None
    # Torch takes seconds to import, and a bypass does without.
    from scene.enhance import open_enhancer

    enhancer = open_enhancer(request.enhancement, codec=plan.encoder.name, crf=plan.conditioning_crf)
    enhancer.check(plan.info.format)
    warn_of_hdr(str(plan.info.path), plan.info.colour.transfer)
    return enhancer


def open_guard_for(request: EncodeRequest, enhancer: Enhancer | None, plan: EncodePlan) -> Guard[DecodedFrame] | None:
    """The guard of a request; None without one, and, with a warning, where pictures are too small for its probes.

    Raises:
        UsageError, MissingError: see `encode`.
    """
    if not request.guard:
        return None
    if request.settings.bitrate is not None:
        raise UsageError("`guard` tries shots at a CRF; give `crf` instead of `bitrate`, or leave `guard` out.")
    if not plan.encoder.has_trials:
        raise UsageError(
            f"`guard` cannot try shots with {plan.encoder.name}; use {trial_encoders()}, or leave `guard` out."
        )
    if enhancer is None:
        raise UsageError("`guard` has nothing to decide without a model; leave it out, or give a model and a strength.")
    from scene.jobs.guard import GUARD_METRICS, Guard, ShotProbe
    from scene.measure.score import require_ffmpeg

    info = plan.info
    probe = ShotProbe(require_ffmpeg(GUARD_METRICS, "`guard`"), plan.settings, info)
    if probe.metrics:
        return Guard(enhancer, probe)
    size = f"{info.format.width}x{info.format.height}"
    log.warning("%s: pictures of %s are too small to be probed, so `guard` changes nothing.", info.path, size)
    return None


def _open_gain_probe(request: EncodeRequest, enhancer: Enhancer | None, plan: EncodePlan) -> GainProbe | None:
    if not request.compare or enhancer is None or request.settings.bitrate is not None or not plan.encoder.has_trials:
        return None
    if request.focus.focus:
        # Its trials would not know of it, and what it is for is not what they measure.
        return None
    from scene.jobs.gain import open_gain_probe

    return open_gain_probe(plan.settings, plan.info)


def _enhance(
    enhancer: Enhancer | None,
    guard: Guard[DecodedFrame] | None,
    gain: GainProbe | None,
    smoothing: PictureFocus | None,
) -> Callable[[Iterator[Unit]], Iterator[Unit]]:
    work = _enhancing(enhancer, guard, smoothing)
    if gain is None:
        return work
    return lambda units: gain.after(work(gain.before(units)))


def _enhancing(
    enhancer: Enhancer | None, guard: Guard[DecodedFrame] | None, smoothing: PictureFocus | None
) -> Callable[[Iterator[Unit]], Iterator[Unit]]:
    def smoothed(units: Iterator[Unit]) -> Iterator[Unit]:
        assert smoothing is not None
        for unit in units:
            if unit.frame is not None:
                picture = unit.frame.picture()
                unit.frame.replace(smoothing.apply(picture, picture))
            yield unit

    def passed(units: Iterator[Unit]) -> Iterator[Unit]:
        return units

    def enhanced(units: Iterator[Unit]) -> Iterator[Unit]:
        assert enhancer is not None
        # Two views of one iterator: what is enhanced, and what waits for it.
        units, read = tee(units)
        pictures = enhancer.stream(unit.frame.picture() for unit in read if unit.frame is not None)
        for unit in units:
            if unit.frame is not None:
                unit.frame.replace(next(pictures))
            yield unit

    if guard is not None:
        from scene.jobs.guard import guarded

        return partial(guarded, guard=guard)
    if enhancer is not None:
        return enhanced
    return passed if smoothing is None else smoothed


def _write(writer: Writer, report: Callable[[], None]) -> Callable[[Iterator[Unit], Callable[[], None]], None]:
    def write(units: Iterator[Unit], check: Callable[[], None]) -> None:
        for unit in units:
            writer.write(unit)
            if unit.frame is not None:
                report()
        writer.finish(check)

    return write


def _reporter(
    on_progress: OnProgress, total: int | None, writer: Writer, started: float, fields: dict[str, str]
) -> Callable[[], None]:
    def report() -> None:
        done = len(writer.stamps)
        fps = done / max(time.monotonic() - started, 1e-3)
        # The total is an estimate, which a source may exceed.
        bound = None if total is None else max(total, done)
        on_progress(Progress(done, bound, {**fields, "fps": round(fps, 2), "bytes": writer.bytes}))

    return report
