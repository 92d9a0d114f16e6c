"""One point of a rate-distortion curve: encode, decode, compare, count."""

from __future__ import annotations

from pathlib import Path

from scene.errors import VerificationError
from scene.evaluation.cache import Measurement
from scene.evaluation.codecs import CodecRun, encode_arguments, encoder_options
from scene.evaluation.raw_video import RawVideo
from scene.metrics.libvmaf import Scores, compare_arguments, count_frames, filter_graph, parse_log
from scene.video.ffmpeg import FFmpeg


def measure_point(
    ffmpeg: FFmpeg,
    reference: RawVideo,
    processed: RawVideo,
    run: CodecRun,
    crf: float,
    gop: int,
    *,
    folder: Path,
    threads: int = 1,
) -> Measurement:
    """Encodes `processed` at one CRF and compares the decoded result with `reference`.

    Args:
        folder: private and empty; what is written there may be deleted afterwards.
        threads: of libvmaf.

    Raises:
        ProcessError: ffmpeg failed.
        VerificationError: the decoded frames are not as many as the reference's.
        InputError: libvmaf gave no scores.
    """
    stream = folder / f"encoded{run.codec.suffix}"
    ffmpeg.run(encode_arguments(processed.path, stream, encoder_options(run, crf, gop)))
    size = stream.stat().st_size
    scores = compare(ffmpeg, stream, reference, folder=folder, threads=threads)
    fmt = reference.header.format
    return Measurement(size, fmt.width, fmt.height, fmt.bit_depth, scores)


def compare(ffmpeg: FFmpeg, distorted: Path, reference: RawVideo, *, folder: Path, threads: int = 1) -> Scores:
    """The scores of a video file against the reference; errors as for `measure_point`."""
    log = folder / "libvmaf.json"
    log.unlink(missing_ok=True)
    arguments = compare_arguments(
        ["-i", f"file:{distorted}"], ["-i", f"file:{reference.path}"], filter_graph(log, threads)
    )
    completed = ffmpeg.run(arguments)
    decoded = count_frames(completed.stdout)
    if decoded != reference.frames:
        raise VerificationError(f"{decoded} frames came out of the encoder and {reference.frames} went in")
    # libvmaf can fail (a picture too small for one of its features) while ffmpeg ends with 0.
    if not log.exists():
        reason = completed.messages.splitlines()[:1] or ["no message"]
        raise VerificationError(f"libvmaf gave no scores: {reason[0]}")
    scores = parse_log(log.read_bytes())
    if scores.frames != reference.frames:
        raise VerificationError(f"libvmaf compared {scores.frames} frames of {reference.frames}")
    return scores
