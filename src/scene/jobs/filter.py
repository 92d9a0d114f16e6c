"""Frames in, enhanced frames out, between two programs: what `scene filter` does."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scene.errors import SceneError, UsageError
from scene.files import PendingFile, check_destination
from scene.jobs.pipeline import run_pipeline
from scene.options import BYPASS, EnhanceOptions
from scene.picture import Frame, PictureFormat
from scene.progress import OnProgress, Progress, silent
from scene.video.encoders import DEFAULT_ENCODER
from scene.video.encoders.settings import QuantiserCodecName
from scene.video.hdr import warn_of_hdr
from scene.video.rawvideo.frames import RawKind
from scene.video.rawvideo.streams import (
    ConstantRateCheck,
    FileSource,
    StreamSource,
    is_pipe,
    make_sink,
    open_pipe,
    open_source,
)
from scene.video.rawvideo.y4m import has_siting
from scene.video.source.open import reason

if TYPE_CHECKING:
    from scene.enhance import Enhancer

log = logging.getLogger(__name__)

_MOST_LATENCY_S = 60.0
_WAITING = 4
_SUFFIXES: dict[str, RawKind] = {".y4m": "y4m", ".nut": "nut"}


@dataclass(frozen=True, slots=True)
class FilterRequest:
    """Frames to enhance.

    Attributes:
        source: a video file, a pipe with YUV4MPEG2 or nut, or "-" for standard input.
        destination: a .y4m or .nut file, a pipe, or "-" for standard output.
        enhancement: what to do to frames.
        codec: the encoder that will take them.
        crf: of that encoder; needed where the model is conditioned on the quantiser.
        kind: of a pipe's content, None for that of the source, y4m where the source is neither.
        overwrite: replace the destination if it exists.
        skip_damage: carry on, with a warning, where the source is damaged or ends too soon.
        latency: seconds that a frame may wait to be enhanced, before it is passed through as it is; None for as long as
            it takes.
    """

    source: Path
    destination: Path
    enhancement: EnhanceOptions = field(default_factory=EnhanceOptions)
    codec: QuantiserCodecName = DEFAULT_ENCODER
    crf: float | None = None
    kind: RawKind | None = None
    overwrite: bool = False
    skip_damage: bool = False
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class FilterResult:
    """What was done.

    Attributes:
        frames: written, all of the source's.
        passed: of these, what was passed through since there was no time.
        seconds: wall-clock time.
        model: the network's identity, "none" for a bypass.
        damage: places of the source that were passed over.
    """

    frames: int
    seconds: float
    model: str
    damage: int
    passed: int = 0


def filter(request: FilterRequest, on_progress: OnProgress = silent) -> FilterResult:
    """Sends a source's frames through the network, in order, each on its way as soon as it is done.

    A file appears under its name when it is complete. What the form of the output cannot carry is logged as a warning.

    Raises:
        UsageError: invalid arguments, a terminal in place of a pipe.
        InputError: the source is missing, unreadable, damaged or of a kind that is not supported.
        MissingError: the device or the model is missing.
        SceneError: the output cannot be written.
        BrokenPipeError: the reader has left before the end; there is nothing more to do.
    """
    started = time.monotonic()
    if request.latency is not None and not 0 <= request.latency <= _MOST_LATENCY_S:
        raise UsageError(f"`latency` {request.latency:g} makes no sense; give 0 to {_MOST_LATENCY_S:g} seconds.")
    halt = threading.Event()
    wanted = _wanted_kind(request)
    writable = not request.enhancement.changes_nothing
    with open_source(request.source, halt, writable=writable, tolerant=request.skip_damage) as source:
        enhancer = _open_enhancer(request, source.info.format)
        kind = wanted or source.kind or "y4m"
        if kind == "nut" and source.info.format.full_range:
            log.warning("%s: its full range cannot be carried by nut; set it at the encoder.", source.name)
        if kind == "nut" and not source.info.rated:
            log.warning("%s says no frame rate; it is taken for %g frames/s.", source.name, source.info.rate)
        if isinstance(source, FileSource):
            _warn_of_losses(source, kind)
            if enhancer:
                warn_of_hdr(source.name, source.details.colour.transfer)
        steadiness = ConstantRateCheck(source.name, source.info.time_base, source.info.rate)
        frames = passed = 0
        # When the frames that wait for the model were read.
        arrived: deque[float] = deque()

        def read() -> Iterator[Frame]:
            for frame in source.frames():
                if kind == "y4m":
                    steadiness.add(frame.pts)
                if request.latency is not None:
                    arrived.append(time.monotonic())
                yield frame

        def work(items: Iterator[Frame]) -> Iterator[Frame]:
            nonlocal passed
            if enhancer is None or request.latency is None:
                yield from _enhanced(enhancer, items)
                return
            from scene.enhance.deadline import Deadline, stepwise

            step, deadline = stepwise(enhancer), Deadline(request.latency)
            for frame in items:
                if deadline.passes(time.monotonic() - arrived.popleft()):
                    passed += 1
                else:
                    frame.replace(step(frame.picture()))
                yield frame

        def write(items: Iterator[Frame], _: Callable[[], None]) -> None:
            nonlocal frames
            for frame in items:
                sink.write(frame)
                frames += 1
                on_progress(_progress(frames, source, started))
            sink.finish()

        with _open_target(request, halt) as stream:
            try:
                sink = make_sink(kind, stream, source.info)
                run_pipeline(read, work, write, capacity=_capacity(request, source), on_stop=halt.set)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise SceneError(f"writing the output failed: {reason(error)}.") from error
        steadiness.finish()
    return FilterResult(
        frames=frames,
        seconds=time.monotonic() - started,
        model=enhancer.identity if enhancer else BYPASS,
        damage=source.damage,
        passed=passed,
    )


def _capacity(request: FilterRequest, source: StreamSource | FileSource) -> int:
    """Frames that may wait: as many as come within the latency."""
    return _WAITING if request.latency is None else math.ceil(request.latency * float(source.info.rate)) + _WAITING


def _open_enhancer(request: FilterRequest, fmt: PictureFormat) -> Enhancer | None:
    if request.enhancement.changes_nothing:
        return None
    # Torch takes seconds to import, and a bypass does without.
    from scene.enhance import open_enhancer

    # A deadline leaves no time to wait for frames to come.
    options = request.enhancement if request.latency is None else request.enhancement.without_look_ahead()
    enhancer = open_enhancer(options, codec=request.codec, crf=request.crf)
    enhancer.check(fmt)
    return enhancer


def _wanted_kind(request: FilterRequest) -> RawKind | None:
    """The form that the destination's name or the request asks for, None where neither does."""
    if is_pipe(request.destination):
        return request.kind
    suffix = request.destination.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(f"{request.destination}: give the output one of the suffixes .y4m, .nut, or - for a pipe.")
    if request.kind not in {None, _SUFFIXES[suffix]}:
        raise UsageError(f"{request.destination} and `format` {request.kind} contradict each other; leave one out.")
    return _SUFFIXES[suffix]


@contextmanager
def _open_target(request: FilterRequest, halt: threading.Event) -> Iterator[Any]:
    if is_pipe(request.destination):
        with open_pipe(request.destination, halt) as writer:
            yield writer
        return
    check_destination(request.source, request.destination, overwrite=request.overwrite)
    with PendingFile(request.destination) as pending:
        with pending.path.open("wb") as file:
            yield file
        pending.publish(overwrite=request.overwrite)


def _enhanced(enhancer: Enhancer | None, frames: Iterator[Frame]) -> Iterator[Frame]:
    if enhancer is None:
        yield from frames
        return
    # Two views of one iterator: what is enhanced, and what waits for it.
    frames, read = tee(frames)
    for frame, picture in zip(frames, enhancer.stream(frame.picture() for frame in read), strict=True):
        frame.replace(picture)
        yield frame


def _progress(frames: int, source: StreamSource | FileSource, started: float) -> Progress:
    total = source.details.frames if isinstance(source, FileSource) else None
    fps = frames / max(time.monotonic() - started, 1e-3)
    # The total is an estimate, which a source may exceed.
    return Progress(frames, None if total is None else max(total, frames), {"fps": round(fps, 2)})


def _warn_of_losses(source: FileSource, kind: RawKind) -> None:
    """Names what a file has and uncompressed video between programs cannot carry."""
    lost = [f"its {name} streams" for name in source.others()]
    details = source.details
    if details.display_matrix is not None:
        lost.append("its rotation")
    if details.hdr:
        lost.append("its HDR metadata")
    if details.chroma_location not in {None, "left"} and (kind == "nut" or not has_siting(details.format)):
        lost.append(f"its chroma location ({details.chroma_location})")
    for part in lost:
        log.warning("%s: %s cannot be carried by %s.", source.name, part, kind)
    colour = details.colour.in_words()
    if colour:
        log.warning("%s: %s carries no colour tags; set them at the encoder: %s.", source.name, kind, colour)
