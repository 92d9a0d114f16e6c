"""What a method does to the pictures themselves, before any encoder: how much of it is a global gain of luma.

VMAF rewards contrast, and a gain and an offset of luma are the cheapest way to get it. So the change is taken apart:
the gain and offset that come closest to it (least squares over all luma samples of the clip) are applied to the source
alone, and what VMAF says of that is put beside what it says of the whole change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from scene.measure.point import compare
from scene.measure.raw_video import RawVideo, read_lumas, write_raw_video
from scene.picture import Picture, Plane
from scene.video.ffmpeg import FFmpeg
from scene.video.rawvideo.y4m import read_frames, read_header

# To be raised whenever the same pictures would give other figures than before.
EFFECT_VERSION = 1
# Below this many points of VMAF a share of the gain would be a share of noise.
MIN_GAIN = 1.0


class PrefilterEffect(msgspec.Struct, frozen=True, rename={"affine_gain_share": "affine_share"}):
    """A method's change to a clip, measured without an encoder.

    Attributes:
        gain, offset: of luma, `gain * y + offset` with y in 8-bit code values, closest to the processed pictures.
        clipped: share of luma samples that the method moved to the ends of the limited range (16, 235) or beyond, in
            [0, 1]; those that were there before do not count.
        vmaf_gain: VMAF (unclipped) of the processed pictures less that of the source itself, against the source.
        affine_gain: the same of the source under `gain` and `offset` alone.
        affine_share: affine_gain / vmaf_gain; None where vmaf_gain is below one point.
        cambi: banding of the processed pictures less that of the source.
        flicker: of the processed pictures, see `scene.metrics.flicker`.
    """

    gain: float
    offset: float
    clipped: float
    vmaf_gain: float
    affine_gain: float
    affine_gain_share: float | None
    cambi: float
    flicker: float | None


def measure_effect(
    ffmpeg: FFmpeg, reference: RawVideo, processed: RawVideo, *, folder: Path, threads: int = 1
) -> PrefilterEffect:
    """Measures what a method did to a reference.

    Args:
        processed: of `scene.evaluation.grid.variant.make_variant`; as many frames as the reference, of its format.
        folder: where a private folder may be made for raw video.
        threads: of libvmaf.

    Raises:
        ProcessError, VerificationError, InputError: see `scene.measure.point.compare`.
    """
    gain, offset = _fit(reference, processed)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        private = Path(name)
        twin = private / "affine.y4m"
        _write_affine(reference, gain, offset, twin)
        own, whole, affine = (
            compare(ffmpeg, path, reference, folder=private, threads=threads).scores
            for path in (reference.path, processed.path, twin)
        )
    vmaf_gain, affine_gain = whole.vmaf - own.vmaf, affine.vmaf - own.vmaf
    return PrefilterEffect(
        gain=gain,
        offset=offset / _code(reference),
        clipped=_clipped(reference, processed),
        vmaf_gain=vmaf_gain,
        affine_gain=affine_gain,
        affine_gain_share=affine_gain / vmaf_gain if vmaf_gain >= MIN_GAIN else None,
        cambi=whole.cambi - own.cambi,
        flicker=whole.flicker,
    )


def _fit(reference: RawVideo, processed: RawVideo) -> tuple[float, float]:
    """Least-squares gain and offset from one clip's luma to the other's, in code values of their depth."""
    count, x_sum, y_sum, xx, xy = 0, 0.0, 0.0, 0.0, 0.0
    for source, changed in zip(read_lumas(reference), read_lumas(processed), strict=True):
        x, y = source.astype(np.float64), changed.astype(np.float64)
        count += x.size
        x_sum += float(x.sum())
        y_sum += float(y.sum())
        xx += float((x * x).sum())
        xy += float((x * y).sum())
    variance = xx - x_sum * x_sum / count
    # A clip of one grey has no contrast to fit a gain to.
    gain = (xy - x_sum * y_sum / count) / variance if variance > count * 1e-6 else 1.0
    return gain, (y_sum - gain * x_sum) / count


def _write_affine(reference: RawVideo, gain: float, offset: float, destination: Path) -> None:
    fmt = reference.header.format
    peak = (1 << fmt.bit_depth) - 1
    with reference.path.open("rb") as source:
        header = read_header(source, matrix=fmt.matrix)

        def changed() -> Iterator[Picture]:
            for picture in read_frames(source, header):
                codes = (picture.planes[0] * gain + offset).round().clip(0, peak)
                luma: Plane = codes.astype(np.uint8) if fmt.bit_depth == 8 else codes.astype(np.uint16)
                yield Picture(picture.format, (luma, *picture.planes[1:]))

        write_raw_video(destination, header, changed())


def _clipped(reference: RawVideo, processed: RawVideo) -> float:
    low, high = 16 * _code(reference), 235 * _code(reference)
    moved = samples = 0
    for source, changed in zip(read_lumas(reference), read_lumas(processed), strict=True):
        inside = (source > low) & (source < high)
        moved += int((inside & ((changed <= low) | (changed >= high))).sum())
        samples += source.size
    return moved / samples


def _code(video: RawVideo) -> int:
    """One 8-bit code value in code values of the video's depth."""
    return 1 << (video.header.format.bit_depth - 8)
