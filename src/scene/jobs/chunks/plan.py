"""Planning: one pass over the source finds its shots and notes what every frame is."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import InputError, SceneError, UsageError
from scene.jobs.chunks.borders import chunk_starts, least_frames
from scene.jobs.chunks.folder import WorkFolder
from scene.jobs.chunks.journal import JobPlan, identify, load_plan, versions
from scene.jobs.chunks.quality import ChunkQuality, with_quality
from scene.jobs.encode import EncodeRequest, check_request, choose_model_for, open_enhancer_for, open_guard_for
from scene.jobs.pipeline import run_pipeline
from scene.jobs.prepare.rehearsal import rehearse
from scene.options import AUTO_MODEL, BYPASS, CENTRE, FOUND
from scene.picture import Picture
from scene.progress import OnProgress, Progress, silent
from scene.video.encoders.params import WHOLE_VIDEO, joined_items, plain_name
from scene.video.encoding.plan import EncodePlan
from scene.video.source.decode import Decoder
from scene.video.source.passage import FrameTable, checksum

if TYPE_CHECKING:
    from scene.enhance import Enhancer

log = logging.getLogger(__name__)

# Seconds: long enough for an encoder's rate control to settle and for a worker's start not to matter.
DEFAULT_CHUNK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to plan.

    Attributes:
        encode: what to encode and how, at a CRF, or without one where there is a quality.
        work: folder of the job's work.
        chunk_seconds: least length of a chunk; shots that are longer than four times this are divided.
        quality: what each chunk is to reach, at a CRF that is found before it is encoded.
    """

    encode: EncodeRequest
    work: Path
    chunk_seconds: float = DEFAULT_CHUNK_SECONDS
    quality: ChunkQuality | None = None


def plan_job(request: JobRequest, on_progress: OnProgress = silent) -> JobPlan:
    """Decodes the source once, divides it into chunks, and writes the plan into the work folder.

    A plan that is there is kept where it is of the same job, and made anew, with a warning, where it is damaged or of
    another version of the program. Chunks that still fit stay valid then.

    Raises:
        UsageError: invalid arguments, what cannot be divided, or a plan of another job is there.
        InputError, MissingError: see `scene.encode`.
        BusyError: another process plans or joins the job.
        SceneError: the folder cannot be written to.
    """
    encode = replace(
        request.encode, source=request.encode.source.absolute(), destination=request.encode.destination.absolute()
    )
    if not 0 < request.chunk_seconds <= 3600:
        raise UsageError(f"`chunk_seconds` {request.chunk_seconds:g} makes no sense; give 1 to 3600.")
    folder = WorkFolder(request.work)
    checked = check_request(replace(encode, overwrite=encode.overwrite or _is_joined(folder, encode.destination)))
    check_divisible(encode, checked.plan)
    if request.quality is not None:
        encode = with_quality(encode, checked.plan, request.quality)
    encode = _settled(encode, checked.plan, folder)
    enhancer = open_enhancer_for(encode, checked.plan)
    if enhancer is not None:
        encode = replace(encode, enhancement=replace(encode.enhancement, runtime=enhancer.runtime))
    guarded = open_guard_for(encode, enhancer, checked.plan) is not None
    rehearse(encode, checked)
    source, model = identify(encode.source), BYPASS if enhancer is None else enhancer.identity
    guide = "" if enhancer is None else enhancer.guide
    if guarded and guide:
        raise UsageError(
            "with `guard` the embeddings of this model depend on the verdicts before; leave it out to encode in chunks."
        )
    folder.make()
    with folder.locked():
        try:
            known = _known(folder, lambda plan: plan.difference(encode, request.quality, source, model, guide))
            if known is not None:
                return known
            seen = _look_through(encode, checked.plan, enhancer, on_progress, guarded=guarded)
            least = least_frames(request.chunk_seconds, checked.plan.info.rate)
            interval = checked.plan.encoder.key_frame_interval(encode.settings, checked.plan.info.rate)
            plan = JobPlan(
                request=encode,
                quality=request.quality,
                source=source,
                model=model,
                guide=guide,
                stream=checked.plan.info.stream_index,
                table=FrameTable(seen.stamps, seen.durations, seen.checksums),
                shots=tuple(seen.shots),
                embedding_shots=tuple(seen.embedding_shots),
                guard_shots=tuple(seen.guard_shots),
                focus_shots=tuple(seen.focus_shots),
                starts=tuple(chunk_starts(len(seen.stamps), seen.shots, least, interval)),
                damage=seen.damage,
                made_with=versions(),
            )
            plan.save(folder.plan)
            return plan
        except BaseException as error:
            if not folder.plan.exists():
                folder.remove()
            if isinstance(error, OSError):
                raise SceneError(f"{folder.plan} cannot be written: {error.strerror}.") from None
            raise


def _settled(request: EncodeRequest, plan: EncodePlan, folder: WorkFolder) -> EncodeRequest:
    """The request with a model in place of `auto`, and what a plan that is there has: all chunks have the same."""
    wanted = request.enhancement
    with contextlib.suppress(InputError):
        known = load_plan(folder.plan).request.enhancement
        model = known.model if wanted.model == AUTO_MODEL else wanted.model
        runtime = known.runtime if wanted.runtime == "auto" else wanted.runtime
        return replace(request, enhancement=replace(wanted, model=model, runtime=runtime))
    return choose_model_for(request, plan)


def _is_joined(folder: WorkFolder, destination: Path) -> bool:
    """Whether the destination is there because the job has been done, and only its folder is left."""
    with contextlib.suppress(InputError):
        known = load_plan(folder.plan)
        return known.request.destination == destination and known.is_joined
    return False


def check_divisible(request: EncodeRequest, plan: EncodePlan) -> None:
    """Raises UsageError for what needs the whole video in one process."""
    if request.settings.bitrate is not None:
        raise UsageError("a `bitrate` is kept over the whole video; give `crf` to encode it in chunks.")
    if request.allow_network:
        raise UsageError("with `allow_network` a source may not stay the same; encode it in one go.")
    if request.focus.focus and request.focus.focus_map not in {FOUND, CENTRE}:
        raise UsageError("`focus_map` of your own is for the whole video; give auto or centre to encode in chunks.")
    if plan.encoder.is_hardware:
        raise UsageError(f"{plan.encoder.name} keeps its GPU busy by itself; encode in one go.")
    for name, _ in joined_items(request.settings.encoder_args):
        if plain_name(name).lower() in WHOLE_VIDEO:
            raise UsageError(f"`encoder_args` {name} is about the whole video; leave it out to encode in chunks.")


def _known(folder: WorkFolder, difference_of: Callable[[JobPlan], str | None]) -> JobPlan | None:
    """The plan that is there, None if it must be made. Raises UsageError where it is of another job."""
    if not folder.plan.exists():
        return None
    try:
        plan = load_plan(folder.plan)
    except InputError as error:
        log.warning("%s", error)
        return None
    difference = difference_of(plan)
    if difference is not None:
        raise UsageError(
            f"{folder.path} holds the work of another job: {difference}. Give the same arguments as for that, or "
            "another `work` folder, or remove it."
        )
    if plan.made_with != versions():
        log.warning("%s: planned by another version of the program, so all of it is done again.", folder.path)
        return None
    return plan


@dataclass(slots=True)
class _Seen:
    """What a pass over the source has noted."""

    stamps: list[int]
    durations: list[int]
    checksums: list[int]
    shots: list[int]
    embedding_shots: list[int]
    guard_shots: list[int]
    focus_shots: list[int]
    damage: int = 0


def _look_through(
    request: EncodeRequest, plan: EncodePlan, enhancer: Enhancer | None, on_progress: OnProgress, *, guarded: bool
) -> _Seen:
    """Decodes the whole source."""
    seen = _Seen([], [], [], [], [], [], [])
    started = time.monotonic()
    with Decoder(plan.info, writable=False, tolerant=request.skip_damage) as decoder:

        def pictures() -> Iterator[Picture]:
            for unit in decoder.units():
                if unit.frame is not None:
                    seen.stamps.append(unit.frame.pts)
                    seen.durations.append(unit.frame.av_frame.duration)
                    yield unit.frame.picture()

        def note(items: Iterator[Picture], check: Callable[[], None]) -> None:
            for picture in items:
                seen.checksums.append(checksum(picture))
                done = len(seen.checksums)
                fps = done / max(time.monotonic() - started, 1e-3)
                bound = None if plan.info.frames is None else max(plan.info.frames, done)
                on_progress(Progress(done, bound, {"fps": round(fps, 2)}))

        focused = request.focus.focus > 0 and request.focus.focus_map == FOUND

        def find_shots(items: Iterator[Picture]) -> Iterator[Picture]:
            return _find_shots(items, seen, enhancer, guarded=guarded, focused=focused)

        run_pipeline(pictures, find_shots, note)
        seen.damage = decoder.damage
    return seen


def _find_shots(
    pictures: Iterator[Picture], seen: _Seen, enhancer: Enhancer | None, *, guarded: bool, focused: bool
) -> Iterator[Picture]:
    """Notes shots as an encode in one go has them, and passes pictures on.

    The temporal filter, embeddings, a guard and maps of what matters each look at pictures of their own.
    """
    # Loads torch.
    from scene.enhance.colour import studio_luma
    from scene.importance.follow import luma_for_shots
    from scene.temporal.shots import ShotDetector, eight_bit_luma, thumbnail

    detector, guard, focus = ShotDetector(), ShotDetector(), ShotDetector()
    pictures, filtered = tee(pictures)
    embedding = None if enhancer is None else enhancer.embedding_shots(filtered)
    if embedding is None:
        del filtered
    for number, picture in enumerate(pictures):
        if detector.begins(thumbnail(eight_bit_luma(picture))):
            seen.shots.append(number)
        if embedding is not None and next(embedding):
            seen.embedding_shots.append(number)
        if guarded and guard.begins(studio_luma(picture)):
            seen.guard_shots.append(number)
        if focused and focus.begins(luma_for_shots(eight_bit_luma(picture))):
            seen.focus_shots.append(number)
        yield picture
