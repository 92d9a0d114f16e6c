"""Samples through an encoder and libvmaf: what a CRF gives."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np

from scene.errors import InputError, MissingError, SceneError
from scene.measure.libvmaf import parse_frames, parse_xpsnr_frames, probe_arguments, probe_graph, xpsnr_graph
from scene.picture import Picture, PictureFormat, Plane
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.trial import stream_trial
from scene.video.ffmpeg import FFmpeg, ProcessError, StoppedError, find_ffmpeg, input_name
from scene.video.rawvideo.y4m import Y4MHeader, write_frame, write_header
from scene.video.source.probe import SourceInfo
from scene.video.source.samples import Sample

PREFIX = "scene-search-"


@dataclass(frozen=True, slots=True)
class SampleScore:
    """A sample after encoding.

    Attributes:
        packets: coded bytes of each, in coding order; the first holds the key frame with which a sample begins.
        frames: every frame's own scores, by name of metric.
    """

    packets: tuple[int, ...]
    frames: Mapping[str, tuple[float, ...]]


class SampleScorer:
    """Encodes samples and compares them with the source. Calls may overlap, from any thread.

    Args:
        ffmpeg: of `find_scoring_ffmpeg`; its `stop` ends encodes too.
        metrics: by name of `scene.metrics.scores.Scores`, at least one of the VMAF models among them.
        info: of the source.
        folder: private.
        threads: of libvmaf.
    """

    def __init__(self, ffmpeg: FFmpeg, metrics: Sequence[str], info: SourceInfo, folder: Path, threads: int) -> None:
        self._ffmpeg = ffmpeg
        self._metrics = metrics
        self._info = info
        self._folder = folder
        self._threads = threads

    def __call__(self, sample: Sample, source: Sample, settings: EncoderSettings) -> SampleScore:
        """Encodes a sample on one thread and measures it.

        Args:
            sample: the pictures to encode.
            source: those of the same frames before any change.

        Raises:
            SceneError: the encoder or libvmaf failed, or `stop` was set.
            OSError: there is no room.
        """
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            distorted, reference = folder / "distorted.y4m", folder / "reference.y4m"
            sizes: list[int] = []
            given = zip(sample.pictures(), sample.stamps, strict=True)
            decoded = stream_trial(given, settings, self._info, sizes)
            write_lumas(distorted, self._unless_stopped(decoded), self._info.format)
            write_lumas(reference, self._unless_stopped(source.pictures()), self._info.format)
            frames = score_frames(self._ffmpeg, distorted, reference, self._metrics, folder, self._threads)
        if len(frames[self._metrics[0]]) != len(sample.stamps):
            raise SceneError(f"libvmaf compared {len(frames[self._metrics[0]])} of {len(sample.stamps)} frames")
        return SampleScore(tuple(sizes), frames)

    def _unless_stopped(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        for picture in pictures:
            if self._ffmpeg.stop.is_set():
                raise StoppedError("stopped")
            yield picture


def find_scoring_ffmpeg(metrics: Sequence[str]) -> FFmpeg:
    """The ffmpeg program, after it has compared two pictures with these metrics.

    Raises:
        MissingError: there is none, or it cannot do that.
    """
    needed = "install imageio-ffmpeg or name an ffmpeg program with libvmaf in $SCENE_FFMPEG"
    try:
        ffmpeg = replace(find_ffmpeg(), stop=threading.Event())
    except MissingError as error:
        raise MissingError(f"measuring needs libvmaf: {needed}.") from error
    fmt = PictureFormat(256, 256)
    grey = Picture(fmt, tuple(np.full(shape, 128, np.uint8) for shape in fmt.plane_shapes))
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
            picture = Path(name) / "trial.y4m"
            write_lumas(picture, [grey, grey], fmt)
            score_frames(ffmpeg, picture, picture, metrics, Path(name), 1)
    except (ProcessError, InputError) as error:
        raise MissingError(f"{ffmpeg.path} cannot measure {', '.join(metrics)}: {needed}.") from error
    return ffmpeg


def score_frames(
    ffmpeg: FFmpeg, distorted: Path, reference: Path, metrics: Sequence[str], folder: Path, threads: int
) -> dict[str, tuple[float, ...]]:
    """Every frame's scores of one file against another, frame by frame.

    Raises:
        ProcessError: ffmpeg failed, or was stopped.
        InputError: it gave no scores.
    """
    logs = folder / "libvmaf.json", folder / "xpsnr.txt"
    of_libvmaf = [name for name in metrics if name != "xpsnr_y"]
    graphs = [probe_graph(logs[:1], of_libvmaf, threads)]
    if "xpsnr_y" in metrics:
        graphs.append(xpsnr_graph(logs[1]))
    for graph in graphs:
        ffmpeg.run(probe_arguments([input_name(distorted)], input_name(reference), graph))
    try:
        frames = parse_frames(logs[0].read_bytes(), of_libvmaf)
        if "xpsnr_y" in metrics:
            frames["xpsnr_y"] = parse_xpsnr_frames(logs[1].read_text("ascii", "replace"))
    except FileNotFoundError:
        # libvmaf can fail while ffmpeg ends with 0.
        raise InputError("libvmaf gave no scores") from None
    return frames


def write_lumas(path: Path, pictures: Iterable[Picture], like: PictureFormat) -> None:
    """Luma as YUV4MPEG2 as `scene compare` measures it: of limited range and 8 or 10 bit, with an even size.

    Args:
        like: the size, the depth (10 for all but 8) and the range of the source; an encoder may have padded the size.
    """
    depth = 8 if like.bit_depth == 8 else 10
    fmt = PictureFormat(like.width - like.width % 2, like.height - like.height % 2, depth)
    neutral = np.full(fmt.plane_shapes[1], 1 << (depth - 1), np.uint8 if depth == 8 else np.uint16)
    with path.open("wb") as stream:
        write_header(stream, Y4MHeader(fmt, Fraction(25)))
        for picture in pictures:
            luma = _limited(picture.planes[0][: fmt.height, : fmt.width], picture.format, like.full_range, depth)
            write_frame(stream, Picture(fmt, (luma, neutral, neutral)))


def _limited(luma: Plane, fmt: PictureFormat, full_range: bool, depth: int) -> Plane:
    if not full_range and fmt.bit_depth == depth:
        return luma
    unit = 2.0 ** (depth - 8)
    if full_range:
        codes = luma.astype(np.float32) * (219 * unit / (2**fmt.bit_depth - 1)) + 16 * unit
    else:
        codes = luma.astype(np.float32) * (unit / 2.0 ** (fmt.bit_depth - 8))
    rounded = np.floor(codes + 0.5).clip(0, 2**depth - 1)
    return cast(Plane, rounded.astype(np.uint8 if depth == 8 else np.uint16))
