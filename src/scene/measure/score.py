"""The one way to score: pictures against a reference by ffmpeg's libvmaf and xpsnr, and the ffmpeg that can do it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np

from scene.errors import InputError, MissingError, VerificationError
from scene.measure.libvmaf import ClipScores, LogFiles, parse_scores, score_arguments
from scene.measure.raw_video import RawVideo, write_raw_video
from scene.metrics.scores import FRAME_METRICS
from scene.picture import Picture, PictureFormat, Plane
from scene.video.ffmpeg import FFmpeg, ProcessError, find_ffmpeg
from scene.video.rawvideo.y4m import Y4MHeader

# Of luma files: any rate will do, since frame n is compared with frame n.
_RATE = Fraction(25)


def score(
    ffmpeg: FFmpeg,
    distorted: Path,
    reference: Path,
    metrics: Sequence[str] = FRAME_METRICS,
    *,
    folder: Path,
    threads: int = 1,
) -> ClipScores:
    """The scores of one uncompressed file against another; see `score_all`."""
    (scores,) = score_all(ffmpeg, [distorted], reference, metrics, folder=folder, threads=threads)
    return scores


def score_all(
    ffmpeg: FFmpeg,
    distorted: Sequence[Path],
    reference: Path,
    metrics: Sequence[str] = FRAME_METRICS,
    *,
    folder: Path,
    threads: int = 1,
) -> list[ClipScores]:
    """The scores of several uncompressed files against one reference, side by side in one ffmpeg.

    Args:
        distorted, reference: YUV4MPEG2 files of the same size and depth; frame n is compared with frame n.
        metrics: by name of `scene.metrics.scores.FRAME_METRICS`, at least one of the VMAF models among them.
        folder: private; logs are left there.
        threads: of libvmaf, for each of `distorted`.

    Returns:
        One for each of `distorted`, in order. A metric has the same values whatever others are asked for.

    Raises:
        ProcessError: ffmpeg failed, or was stopped.
        VerificationError: libvmaf gave no scores.
        InputError: it gave something else.
    """
    logs = [LogFiles(folder / f"libvmaf-{n}.json", folder / f"xpsnr-{n}.txt") for n in range(len(distorted))]
    wanted = [file for log in logs for file in ((log.libvmaf, log.xpsnr) if "xpsnr_y" in metrics else (log.libvmaf,))]
    for file in wanted:
        file.unlink(missing_ok=True)
    completed = ffmpeg.run(score_arguments(distorted, reference, logs, metrics, threads))
    # libvmaf can fail (a picture too small for one of its features) while ffmpeg ends with 0.
    if not all(file.exists() for file in wanted):
        reason = completed.messages.splitlines()[:1] or ["no message"]
        raise VerificationError(f"libvmaf gave no scores: {reason[0]}")
    return [
        parse_scores(
            log.libvmaf.read_bytes(),
            log.xpsnr.read_text("ascii", "replace") if "xpsnr_y" in metrics else None,
            metrics,
        )
        for log in logs
    ]


def require_ffmpeg(metrics: Sequence[str], purpose: str) -> FFmpeg:
    """The ffmpeg program, after it has scored two pictures with these metrics; with a `stop` of its own.

    Args:
        purpose: what needs it, as the beginning of a sentence.

    Raises:
        MissingError: there is none, or it cannot do that.
    """
    model = " and its model of VMAF v1" if "vmaf_v1" in metrics else ""
    needed = f"{purpose} needs an ffmpeg with libvmaf{model}: install imageio-ffmpeg or name one in $SCENE_FFMPEG"
    try:
        ffmpeg = replace(find_ffmpeg(), stop=threading.Event())
    except MissingError as error:
        raise MissingError(needed) from error
    try:
        with tempfile.TemporaryDirectory(prefix="scene-trial-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            trial = write_lumas(folder / "trial.y4m", [np.full((256, 256), 128, np.uint8)] * 2, 8)
            score(ffmpeg, trial.path, trial.path, metrics, folder=folder)
    except (ProcessError, VerificationError, InputError) as error:
        raise MissingError(f"{needed} ({ffmpeg.path}: {error})") from error
    return ffmpeg


def write_lumas(path: Path, lumas: Iterable[Plane], bit_depth: int) -> RawVideo:
    """Luma planes, (H, W) of even sides, as a YUV4MPEG2 file of limited range with neutral chroma.

    Args:
        lumas: at least one; uint8 where `bit_depth` is 8, else uint16.
        bit_depth: 8 or 10.

    Raises:
        InputError: there is none.
        OSError: there is no room.
    """
    planes = iter(lumas)
    first = next(planes, None)
    if first is None:
        raise InputError("there are no pictures to score")
    height, width = first.shape
    fmt = PictureFormat(width, height, bit_depth)
    neutral = np.full(fmt.plane_shapes[1], 1 << (bit_depth - 1), np.uint8 if bit_depth == 8 else np.uint16)

    def pictures() -> Iterable[Picture]:
        yield Picture(fmt, (first, neutral, neutral))
        for plane in planes:
            yield Picture(fmt, (plane, neutral, neutral))

    return write_raw_video(path, Y4MHeader(fmt, _RATE), pictures())


def scored_depth(bit_depth: int) -> int:
    """The depth in which pictures of a depth are scored: 8 stays, all others become 10."""
    return 8 if bit_depth == 8 else 10


def limited_luma(picture: Picture, like: PictureFormat) -> Plane:
    """A picture's luma as `scene compare` measures it: of limited range and 8 or 10 bit, with even sides.

    Args:
        like: the size, the depth and the range of the source; an encoder may have padded the size.
    """
    depth = scored_depth(like.bit_depth)
    own = picture.format.bit_depth
    luma = picture.planes[0][: like.height - like.height % 2, : like.width - like.width % 2]
    if not like.full_range and own == depth:
        return luma
    unit = 2.0 ** (depth - 8)
    if like.full_range:
        codes = luma.astype(np.float32) * (219 * unit / (2**own - 1)) + 16 * unit
    else:
        codes = luma.astype(np.float32) * (unit / 2.0 ** (own - 8))
    rounded = np.floor(codes + 0.5).clip(0, 2**depth - 1)
    return cast(Plane, rounded.astype(np.uint8 if depth == 8 else np.uint16))
