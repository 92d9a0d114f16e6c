"""Joining: the chunks' packets and the source's other tracks become the file that an encode in one go makes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import InputError, SceneError
from scene.files import PendingFile
from scene.jobs.chunks.folder import WorkFolder
from scene.jobs.chunks.journal import JobPlan, identify, load_plan
from scene.jobs.chunks.run import finished_chunk
from scene.jobs.encode import EncodeRequest, EncodeResult, check_request
from scene.jobs.provenance import provenance
from scene.progress import OnProgress, Progress, silent
from scene.video.container.verify import verify
from scene.video.container.writer import Writer
from scene.video.encoders.base import Encoder
from scene.video.encoding.coded import CodedPacket, in_sequence, read_about, read_coded
from scene.video.source.decode import Decoder, Unit

if TYPE_CHECKING:
    from scene.jobs.guard import GuardReport


def join_job(work: Path, on_progress: OnProgress = silent, *, formalities: EncodeRequest | None = None) -> EncodeResult:
    """Writes the destination of a job whose chunks are all there; it appears when it is complete and verified.

    The work folder stays as it is, so that a join that fails can be done again. Nothing is done where the destination
    is the job's output already.

    Args:
        formalities: a request whose `overwrite` and `verify` count instead of those of the plan.

    Raises:
        UsageError: the destination is there, or the container does not hold what the source has.
        InputError: the plan or the source is missing, damaged or has changed.
        MissingError: this is another version of the program than the plan's.
        VerificationError: what was written is not what was encoded.
        BusyError: another process plans or joins the job.
        SceneError: chunks are missing, or the output cannot be written.
    """
    started = time.monotonic()
    folder = WorkFolder(work)
    plan = load_plan(folder.plan)
    plan.check_versions()
    folder.make()
    with folder.locked():
        if plan.is_joined and plan.output is not None:
            return _result(folder, plan, started, plan.output.bytes)
        missing = [index for index in range(plan.chunks) if finished_chunk(folder, plan, index) is None]
        if missing:
            named = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise SceneError(f"{work}: {len(missing)} of {plan.chunks} chunks are missing or damaged: {named}.")
        request = plan.request
        if formalities is not None:
            request = replace(request, overwrite=formalities.overwrite, verify=formalities.verify)
        if identify(request.source) != plan.source:
            raise InputError(f"{request.source} has changed since the job was planned; plan it again.")
        with PendingFile(request.destination) as pending, folder.output(pending.path):
            written = _write(folder, plan, request, pending, on_progress)
            _note_output(folder, plan, pending)
            pending.publish(overwrite=request.overwrite)
    return _result(folder, plan, started, written)


def _note_output(folder: WorkFolder, plan: JobPlan, pending: PendingFile) -> None:
    """Before it has its name, so that whoever is killed then can tell it from another's file of that name."""
    try:
        replace(plan, output=identify(pending.path)).save(folder.plan)
    except OSError as error:
        raise SceneError(f"{folder.plan} cannot be written: {error.strerror}.") from None


def _result(folder: WorkFolder, plan: JobPlan, started: float, size: int) -> EncodeResult:
    return EncodeResult(
        destination=plan.request.destination,
        frames=plan.frames,
        seconds=time.monotonic() - started,
        source_bytes=plan.source.bytes,
        bytes=size,
        model=plan.model,
        damage=plan.damage,
        guard=_guard_report(folder, plan),
    )


def _guard_report(folder: WorkFolder, plan: JobPlan) -> GuardReport | None:
    """Of all chunks together; None without a guard, and where chunks have been removed since."""
    if not plan.guard_shots:
        return None
    from scene.jobs.guard import GuardReport  # loads torch

    with contextlib.suppress(InputError):
        chunks = [read_about(folder.chunk(index), whole=False)["guard"] for index in range(plan.chunks)]
        return GuardReport(**{name: sum(chunk[name] for chunk in chunks) for name in ("shots", "passed", "seconds")})
    return None


def _write(
    folder: WorkFolder, plan: JobPlan, request: EncodeRequest, pending: PendingFile, on_progress: OnProgress
) -> int:
    """Writes and verifies the unpublished file; its size."""
    checked = check_request(request)
    encoding = checked.plan
    tag = provenance(
        *(encoding.encoder, encoding.settings, request.enhancement, plan.model),
        focus=request.focus,
        guard=bool(plan.guard_shots),
        targets=() if plan.quality is None else plan.quality.targets,
        deinterlace=request.deinterlace,
        size=request.size,
    )
    with Decoder(encoding.info, writable=False, tolerant=request.skip_damage, quiet=True) as decoder:
        writer = Writer(
            *(pending.path, checked.container, decoder.container, encoding, tag, checked.chosen.copied),
            tolerant=request.skip_damage,
        )
        try:
            writer.start()
            _check_parameter_sets(folder, plan, writer, encoding.encoder)
            clock = encoding.info.time_base
            _merge(decoder, writer, plan, clock, _coded(folder, plan, clock), on_progress)
            writer.finish_coded()
        except BaseException:
            pending.discard()
            writer.abort()
            raise
    verify(pending.path, request.destination, writer.written(), request.verify)
    return pending.path.stat().st_size


def _check_parameter_sets(folder: WorkFolder, plan: JobPlan, writer: Writer, encoder: Encoder) -> None:
    """Raises SceneError where a chunk's pictures would be decoded by what is another encoder's."""
    # x265 writes its settings among them, and with these the CRF.
    own = encoder.without_messages(writer.parameter_sets)
    for index in range(plan.chunks):
        theirs = bytes.fromhex(read_about(folder.chunk(index), whole=False)["parameter_sets"])
        if encoder.without_messages(theirs) != own:
            raise SceneError(
                f"{folder.chunk(index)} has other parameter sets than this encoder; remove it and run it again."
            )


def _coded(folder: WorkFolder, plan: JobPlan, time_base: Fraction) -> Iterator[CodedPacket]:
    """The packets of the whole video in coding order."""
    durations = dict(zip(plan.table.stamps, plan.table.durations, strict=True))
    for index in range(plan.chunks):
        packets = read_coded(folder.chunk(index), time_base)
        for packet in in_sequence(packets, plan.table.stamps, plan.starts[index]):
            packet.duration = packet.duration or durations.get(packet.pts or 0, 0)
            yield packet


def _merge(
    decoder: Decoder,
    writer: Writer,
    plan: JobPlan,
    time_base: Fraction,
    coded: Iterator[CodedPacket],
    on_progress: OnProgress,
) -> None:
    """Writes both kinds of packets, those of the video when the source comes to the time of its frames."""
    stamps, done = plan.table.stamps, 0

    def advance(until: Fraction | float) -> None:
        nonlocal done
        while done < len(stamps) and stamps[done] * time_base <= until:
            writer.write_coded(next(coded), stamps[done])
            done += 1
            on_progress(Progress(done, len(stamps), {"bytes": writer.bytes}))

    for packet in decoder.packets():
        time_of = packet.dts if packet.dts is not None else packet.pts
        if time_of is not None:
            advance(time_of * packet.time_base)
        if packet.stream.index != plan.stream:
            writer.write(Unit([packet]))
    advance(float("inf"))
