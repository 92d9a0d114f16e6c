"""Where filtered frames come from and where they go: standard streams, pipes and files.

A source is a stream of YUV4MPEG2 or nut, or any file that can be decoded; a sink is one of the two forms.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from scene.errors import InputError, UsageError
from scene.picture import Frame
from scene.video.pixel_format import planar_name
from scene.video.rawvideo.frames import RawInfo, RawKind, RawSink
from scene.video.rawvideo.nut import NutSink, open_nut
from scene.video.rawvideo.pipes import PipeReader, PipeWriter, buffered
from scene.video.rawvideo.y4m import Y4MSink, open_y4m
from scene.video.source.decode import Decoder
from scene.video.source.open import reason, require_readable
from scene.video.source.probe import SourceInfo, probe

log = logging.getLogger(__name__)

STANDARD_STREAM = Path("-")
_Y4M = b"YUV4MPEG2 "


class StreamSource:
    """A stream that can be read only once.

    Args:
        stream: from its first byte on.
        name: what to call it in messages.
        tolerant: end with a warning where it is damaged or cut short instead of raising.

    Attributes:
        info: what its frames are.
        kind: "y4m" or "nut".
        damage: 1 once it was found damaged or cut short.

    Raises:
        InputError: it is neither YUV4MPEG2 nor nut, or holds no video that can be taken.
    """

    def __init__(self, stream: BinaryIO, name: str, *, tolerant: bool) -> None:
        self.name = name
        self.damage = 0
        self._tolerant = tolerant
        try:
            first = stream.peek(1)[:1]  # type: ignore[attr-defined]
            if not first:
                raise InputError(f"{name} is empty.")
            self.kind: RawKind = "nut" if first == b"n" else "y4m"
            source = open_nut(stream, name) if self.kind == "nut" else open_y4m(stream, name)
        except OSError as error:
            raise InputError(f"{name} cannot be read: {reason(error)}.") from None
        self.info = source.info
        self._frames = source.frames

    def frames(self) -> Iterator[Frame]:
        """All frames in order. Raises InputError where one is damaged or the last one is cut short, unless tolerant."""
        count = 0
        try:
            for frame in self._frames:
                yield frame
                count += 1
        except (InputError, OSError) as error:
            problem = f"{self.name} is damaged or cut short after {count} frames: {reason(error)}."
            if not self._tolerant:
                raise InputError(problem) from None
            self.damage = 1
            log.warning("%s", problem)
        if count == 0:
            raise InputError(f"{self.name} holds no frames.")


class FileSource:
    """A file that has to be decoded; see `Decoder`.

    Attributes:
        info: what its frames are.
        details: what else the file says.
    """

    kind = None

    def __init__(self, details: SourceInfo, decoder: Decoder) -> None:
        self.name = str(details.path)
        self.details = details
        self.info = RawInfo(
            format=details.format,
            pixel_format=planar_name(details.pixel_format),
            time_base=details.time_base,
            rate=details.rate,
            aspect=details.sample_aspect_ratio,
        )
        self._decoder = decoder

    @property
    def damage(self) -> int:
        """Places that were found damaged so far and passed over."""
        return self._decoder.damage

    def frames(self) -> Iterator[Frame]:
        """All frames in order; errors as for `Decoder.units`."""
        return (unit.frame for unit in self._decoder.units() if unit.frame is not None)

    def others(self) -> list[str]:
        """The kinds of the file's other streams, such as "audio", each once."""
        streams = self._decoder.container.streams
        return sorted({s.type or "data" for s in streams if s.index != self.details.stream_index})


@contextmanager
def open_source(
    path: Path, halt: threading.Event, *, writable: bool, tolerant: bool
) -> Iterator[StreamSource | FileSource]:
    """Opens what `path` names: standard input ("-"), a pipe, a YUV4MPEG2 file, or any video file.

    Args:
        halt: once set, a read that waits for data ends.
        writable: see `Decoder`.
        tolerant: pass over damage with a warning.

    Raises:
        UsageError: standard input is a terminal or closed.
        InputError: it cannot be read, or holds no video that can be taken.
    """
    if path == STANDARD_STREAM:
        yield _open_pipe(standard_input(), "standard input", halt, tolerant=tolerant)
    elif path.is_fifo():  # also /dev/stdin, and /dev/fd/63 of a shell's <(...)
        with path.open("rb", buffering=0) as pipe:
            yield _open_pipe(pipe.fileno(), str(path), halt, tolerant=tolerant)
    elif _begins_with(path, _Y4M):
        # FFmpeg's reader knows fewer headers, and the siting of chroma would be lost.
        with path.open("rb") as file:
            yield StreamSource(file, str(path), tolerant=tolerant)
    else:
        details = probe(path)
        with Decoder(details, writable=writable, tolerant=tolerant) as decoder:
            yield FileSource(details, decoder)


def _open_pipe(descriptor: int, name: str, halt: threading.Event, *, tolerant: bool) -> StreamSource:
    """A source that may have to wait for its first bytes.

    It waits in a thread of its own: in the main thread PyAV would swallow what a signal raises within a read.
    """
    stream = buffered(PipeReader(descriptor, halt))
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(StreamSource, stream, name, tolerant=tolerant).result()
        except BaseException:
            halt.set()
            raise


def standard_input() -> int:
    """The descriptor of standard input. Raises UsageError where that is closed or a terminal."""
    _require_stream(0, sys.stdin, "standard input", "send video to it (ffmpeg ... - | scene filter - ...)")
    return 0


def _require_stream(descriptor: int, stream: TextIO | None, name: str, remedy: str) -> None:
    """Raises UsageError where a standard stream is closed or a terminal."""
    # None where it was closed when the process began: by now its number may be that of another file.
    if stream is None:
        raise UsageError(f"{name} is closed; {remedy}.")
    if os.isatty(descriptor):
        raise UsageError(f"{name} is a terminal; {remedy}.")


def _begins_with(path: Path, magic: bytes) -> bool:
    require_readable(path)
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}.") from None


def is_pipe(path: Path) -> bool:
    """Whether frames go to somebody who reads them at once: "-", a named pipe, /dev/stdout."""
    return path == STANDARD_STREAM or path.is_fifo() or path.is_char_device()


@contextmanager
def open_pipe(path: Path, halt: threading.Event) -> Iterator[PipeWriter]:
    """A pipe to write to; waits where a named one has no reader yet.

    Args:
        halt: once set, a write that waits for the reader ends.

    Raises:
        UsageError: it is a terminal, or closed.
    """
    if path != STANDARD_STREAM:
        with path.open("wb", buffering=0) as pipe, PipeWriter(pipe.fileno(), halt) as writer:
            yield writer
        return
    _require_stream(1, sys.stdout, "standard output", "send it to an encoder (scene filter ... | ENCODER ...)")
    with PipeWriter(1, halt) as writer:
        yield writer


def make_sink(kind: RawKind, stream: Any, info: RawInfo) -> RawSink:
    """What writes frames in one of the two forms; errors as for `Y4MSink` and `NutSink`."""
    return NutSink(stream, info) if kind == "nut" else Y4MSink(stream, info)


class ConstantRateCheck:
    """Watches time stamps go by on their way into a form that has one frame rate, and warns where that loses them.

    A frame is off where it comes more than a tick earlier or later after the one before it than the rate says; ticks
    are those of the source, so that Matroska's milliseconds do no harm.

    Args:
        name: of the source.
        time_base: the unit of the time stamps in seconds.
        rate: frames per second.
    """

    def __init__(self, name: str, time_base: Fraction, rate: Fraction) -> None:
        self._name = name
        self._time_base = time_base
        self._rate = rate
        self._last: int | None = None
        self._frames = self._off = 0

    def add(self, pts: int) -> None:
        """Notes a frame's time stamp."""
        self._frames += 1
        if self._last is None:
            start = pts * self._time_base
            if abs(start) > self._time_base:
                log.warning("%s starts at %.3f s, and y4m can only start at 0.", self._name, float(start))
        elif abs((pts - self._last) * self._time_base - 1 / self._rate) > self._time_base:
            if not self._off:
                log.warning(
                    "%s has a variable frame rate (first at %.3f s), and y4m has one: frames keep their order but not "
                    "their times; nut keeps them (`format` nut).",
                    self._name,
                    float(self._last * self._time_base),
                )
            self._off += 1
        self._last = pts

    def finish(self) -> None:
        """Says how many frames were off."""
        if self._off:
            log.warning(
                "%s: %d of %d frames lost their duration, all are shown at %.3f frames/s.",
                self._name,
                self._off,
                self._frames,
                float(self._rate),
            )
