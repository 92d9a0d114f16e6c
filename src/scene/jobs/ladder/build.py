"""Build a ladder: every rung enhanced and encoded at its own size, then packaged: what `scene ladder` does."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from scene.errors import SceneError, UsageError, VerificationError
from scene.files import write_atomically
from scene.jobs.chunks.journal import FileIdentity, identify, request_record, versions
from scene.jobs.encode import EncodeRequest, check_request, encode
from scene.jobs.ladder.hull import LadderPlan, plan_ladder
from scene.jobs.ladder.page import hull_page
from scene.jobs.ladder.rungs import Rung, parse_rungs
from scene.measure.cache import PointCache
from scene.options import EnhanceOptions
from scene.progress import StageProgress, silent_stages
from scene.video.container.select import Selection, choose_streams
from scene.video.encoders import ENCODERS, find_encoder
from scene.video.encoders.params import join_encoder_args, joined_items
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.plan import check_settings
from scene.video.ffmpeg import find_ffmpeg
from scene.video.packaging.coded_video import CodedVideo, read_coded_video
from scene.video.packaging.packager import (
    DASH_MANIFEST,
    HLS_MANIFEST,
    ManifestFormat,
    PackagedStream,
    find_packager,
    package,
)
from scene.video.packaging.renditions import Rendition, find_renditions, write_rendition
from scene.video.source.open import open_input, require_readable
from scene.video.source.presentation import upright_info
from scene.video.source.probe import SourceInfo, probe

log = logging.getLogger(__name__)

# Of a bitrate: what its peaks may reach, and how much a player has to hold of it.
_PEAK, _BUFFER = 1.5, 3.0
_PACKAGE = "package"
HULL_PAGE, HULL_JSON = "hull.html", "hull.json"
_PLAN_FORM = "ladder plan 1"
_LEAST_SECONDS, _MOST_SECONDS = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class LadderRequest:
    """One video to deliver.

    Attributes:
        source: a video.
        destination: a folder to write.
        rungs: such as "1080p:5M" or "720p:crf=26", see `parse_rungs`; none to choose them on the video's hull, see
            `plan_ladder`.
        form: of the manifests; "cmaf" has both over the same segments.
        segment_seconds: length of a segment, which begins with a key frame in all rungs.
        settings: of the encoder, without a CRF or a bitrate.
        enhancement: of every rung's pictures at its own size.
        deinterlace: make a progressive frame of each interlaced one.
        audio: take over audio; subtitles are taken over in any case.
        overwrite: replace a ladder that is there.
        command: that asked for it, for the page of the hull.
    """

    source: Path
    destination: Path
    rungs: tuple[str, ...] = ()
    form: ManifestFormat = "cmaf"
    segment_seconds: float = 4.0
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    enhancement: EnhanceOptions = field(default_factory=EnhanceOptions)
    deinterlace: bool = False
    audio: bool = True
    overwrite: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class RungResult:
    """A rung that is there.

    Attributes:
        size: (width, height) of its pictures.
        rate: as a user would write it.
        kbps: of its video, in the mean.
        bytes: of its video.
    """

    size: tuple[int, int]
    rate: str
    kbps: float
    bytes: int


@dataclass(frozen=True, slots=True)
class LadderResult:
    """What was done.

    Attributes:
        manifests: to give to players.
        rungs: best first.
        plan: how they were chosen; None where they were given.
        audio, subtitles: how many tracks there are of them.
        bytes: of all files.
        seconds: of wall-clock time.
    """

    destination: Path
    manifests: tuple[Path, ...]
    rungs: tuple[RungResult, ...]
    plan: LadderPlan | None
    audio: int
    subtitles: int
    bytes: int
    seconds: float


def build_ladder(request: LadderRequest, stages: StageProgress = silent_stages) -> LadderResult:
    """Encodes every rung and packages them; the destination appears when it is complete.

    Rungs are kept in a folder beside the destination until then, so that a run that is ended goes on where it was.

    Args:
        stages: opened as "hull" where rungs are to be chosen, which counts points, and for every rung, which counts
            frames.

    Raises:
        UsageError: invalid arguments, or a destination that is there and no ladder.
        InputError: the source is missing, damaged or of a kind that is not supported.
        MissingError: the encoder, the device, the ffmpeg program or the packager is not on this machine.
        VerificationError: rungs that are not aligned, or an output that is not what was encoded.
        SceneError: something cannot be written.
    """
    started = time.monotonic()
    packager = find_packager()
    info, renditions = _check(request)
    source = identify(request.source)
    work = _work_folder(request.destination)
    plan = None if request.rungs else _planned(request, info, work, source, stages)
    rungs = parse_rungs(request.rungs, info) if plan is None else tuple(planned.rung for planned in plan.rungs)
    encodes = [_encode_request(request, rung, info, work, source) for rung in rungs]
    for wanted in encodes:
        # Beside the destination, since the work folder is not there yet.
        check_request(replace(wanted, destination=work.with_suffix(".mp4"), overwrite=True))
    _make(work)
    videos = [_encoded(rung, wanted, stages) for rung, wanted in zip(rungs, encodes, strict=True)]
    _check_aligned(rungs, videos)
    ffmpeg = find_ffmpeg()
    for rendition in renditions:
        write_rendition(ffmpeg, request.source, rendition, work / rendition.file_name)
    shutil.rmtree(work / _PACKAGE, ignore_errors=True)
    streams = [
        PackagedStream(e.destination.name, "video", f"video/{r.name}") for r, e in zip(rungs, encodes, strict=True)
    ]
    streams += [_packaged(rendition) for rendition in renditions]
    package(packager, work, streams, _PACKAGE, request.form, request.segment_seconds, info.rate)
    if plan is not None:
        _write_plan(plan, work / _PACKAGE, request)
    _publish(work / _PACKAGE, request)
    shutil.rmtree(work, ignore_errors=True)
    files = [path for path in request.destination.rglob("*") if path.is_file()]
    return LadderResult(
        destination=request.destination,
        manifests=tuple(request.destination / name for name in _manifests(request.form)),
        rungs=tuple(RungResult(r.size, r.rate, v.kbps, v.bytes) for r, v in zip(rungs, videos, strict=True)),
        plan=plan,
        audio=sum(rendition.kind == "audio" for rendition in renditions),
        subtitles=sum(rendition.kind == "text" for rendition in renditions),
        bytes=sum(path.stat().st_size for path in files),
        seconds=time.monotonic() - started,
    )


def _check(request: LadderRequest) -> tuple[SourceInfo, tuple[Rendition, ...]]:
    """What of the source is taken, once nothing stands against it."""
    settings = request.settings
    encoder = find_encoder(settings.codec)
    if not encoder.segment_args:
        able = ", ".join(name for name, other in ENCODERS.items() if other.segment_args)
        raise UsageError(f"a ladder cannot be made with {encoder.name}; use {able}.")
    if settings.crf is not None or settings.bitrate is not None:
        name = "crf" if settings.crf is not None else "bitrate"
        raise UsageError(f"every rung has a rate of its own; leave `{name}` out.")
    ours = {name for name, _ in joined_items(f"{encoder.segment_args}:{encoder.peak_args}")}
    for name, _ in joined_items(settings.encoder_args):
        if name in ours:
            raise UsageError(f"`encoder_args` {name} is what keeps rungs aligned; leave it out.")
    if not _LEAST_SECONDS <= request.segment_seconds <= _MOST_SECONDS:
        raise UsageError(f"`segment_seconds` {request.segment_seconds:g} makes no sense; give some seconds, such as 4.")
    check_settings(settings)
    require_readable(request.source)
    destination = request.destination
    if destination.exists() and not _is_replaceable(destination):
        raise UsageError(f"{destination} is there and is no ladder; name another folder.")
    if destination.exists() and any(destination.iterdir()) and not request.overwrite:
        raise UsageError(f"{destination} exists; give `overwrite` to replace it.")
    with open_input(request.source) as opened:
        video = choose_streams(opened, Selection(), request.source).video
        renditions = find_renditions(opened, request.source)
    # Packaging loses what a container says of rotation.
    info = upright_info(probe(request.source, video, deinterlace=request.deinterlace))
    if request.deinterlace and not request.rungs:
        raise UsageError("the hull is found on samples of the file as it is; with `deinterlace` give `rungs`.")
    kept = tuple(rendition for rendition in renditions if request.audio or rendition.kind != "audio")
    return info, kept


def _make(work: Path) -> None:
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SceneError(f"{work} cannot be made: {error.strerror}.") from None


def _planned(
    request: LadderRequest, info: SourceInfo, work: Path, source: FileIdentity, stages: StageProgress
) -> LadderPlan:
    """The plan on the video's hull, from an earlier run where there is one of the same settings."""
    settings = _with_segments(request, info)
    enhancement = request.enhancement
    key = {
        "settings": asdict(settings),
        "enhancement": asdict(enhancement),
        "source": [source.bytes, source.digest],
        "with": versions(),
    }
    known = PointCache(work / "plan")
    plan = known.load_record(key, _PLAN_FORM, LadderPlan)
    if plan is None:
        _make(work)
        with stages("hull", "points") as on_progress:
            plan = plan_ladder(info, settings, enhancement, on_progress)
        known.store_record(key, _PLAN_FORM, plan)
    return plan


def _write_plan(plan: LadderPlan, folder: Path, request: LadderRequest) -> None:
    page = hull_page(
        plan,
        name=request.source.name,
        model=request.enhancement.model,
        codec=request.settings.codec,
        command=request.command,
    )
    write_atomically(folder / HULL_PAGE, page)
    write_atomically(folder / HULL_JSON, json.dumps(asdict(plan), indent=1) + "\n")


def _is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and (
        not any(folder.iterdir()) or any((folder / name).is_file() for name in (HLS_MANIFEST, DASH_MANIFEST))
    )


def _manifests(form: ManifestFormat) -> tuple[str, ...]:
    return {"hls": (HLS_MANIFEST,), "dash": (DASH_MANIFEST,), "cmaf": (HLS_MANIFEST, DASH_MANIFEST)}[form]


def _work_folder(destination: Path) -> Path:
    whole = destination.absolute()
    return whole.with_name(f"{whole.name}.job")


def _with_segments(request: LadderRequest, info: SourceInfo) -> EncoderSettings:
    """The settings with key frames where segments begin."""
    gop = max(1, round(request.segment_seconds * info.rate))
    own = joined_items(find_encoder(request.settings.codec).segment_args.format(gop=gop))
    users = joined_items(request.settings.encoder_args)
    return replace(request.settings, encoder_args=join_encoder_args([*own, *users]))


def _encode_request(
    request: LadderRequest, rung: Rung, info: SourceInfo, work: Path, source: FileIdentity
) -> EncodeRequest:
    """The encode of a rung, to a file whose name says all that it depends on."""
    settings = replace(_with_segments(request, info), crf=rung.crf, bitrate=rung.bitrate)
    peak_args = find_encoder(settings.codec).peak_args
    if rung.bitrate is not None and peak_args:
        own = peak_args.format(peak=round(_PEAK * rung.bitrate), buffer=round(_BUFFER * rung.bitrate))
        settings = replace(settings, encoder_args=f"{own}:{settings.encoder_args}")
    wanted = EncodeRequest(
        source=request.source,
        destination=work / f"{rung.name}.mp4",
        settings=settings,
        enhancement=request.enhancement,
        maps=(f"0:{info.stream_index}",),
        deinterlace=request.deinterlace,
        autorotate=True,
        size=rung.size,
    )
    record = {"request": request_record(wanted), "source": [source.bytes, source.digest], "with": versions()}
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]
    return replace(wanted, destination=work / f"{rung.name}-{digest}.mp4")


def _encoded(rung: Rung, wanted: EncodeRequest, stages: StageProgress) -> CodedVideo:
    """Encodes a rung unless an earlier run did."""
    if wanted.destination.exists():
        log.info("%s: it is there from an earlier run.", rung.name)
    else:
        with stages(rung.name, "frames") as on_progress:
            result = encode(wanted, on_progress)
        log.info("%s: %d frames in %.1f s, model %s", rung.name, result.frames, result.seconds, result.model)
    return read_coded_video(wanted.destination)


def _check_aligned(rungs: Sequence[Rung], videos: Sequence[CodedVideo]) -> None:
    """Raises VerificationError where a player could not go from one rung to another at the end of a segment."""
    for rung, video in zip(rungs, videos, strict=True):
        if video.key_frames != videos[0].key_frames:
            raise VerificationError(f"{rung.name} has its key frames elsewhere than {rungs[0].name}.")


def _packaged(rendition: Rendition) -> PackagedStream:
    folder = f"{rendition.kind}/{rendition.index}"
    group = f"audio-{rendition.codec}" if rendition.kind == "audio" else ""
    return PackagedStream(rendition.file_name, rendition.kind, folder, rendition.language, rendition.title, group)


def _publish(package_folder: Path, request: LadderRequest) -> None:
    """Gives the finished ladder its name; one that was there is gone only when this one is."""
    destination = request.destination
    before = package_folder.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    try:
        if destination.exists():
            destination.replace(before)
        package_folder.replace(destination)
    except OSError as error:
        if before.exists() and not destination.exists():
            before.replace(destination)
        raise SceneError(
            f"{destination} cannot be written: {error.strerror}; the ladder is in {package_folder}."
        ) from None
