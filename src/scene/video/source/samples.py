"""Samples of a video: short runs of frames, spread over it, as raw pictures on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from scene.errors import InputError
from scene.picture import Picture, PictureFormat, Plane
from scene.video.pixel_format import frame_picture, source_format
from scene.video.source.excerpt import EARLIER_S, seek_before, shown_at
from scene.video.source.open import open_input, reason
from scene.video.source.presentation import Presenter
from scene.video.source.probe import SourceInfo, best_video

log = logging.getLogger(__name__)

# A video that is longer than its samples by no more than this factor is taken whole: then nothing is guessed.
_WHOLE = Fraction(5, 4)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a video that is wanted.

    Attributes:
        start: in seconds from the first frame.
        frames: how many, None for all to the end.
    """

    start: Fraction
    frames: int | None

    def length(self, rate: Fraction) -> Fraction:
        """In seconds, of so many frames a second; for a number of frames."""
        assert self.frames is not None
        return self.frames / rate


@dataclass(frozen=True, slots=True)
class Sample:
    """Consecutive pictures, in a file without a header: the planes of one picture after those of another.

    Attributes:
        format: of each picture.
        stamps: when each is shown, in the source's time base; they increase.
        start: of the first, in seconds from the video's first frame.
        seconds: that the pictures are shown for.
    """

    path: Path
    format: PictureFormat
    stamps: tuple[int, ...]
    start: float
    seconds: Fraction

    def pictures(self) -> Iterator[Picture]:
        """The pictures in order, one at a time."""
        with self.path.open("rb") as file:
            for _ in self.stamps:
                yield Picture(self.format, tuple(_read_plane(file, self.format, s) for s in self.format.plane_shapes))

    def with_pictures(self, path: Path, pictures: Iterable[Picture]) -> Sample:
        """The same sample with other pictures of the same format, which are written to a file."""
        with path.open("wb") as file:
            for picture in pictures:
                _write_planes(file, picture)
        return replace(self, path=path)


def plan_spans(seconds: Fraction, rate: Fraction, count: int, length: Fraction) -> tuple[Span, ...]:
    """Where to take samples of a video: each in the middle of one of `count` equal parts, or all of a short video.

    Args:
        seconds: how long the video is.
        rate: frames per second.
        count: of samples, at least 1.
        length: of each in seconds.
    """
    if seconds <= count * length * _WHOLE:
        return (Span(Fraction(0), None),)
    part = seconds / count
    frames = max(1, round(length * rate))
    return tuple(Span(part * index + (part - length) / 2, frames) for index in range(count))


def video_seconds(info: SourceInfo) -> Fraction:
    """How long the video stream is: as its container says, else its packets are counted.

    Raises:
        InputError: the file cannot be read.
    """
    with open_input(info.path) as container:
        stream = best_video(container, info.path)
        if stream.duration and stream.time_base:
            return stream.duration * stream.time_base
        if container.duration and stream.start_time is not None:
            return Fraction(container.duration, av.time_base)
        try:
            return sum(1 for packet in container.demux(stream) if packet.size) / info.rate
        except av.FFmpegError as error:
            raise InputError(f"{info.path} cannot be read to its end ({reason(error)}).") from None


def read_samples(
    info: SourceInfo, spans: Sequence[Span], folder: Path, on_sample: Callable[[], None] = lambda: None
) -> list[Sample]:
    """Decodes spans of a source into files; a span that reaches beyond the end gives fewer frames or none.

    Each is found by seeking: a key frame before it must be met, else it is tried again from further back. Where that
    fails (no index, no time stamps), the file is decoded once from its beginning.

    Args:
        spans: in order, not overlapping.
        folder: private.
        on_sample: is called after each.

    Raises:
        InputError: the source cannot be read, is damaged, interlaced or changes its size or format there, or no frame
            is in any of the spans.
        OSError: there is no room.
    """
    reader = _Reader(info, folder, on_sample)
    samples: list[Sample] = []
    for index, span in enumerate(spans):
        found = reader.seek(index, span)
        if found is None:
            log.info("%s: seeking does not work there, so it is decoded from its beginning.", info.path)
            samples += reader.take(None, list(enumerate(spans))[index:]) or []
            break
        samples += found
    if not samples:
        raise InputError(f"{info.path}: no frame of its video can be decoded where it is sampled.")
    return samples


class _Reader:
    def __init__(self, info: SourceInfo, folder: Path, on_sample: Callable[[], None]) -> None:
        self._info = info
        self._folder = folder
        self._on_sample = on_sample

    def seek(self, index: int, span: Span) -> list[Sample] | None:
        """One span, by seeking where it is not near the beginning; None where that gives no certain answer."""
        for earlier in EARLIER_S:
            if earlier is None:
                break
            if span.start <= earlier:
                return self.take(None, [(index, span)])
            try:
                found = self.take(span.start - earlier, [(index, span)])
            except InputError:
                # What cannot be decoded after a jump may be whole; if it is not, the pass from the beginning says so.
                continue
            if found:
                return found
        return None

    def take(self, seek: Fraction | None, spans: Sequence[tuple[int, Span]]) -> list[Sample] | None:
        """Spans in one pass from the key frame before `seek`, or from the beginning; None without a certain answer."""
        waiting = list(spans)
        samples: list[Sample] = []
        current: _Recording | None = None
        sure = seek is None
        try:
            with closing(self._frames(seek)) as frames:
                for time, frame in frames:
                    if time is None:
                        return None
                    # A key frame after the span's beginning: frames may be missing between them.
                    if not sure and time > waiting[0][1].start:
                        return None
                    sure = True
                    if current is None and waiting and time >= waiting[0][1].start:
                        current = _Recording(self._info, self._folder, *waiting.pop(0))
                    if current is not None and current.add(time, frame):
                        samples.append(current.finish())
                        current = None
                        self._on_sample()
                        if not waiting:
                            return samples
            if current is not None:
                samples.append(current.finish())
                self._on_sample()
            return samples
        finally:
            if current is not None:
                current.close()

    def _frames(self, seek: Fraction | None) -> Generator[tuple[Fraction | None, av.VideoFrame]]:
        path = self._info.path
        with open_input(path) as container:
            stream = best_video(container, path)
            stream.thread_type = "AUTO"
            if seek is not None and not seek_before(container, stream, seek):
                return
            # AVI stores no presentation times.
            by_dts = container.format.name == "avi"
            count = 0
            try:
                for packet in container.demux(stream):
                    for frame in self._decode(stream, packet, count > 0):
                        if by_dts:
                            frame.pts = frame.dts
                        time = shown_at(frame, stream)
                        if time is None and seek is None:
                            time = count / self._info.rate
                        count += 1
                        yield time, frame
            except av.FFmpegError as error:
                raise InputError(f"{path} cannot be read to its end ({reason(error)}).") from None

    def _decode(self, stream: VideoStream, packet: Packet[Any], begun: bool) -> list[av.VideoFrame]:
        try:
            return stream.decode(packet if packet.size else None)
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            # Before the first frame: a group of pictures whose beginning was jumped over.
            if begun:
                raise InputError(f"{self._info.path}: a frame cannot be decoded ({reason(error)}).") from None
            return []


class _Recording:
    """A sample that is being written."""

    def __init__(self, info: SourceInfo, folder: Path, index: int, span: Span) -> None:
        self._info = info
        self._span = span
        self._presenter = Presenter(info)
        self._path = folder / f"sample-{index}.raw"
        self._file = self._path.open("wb")
        self._stamps: list[int] = []
        self._start = Fraction(0)
        self._step = max(1, round(1 / (info.rate * info.time_base)))

    def add(self, time: Fraction, frame: av.VideoFrame) -> bool:
        """Writes a frame; True if it was the last one that is wanted."""
        info = self._info
        if frame.is_corrupt:
            raise InputError(f"{info.path}: a frame is damaged after {float(time):.2f} s.")
        coded = info.coded_format
        # Where chroma lies is the stream's to say.
        own = replace(source_format(frame, info.path), chroma_location=coded.chroma_location)
        if own != coded or frame.format.name != info.pixel_format:
            raise InputError(f"{info.path}: the picture changes after {float(time):.2f} s; split the file there first.")
        _write_planes(self._file, frame_picture(self._presenter(frame), info.format))
        if not self._stamps:
            self._start = time
        after = self._stamps[-1] + self._step if self._stamps else 0
        stamp = frame.pts
        self._stamps.append(after if stamp is None or (self._stamps and stamp <= self._stamps[-1]) else stamp)
        return len(self._stamps) == self._span.frames

    def finish(self) -> Sample:
        """Closes the file."""
        self._file.close()
        stamps = tuple(self._stamps)
        # The last picture is shown for as long as the others are on average.
        step = Fraction(stamps[-1] - stamps[0], len(stamps) - 1) if len(stamps) > 1 else Fraction(self._step)
        seconds = step * len(stamps) * self._info.time_base
        return Sample(self._path, self._info.format, stamps, float(self._start), seconds)

    def close(self) -> None:
        """Closes the file of a sample that is given up."""
        self._file.close()


def _write_planes(file: BinaryIO, picture: Picture) -> None:
    """Appends a picture's planes to a file."""
    for plane in picture.planes:
        file.write(np.ascontiguousarray(plane).data)


def _read_plane(file: BinaryIO, fmt: PictureFormat, shape: tuple[int, int]) -> Plane:
    dtype = np.uint8 if fmt.bit_depth == 8 else np.uint16
    return cast(Plane, np.fromfile(file, dtype, shape[0] * shape[1]).reshape(shape))
