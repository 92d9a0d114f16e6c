"""One chunk: its frames as they are within the whole video, enhanced and encoded to a file of packets."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import InputError, SceneError, UsageError
from scene.files import PendingFile
from scene.jobs.chunks.focused import FocusedPart
from scene.jobs.chunks.folder import BusyError, WorkFolder
from scene.jobs.chunks.guarded import GuardedPart
from scene.jobs.chunks.journal import JobPlan, identify, load_plan
from scene.jobs.chunks.quality import chunk_crf
from scene.jobs.encode import EncodeRequest, open_enhancer_for, open_guard_for, presented
from scene.jobs.pipeline import run_pipeline
from scene.jobs.prepare.rehearsal import without_warnings
from scene.picture import Picture
from scene.progress import OnProgress, Progress, silent
from scene.video.container.formats import container_of
from scene.video.encoding.coded import CodedEncoder, read_about
from scene.video.encoding.plan import EncodePlan, check_settings, plan_encode
from scene.video.source.decode import DecodedFrame
from scene.video.source.passage import read_passage
from scene.video.source.probe import probe

if TYPE_CHECKING:
    from scene.enhance import Enhancer
    from scene.jobs.guard import Guard


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What was done.

    Attributes:
        index: of the chunk, from 0.
        frames: of the chunk.
        bytes: coded.
        crf: at which it was encoded.
        seconds: wall-clock time that it took, now or before.
        done_before: whether it was there already.
    """

    index: int
    frames: int
    bytes: int
    crf: float
    seconds: float
    done_before: bool


def run_chunk(work: Path, index: int, on_progress: OnProgress = silent, *, source: Path | None = None) -> ChunkResult:
    """Encodes a chunk of a planned job, unless that has been done; any number of processes may do so at once.

    Args:
        source: a copy of the job's source, where that itself cannot be read.

    Raises:
        UsageError: there is no such chunk.
        InputError: the plan or the source is missing or damaged, or the source has changed.
        MissingError: this is another version of the program than the plan's, or lacks what is needed.
        BusyError: another process is at work on this chunk.
        SceneError: encoding or writing failed.
    """
    folder = WorkFolder(work)
    plan = load_plan(folder.plan)
    if not 0 <= index < plan.chunks:
        raise UsageError(f"{work} has chunks 0 to {plan.chunks - 1}, and none with `index` {index}.")
    folder.make()
    done = finished_chunk(folder, plan, index)
    if done is not None:
        return done
    plan.check_versions()
    with folder.locked(index):
        # Another process may have done it meanwhile.
        done = finished_chunk(folder, plan, index)
        if done is not None:
            return done
        folder.remove_leftovers(index)
        identity = plan.identity
        if source is not None:
            plan = replace(plan, request=replace(plan.request, source=source))
        if identify(plan.request.source) != plan.source:
            raise InputError(f"{plan.request.source} has changed since the job was planned; plan it again.")
        with without_warnings():
            return _run(folder, plan, identity, index, on_progress)


def run_job(work: Path, on_progress: OnProgress = silent) -> list[ChunkResult]:
    """Encodes all chunks that are not done and that no other process is at, one after the other; see `run_chunk`."""
    folder = WorkFolder(work)
    plan = load_plan(folder.plan)
    results: list[ChunkResult] = []
    for index in range(plan.chunks):
        done = sum(result.frames for result in results)

        def report(progress: Progress, done: int = done) -> None:
            on_progress(Progress(done + progress.done, plan.frames, progress.fields))

        with contextlib.suppress(BusyError):
            results.append(run_chunk(work, index, report))
    return results


def finished_chunk(folder: WorkFolder, plan: JobPlan, index: int, *, whole: bool = True) -> ChunkResult | None:
    """What a chunk's file says, None where there is none, or one that is damaged or of another plan.

    Args:
        whole: look for damage in all of it, not at its ends alone.
    """
    first, end = plan.span(index)
    try:
        about = read_about(folder.chunk(index), whole=whole)
    except InputError:
        return None
    if (about.get("job"), about.get("frames"), about.get("packets")) != (plan.identity, end - first, end - first):
        return None
    figures = int(about["bytes"]), float(about["crf"]), float(about["seconds"])
    return ChunkResult(index, end - first, *figures, done_before=True)


def encode_plan(plan: JobPlan, request: EncodeRequest) -> EncodePlan:
    """The job's video, resolved on this machine. Raises UsageError, InputError or MissingError as `scene.encode`."""
    check_settings(request.settings)
    info = probe(request.source, plan.stream, deinterlace=request.deinterlace)
    return plan_encode(request.settings, presented(info, request), request.focus.told)


def _run(folder: WorkFolder, plan: JobPlan, identity: str, index: int, on_progress: OnProgress) -> ChunkResult:
    started = time.monotonic()
    first, end = plan.span(index)
    request = _at_quality(plan, first, end, on_progress)
    encoding = replace(encode_plan(plan, request), is_part=True)
    crf = encoding.encoder.crf_of(request.settings)
    frames = size = 0

    def report() -> None:
        fps = frames / max(time.monotonic() - started, 1e-3)
        on_progress(Progress(frames, end - first, {"fps": round(fps, 2), "bytes": size}))

    enhancer = open_enhancer_for(request, encoding)
    guard = open_guard_for(request, enhancer, encoding) if plan.guard_shots else None
    passage = _Passage(plan, encoding, enhancer, guard, index, report)
    passage.prime()
    with PendingFile(folder.chunk(index)) as pending:
        muxer = container_of(request.destination).muxer
        after = None if end == plan.frames else plan.table.stamps[end]
        encoder = CodedEncoder(pending.path, encoding, muxer, plan.table.stamps[first], after)
        try:

            def write(ready: Iterator[DecodedFrame], check: Callable[[], None]) -> None:
                nonlocal frames, size
                for frame in ready:
                    encoder.encode(frame)
                    frames, size = encoder.frames, encoder.bytes
                    report()
                seconds = round(time.monotonic() - started, 3)
                about = {"job": identity, "frames": encoder.frames, "crf": crf, "seconds": seconds}
                encoder.finish(check, {**about, "guard": None if guard is None else asdict(guard.report)})

            run_pipeline(passage.decoded, passage.enhanced, write, on_stop=encoder.kill)
        finally:
            encoder.close()
        if encoder.frames != end - first:
            raise SceneError(
                f"{plan.request.source} gave {encoder.frames} of the {end - first} frames of chunk {index}."
            )
        pending.publish(overwrite=True)
    return ChunkResult(index, end - first, encoder.bytes, crf, time.monotonic() - started, done_before=False)


def _at_quality(plan: JobPlan, first: int, end: int, on_progress: OnProgress) -> EncodeRequest:
    """The job's request with the chunk's own CRF, where it is to reach a quality; else as it is."""
    if plan.quality is None:
        return plan.request
    stamps, video = plan.table.stamps, encode_plan(plan, plan.request)

    def report(crf: float | None) -> None:
        on_progress(Progress(0, end - first, {} if crf is None else {"crf": crf}))

    start = (stamps[first] - stamps[0]) * video.info.time_base
    found = chunk_crf(plan.request, video, plan.quality, start, end - first, report)
    return replace(plan.request, settings=replace(plan.request.settings, crf=found.crf))


class _Passage:
    """The frames of a chunk and those around it that the encoder is given, and those that the enhancer must see.

    Args:
        guard: of a job with one; the frames around the chunk are not for it to judge.
        on_skip: called for each frame that is decoded and not needed.
    """

    def __init__(
        self,
        plan: JobPlan,
        encoding: EncodePlan,
        enhancer: Enhancer | None,
        guard: Guard[DecodedFrame] | None,
        index: int,
        on_skip: Callable[[], None],
    ) -> None:
        self._plan, self._encoding, self._enhancer, self._on_skip = plan, encoding, enhancer, on_skip
        self._guard = None if guard is None else GuardedPart(plan, guard, *plan.span(index))
        self._shots, self._embedding_shots = set(plan.shots), set(plan.embedding_shots)
        first, end = plan.span(index)
        trail = encoding.encoder.trail_frames(within_shot=end not in self._shots)
        self._first, self._end = max(0, first - encoding.encoder.lead_frames), min(end + trail, plan.frames)
        if self._guard is not None:
            self._end = max(self._end, self._guard.seen_until)
        self._begin, self._stop = self._around(self._first, self._end)
        self._focus = FocusedPart(plan, self._first, first) if plan.request.focus.focus else None

    def prime(self) -> None:
        """Sees what of the chunk's first shot lies before the chunk, for its map, its embedding and for a guard."""
        if self._focus is not None and self._focus.earlier is not None:
            self._focus.see(self._read(*self._focus.earlier))
        enhancer = self._enhancer
        if enhancer is not None and self._guard is not None and self._guard.earlier is not None:
            first, end = self._guard.earlier
            begin, stop = self._around(first, end)
            enhancer.follow(self._begins(begin, stop))
            self._guard.judge_earlier(self._filtered(self._read(begin, stop), slice(first - begin, end - begin)))
        if enhancer is None or not self._embedding_shots:
            return
        shot = max(number for number in self._embedding_shots if number <= self._first)
        # Without renewals a shot has the embedding of its first frame.
        last = self._first if self._plan.request.enhancement.semantic_interval else min(shot + 1, self._first)
        if shot < last:
            begin, stop = self._around(shot, last)
            enhancer.follow(self._begins(begin, stop), (number == shot for number in range(shot, last)))
            filtered = enhancer.filter_in_time(frame.picture() for frame in self._read(begin, stop))
            enhancer.embed(islice(filtered, shot - begin, last - begin))

    def decoded(self) -> Iterator[DecodedFrame]:
        """The chunk's frames, and those around it."""
        return self._read(self._begin, self._stop)

    def enhanced(self, frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
        """The chunk's frames enhanced, of all that `decoded` gives."""
        enhancer = self._enhancer
        told = (lambda frame: frame) if self._focus is None else self._focus.told
        smoothing = None if self._focus is None else self._focus.smoothing
        if enhancer is None:
            for frame in map(told, frames):
                if smoothing is not None:
                    picture = frame.picture()
                    frame.replace(smoothing.apply(picture, picture))
                yield frame
            return
        enhancer.focus = None if smoothing is None else smoothing.apply
        enhancer.follow(
            self._begins(self._begin, self._stop),
            (number in self._embedding_shots for number in range(self._first, self._end)),
        )
        filtered = self._filtered(frames, slice(self._first - self._begin, self._end - self._begin))
        own = ((told(frame), picture) for frame, picture in filtered)
        if self._guard is not None:
            yield from self._guard.guarded(self._first, own)
            return
        waiting, read = tee(own)
        pictures = enhancer.enhance_filtered(picture for _, picture in read)
        for (frame, _), picture in zip(waiting, pictures, strict=True):
            frame.replace(picture)
            yield frame

    def _filtered(self, frames: Iterator[DecodedFrame], own: slice) -> Iterator[tuple[DecodedFrame, Picture]]:
        """Some of the frames with what the temporal filter makes of them; it looks at all."""
        assert self._enhancer is not None
        frames, read = tee(frames)
        filtered = self._enhancer.filter_in_time(frame.picture() for frame in read)
        yield from islice(zip(frames, filtered, strict=True), own.start, own.stop)
        for _ in frames:
            pass

    def _around(self, first: int, end: int) -> tuple[int, int]:
        """The first frame, and the one after the last, that must be decoded for some frames to be enhanced."""
        if self._enhancer is None:
            return first, end
        shot = max(number for number in self._plan.shots if number <= first)
        before, after = self._enhancer.look_around(first - shot)
        return first - before, min(end + after, self._plan.frames)

    def _begins(self, first: int, end: int) -> Iterator[bool]:
        return (number in self._shots for number in range(first, end))

    def _read(self, first: int, end: int) -> Iterator[DecodedFrame]:
        return read_passage(
            *(self._encoding.info, self._plan.table, first, end),
            tolerant=self._plan.request.skip_damage,
            on_skip=self._on_skip,
        )
