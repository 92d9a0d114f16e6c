"""Comparing files that were made elsewhere with their source, by the measurements of the grid."""

from __future__ import annotations

import itertools
import logging
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scene.errors import InputError, UsageError, VerificationError
from scene.evaluation.visuals.draw import View, caption, draw
from scene.evaluation.visuals.side_by_side import SideBySide
from scene.measure.clip import Clip, Recipe, make_reference, open_clips
from scene.measure.names import display_name
from scene.measure.point import Comparison, compare
from scene.measure.raw_names import raw_layout
from scene.measure.raw_video import RawVideo, read_lumas
from scene.measure.workspace import workspace
from scene.progress import OnProgress, Progress, silent
from scene.video.ffmpeg import SAFE_INPUT, FFmpeg, ProcessError, input_name, require_filters

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ComparedFile:
    """A distorted file and what it measured.

    Attributes:
        clip: the file; its name is unique among those compared.
        video: its coded size.
        comparison: its scores against the reference.
    """

    clip: Clip
    video: VideoPackets
    comparison: Comparison

    def kbps(self, rate: Fraction) -> float:
        """Kilobits of video per second, at so many frames per second."""
        return float(self.video.bytes * 8 * rate / self.comparison.scores.frames / 1000)


@dataclass(frozen=True, slots=True)
class ComparedFiles:
    """Files against one reference.

    Attributes:
        reference: the source.
        recipe: how much of it was compared.
        width, height, bit_depth: of the pictures that were compared.
        files: in the order given.
        side_by_sides: one, if it was asked for.
    """

    reference: Clip
    recipe: Recipe
    width: int
    height: int
    bit_depth: int
    files: tuple[ComparedFile, ...]
    side_by_sides: tuple[SideBySide, ...]


def open_files(reference: Path, distorted: Sequence[Path]) -> tuple[Clip, tuple[Clip, ...]]:
    """Looks at the files; two distorted ones of one name are called by their whole path.

    Raises:
        InputError: one is missing, no regular file, or holds no video of a supported kind.
        UsageError: a file is given twice, or is not of the reference's size.
    """
    (source,) = open_clips([reference])
    clips = [open_clips([path])[0] for path in distorted]
    names = [clip.name for clip in clips]
    clips = [
        clip if names.count(clip.name) == 1 else replace(clip, name=display_name(str(path)))
        for clip, path in zip(clips, distorted, strict=True)
    ]
    for clip in clips:
        if [other.name for other in clips].count(clip.name) > 1:
            raise UsageError(f"{clip.name} is given twice.")
        if (clip.width, clip.height) != (source.width, source.height):
            raise UsageError(
                f"{clip.name} is {clip.width}x{clip.height} and {source.name} is {source.width}x{source.height}; "
                "how to scale is for you to choose, so scale one of them first."
            )
    return source, tuple(clips)


def compare_files(
    ffmpeg: FFmpeg,
    reference: Clip,
    distorted: Sequence[Clip],
    *,
    frames: int | None = None,
    side_by_side: bool = False,
    jobs: int = 1,
    threads: int = 1,
    on_progress: OnProgress = silent,
) -> ComparedFiles:
    """Scores every file against the reference, frame n against frame n.

    All become 4:2:0 of limited range first, in the reference's bit depth: deeper files are rounded, shallower ones
    shifted up. A file that seems to be a frame early or late is warned about.

    Args:
        reference, distorted: of `open_files`.
        frames: compare only the first so many.
        side_by_side: whether to draw the frame where the first and the last file (a single one and the
            reference) differ most.
        jobs: how many files to compare side by side.
        threads: of libvmaf, in each.

    Raises:
        MissingError: ffmpeg lacks libvmaf.
        VerificationError: a file has more or fewer frames than the reference, or libvmaf gave no scores.
        InputError: a file cannot be decoded.
        StoppedError: the work was given up.
    """
    # Giving up here must not stop whatever else the caller runs.
    ffmpeg = replace(ffmpeg, stop=threading.Event())
    require_filters(ffmpeg, "libvmaf", "xpsnr")
    recipe = Recipe(frames)
    done = 0
    on_progress(Progress(done, len(distorted)))
    with workspace() as folder:
        source = make_reference(ffmpeg, reference, recipe, folder / "reference.y4m")
        bench = _Bench(ffmpeg, recipe, source, folder, threads)
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="compare")
        try:
            futures = [pool.submit(bench.measure, clip) for clip in distorted]
            pending = set(futures)
            while pending:
                finished, pending = wait(pending, timeout=1, return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                done += len(finished)
                on_progress(Progress(done, len(distorted)))
            files = tuple(future.result() for future in futures)
        finally:
            # After an error or an interruption: kill what runs.
            if done < len(distorted):
                ffmpeg.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        side_by_sides = (bench.draw(reference, files),) if side_by_side else ()
    fmt = source.header.format
    return ComparedFiles(reference, recipe, fmt.width, fmt.height, fmt.bit_depth, files, side_by_sides)


class _Bench:
    """Compares files with one reference."""

    def __init__(self, ffmpeg: FFmpeg, recipe: Recipe, reference: RawVideo, folder: Path, threads: int) -> None:
        self.ffmpeg = ffmpeg
        self.recipe = recipe
        self.reference = reference
        self.folder = folder
        self.threads = threads

    def measure(self, clip: Clip) -> ComparedFile:
        """Decodes, counts and scores one file."""
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as name:
            private = Path(name)
            raw = self.decode(clip, private)
            if raw.frames != self.reference.frames:
                raise VerificationError(
                    f"{clip.name} has {raw.frames} frames and the reference has {self.reference.frames}; "
                    "limit both with `frames` if they begin at the same frame"
                )
            shift = frame_shift(self.reference, raw)
            if shift:
                _log.warning(
                    "%s seems to be one frame %s; its scores say little", clip.name, "late" if shift > 0 else "early"
                )
            comparison = compare(self.ffmpeg, raw.path, self.reference, folder=private, threads=self.threads)
            return ComparedFile(clip, video_packets(self.ffmpeg, clip, self.recipe.frames), comparison)

    def decode(self, clip: Clip, folder: Path) -> RawVideo:
        """A file as raw video: as a reference is made of a clip, in the file's own depth."""
        return make_reference(self.ffmpeg, clip, self.recipe, folder / "distorted.y4m")

    def draw(self, reference: Clip, files: Sequence[ComparedFile]) -> SideBySide:
        """The side-by-side picture of all files."""
        views = [View("source", "the unprocessed source", lambda _: self.reference)]
        for file in files:
            said = caption(file.video.codec, file.kbps(reference.rate), file.comparison.scores)
            views.append(View(file.clip.name, said, partial(self._same_depth, file.clip)))
        pair = (1, len(files)) if len(files) > 1 else (0, 1)
        codecs = ", ".join(dict.fromkeys(file.video.codec for file in files))
        return draw(self.ffmpeg, views, pair, self.folder, clip=reference.name, codec=codecs, rate=reference.rate)

    def _same_depth(self, clip: Clip, folder: Path) -> RawVideo:
        return self.decode(replace(clip, bit_depth=self.reference.header.format.bit_depth), folder)


_BLOCK = 16
_FRAMES = 250
# A shift is believed where it leaves less than this share of the difference, and takes away this many code values.
_SHARE = 0.5
_CODES = 0.25


def frame_shift(reference: RawVideo, distorted: RawVideo) -> int:
    """By how many frames `distorted` seems to come late: 1, 0, or -1 where it comes early.

    Frame n is compared with the reference's frames n - 1, n and n + 1 by the mean absolute difference of luma over
    blocks of 16x16, which hardly sees what encoders do. Only the first 250 frames are looked at; where nothing moves
    the answer is 0.

    Args:
        reference, distorted: of one size; their bit depths may differ.
    """
    own, other = (_small(video) for video in (reference, distorted))
    count = min(len(own), len(other))
    if count < 3:
        return 0
    inner = other[1 : count - 1]
    apart = {shift: float(np.abs(inner - own[1 - shift : count - 1 - shift]).mean()) for shift in (0, 1, -1)}
    best = min(apart, key=lambda shift: apart[shift])
    gained = apart[0] - apart[best]
    return best if apart[best] < _SHARE * apart[0] and gained > _CODES else 0


def _small(video: RawVideo) -> npt.NDArray[np.float32]:
    """Means over blocks of the first frames, (frames, rows, columns), in 8-bit code values."""
    scale = 1 << (video.header.format.bit_depth - 8)
    frames = []
    for luma in itertools.islice(read_lumas(video), _FRAMES):
        rows, columns = (side // _BLOCK for side in luma.shape)
        # Every fourth row is enough for a mean.
        blocks = luma[: rows * _BLOCK : 4, : columns * _BLOCK].reshape(rows, _BLOCK // 4, columns, _BLOCK)
        frames.append(blocks.mean(axis=(1, 3), dtype=np.float32) / scale)
    return np.stack(frames)


_UNSET = -(1 << 63)


@dataclass(frozen=True, slots=True)
class VideoPackets:
    """The coded video of a file.

    Attributes:
        codec: as ffmpeg names it: h264, hevc, av1, vvc, vp9, rawvideo.
        bytes: of its packets; neither container nor sound count.
    """

    codec: str
    bytes: int


def video_packets(ffmpeg: FFmpeg, clip: Clip, frames: int | None = None) -> VideoPackets:
    """Adds up the packets of a clip's video stream.

    Args:
        frames: count only the packets shown first, so many; in coding order where the file has no time stamps.

    Raises:
        InputError: the file cannot be read.
    """
    if clip.raw is not None:
        size = clip.path.stat().st_size
        return VideoPackets(
            "rawvideo", size if frames is None else min(size, frames * raw_layout(clip.path).frame_bytes)
        )
    arguments = [
        *(*SAFE_INPUT, "-i", input_name(clip.path), "-map", f"0:{clip.stream}"),
        *("-c", "copy", "-f", "framecrc", "-"),
    ]
    try:
        listing = ffmpeg.run(arguments).stdout.decode("ascii", "replace").splitlines()
        codec = next(line.split()[-1] for line in listing if line.startswith("#codec_id"))
        fields = [[int(value) for value in line.split(",")[:5]] for line in listing if not line.startswith("#")]
        packets = [(pts, size) for _, _, pts, _, size in fields]
    except (ProcessError, StopIteration, ValueError) as error:
        raise InputError(f"the packets of {clip.name} cannot be read ({error})") from error
    if all(pts != _UNSET for pts, _ in packets):
        packets.sort()
    return VideoPackets(codec, sum(size for _, size in packets[:frames]))
