"""One point of a rate-distortion curve: encode, decode, compare, count."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import VerificationError
from scene.measure.cache import Measurement
from scene.measure.encode import CodecRun, encoder_settings
from scene.measure.libvmaf import ClipScores
from scene.measure.raw_video import RawVideo, count_raw_video, read_lumas
from scene.measure.score import score
from scene.metrics.flicker import flicker
from scene.metrics.regions import RegionScores, region_scores
from scene.metrics.scores import FRAME_METRICS, Scores
from scene.picture import PictureFormat
from scene.video.ffmpeg import FFmpeg, input_name

if TYPE_CHECKING:
    from scene.video.encoding.regions import EncoderFocus


@dataclass(frozen=True, slots=True)
class Comparison:
    """A distorted clip against its reference.

    Attributes:
        scores: of the whole clip.
        frames: of every frame, by name of `scene.metrics.scores.FRAME_METRICS`.
    """

    scores: Scores
    frames: Mapping[str, tuple[float, ...]]


def measure_point(
    ffmpeg: FFmpeg,
    reference: RawVideo,
    processed: RawVideo,
    run: CodecRun,
    crf: float,
    gop: int,
    *,
    parameters: tuple[str, ...] = (),
    focus: EncoderFocus | None = None,
    mask: RawVideo | None = None,
    known: Measurement | None = None,
    folder: Path,
    threads: int = 1,
) -> Measurement:
    """Encodes `processed` at one CRF and compares the decoded result with `reference`.

    Args:
        ffmpeg: for decoding and comparing; its `stop` ends the encoder too.
        gop: the key-frame interval in frames.
        parameters: see `encoder_settings`.
        focus: what the encoder is told of where bits matter.
        mask: of `scene.measure.regions.make_mask`, to score inside and outside of it too.
        known: what was measured of this point before, without the mask; no other figures are then computed anew.
        folder: private and empty; what is written there may be deleted afterwards.
        threads: of libvmaf.

    Raises:
        ProcessError: the encoder or ffmpeg failed.
        VerificationError: the decoded frames are not as many as the reference's, or not of its size.
        InputError: libvmaf gave no scores.
    """
    # Imported here: training needs PyAV only where a point is measured.
    from scene.video.encoding.isolated import encode_isolated

    stream = folder / f"encoded.{run.codec.raw_muxer}"
    settings = encoder_settings(run, crf, gop, parameters)
    seconds = encode_isolated(processed.path, stream, settings, ffmpeg.stop, focus)
    encoded = time.monotonic()
    size = stream.stat().st_size
    decoded = decode_encode(ffmpeg, stream, reference, folder=folder)
    regions = None if mask is None else score_regions(reference, decoded, mask)
    # Of another stream than before (another processor's code in an encoder) all figures are taken anew.
    if known is None or known.bytes != size:
        comparison = _compare(ffmpeg, decoded, reference, folder, threads)
        fmt = reference.header.format
        known = Measurement(size, fmt.width, fmt.height, fmt.bit_depth, comparison.scores, comparison.frames)
    return replace(known, encode_seconds=seconds, compare_seconds=time.monotonic() - encoded, regions=regions)


def compare(ffmpeg: FFmpeg, distorted: Path, reference: RawVideo, *, folder: Path, threads: int = 1) -> Comparison:
    """The scores of a video file against the reference; errors as for `measure_point`."""
    decoded = decode_encode(ffmpeg, distorted, reference, folder=folder)
    comparison = _compare(ffmpeg, decoded, reference, folder, threads)
    decoded.path.unlink()
    return comparison


def _compare(ffmpeg: FFmpeg, decoded: RawVideo, reference: RawVideo, folder: Path, threads: int) -> Comparison:
    scored = _score(ffmpeg, decoded, reference, FRAME_METRICS, folder, threads)
    depth = reference.header.format.bit_depth
    unsteady = flicker(zip(read_lumas(reference), read_lumas(decoded), strict=True), depth)
    return Comparison(Scores(**scored.means, flicker=unsteady.value, frames=decoded.frames), scored.frames)


def score_encode(
    ffmpeg: FFmpeg,
    distorted: Path,
    reference: RawVideo,
    metrics: Sequence[str] = FRAME_METRICS,
    *,
    folder: Path,
    threads: int = 1,
) -> tuple[ClipScores, RawVideo]:
    """The scores of a video file, and its decoded frames in `folder`; metrics as for `score`, errors as above."""
    decoded = decode_encode(ffmpeg, distorted, reference, folder=folder)
    return _score(ffmpeg, decoded, reference, metrics, folder, threads), decoded


def decode_encode(ffmpeg: FFmpeg, distorted: Path, reference: RawVideo, *, folder: Path) -> RawVideo:
    """A video file's decoded frames in `folder`, as many as the reference's and of their size; errors as above."""
    fmt = reference.header.format
    raw = folder / "decoded.y4m"
    ffmpeg.run(decode_arguments(distorted, raw, fmt))
    decoded = count_raw_video(raw, fmt.matrix)
    if decoded.frames != reference.frames:
        raise VerificationError(f"{decoded.frames} frames came out of the encoder and {reference.frames} went in")
    own = decoded.header.format
    if (own.width, own.height) != (fmt.width, fmt.height):
        raise VerificationError(
            f"{own.width}x{own.height} came out of the encoder and {fmt.width}x{fmt.height} went in"
        )
    return decoded


def _score(
    ffmpeg: FFmpeg, decoded: RawVideo, reference: RawVideo, metrics: Sequence[str], folder: Path, threads: int
) -> ClipScores:
    scored = score(ffmpeg, decoded.path, reference.path, metrics, folder=folder, threads=threads)
    frames = len(next(iter(scored.frames.values())))
    if frames != reference.frames:
        raise VerificationError(f"libvmaf compared {frames} frames of {reference.frames}")
    return scored


def decode_arguments(source: Path, destination: Path, fmt: PictureFormat) -> list[str]:
    """ffmpeg's arguments to decode every frame of a file once to YUV4MPEG2, in the depth of `fmt`.

    Pictures that have it already pass unchanged; others (VVenC codes 10 bit) are rounded without dithering.
    """
    pixels = "yuv420p" if fmt.bit_depth == 8 else "yuv420p10le"
    return [
        *("-threads", "1", "-i", input_name(source), "-map", "0:v:0", "-fps_mode", "passthrough"),
        *("-vf", f"scale=flags=accurate_rnd:sws_dither=none,format={pixels}"),
        *("-strict", "-1", "-f", "yuv4mpegpipe", input_name(destination)),
    ]


def score_regions(reference: RawVideo, decoded: RawVideo, mask: RawVideo) -> RegionScores:
    """The scores of decoded pictures inside and outside a mask.

    Raises:
        VerificationError: there are not as many masks as pictures.
    """
    if mask.frames != reference.frames:
        raise VerificationError(f"there are {mask.frames} masks for {reference.frames} pictures")
    lumas = zip(read_lumas(reference), read_lumas(decoded), read_lumas(mask), strict=True)
    return region_scores(lumas, reference.header.format.bit_depth)
