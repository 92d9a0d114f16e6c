"""A method applied to a reference: the pictures that go to the encoders, made once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import InputError, VerificationError
from scene.evaluation.grid.focus import smoothing
from scene.evaluation.grid.methods import Method
from scene.measure.raw_video import RawVideo, count_raw_video, write_raw_video
from scene.picture import Picture
from scene.video.ffmpeg import FFmpeg, StoppedError, run_external
from scene.video.rawvideo.y4m import Y4MHeader, read_frames, read_header, write_frame

if TYPE_CHECKING:
    from scene.importance.smoothing import PictureFocus


def make_variant(
    ffmpeg: FFmpeg,
    method: Method,
    reference: RawVideo,
    destination: Path,
    *,
    step: float | None = None,
    device: str = "auto",
    maps: Path | None = None,
) -> RawVideo:
    """The reference after a method, as a YUV4MPEG2 file; the reference itself for one that leaves pictures alone.

    Args:
        step: of `Method.step`, for the encode that the pictures are for.
        device: for a network.
        maps: of `make_maps`, for a method that has a focus.

    Raises:
        VerificationError: frames were lost, or a program gave other pictures than it must.
        ProcessError, InputError, UsageError, MissingError: see `FFmpeg.run` and `scene.enhance.Enhancer`.
    """
    focus = smoothing(method.focus, maps)
    graph = method.filter_graph(reference.header.format.bit_depth)
    if graph is not None:
        ffmpeg.run(
            [
                *("-threads", "1", "-i", f"file:{reference.path}", "-vf", graph, "-fps_mode", "passthrough"),
                *("-strict", "-1", "-f", "yuv4mpegpipe", f"file:{destination}"),
            ]
        )
    elif method.network is not None:
        _enhance(ffmpeg, method, reference, destination, step, device, focus)
        focus = None
    elif method.command is not None:
        _filter(ffmpeg, method, reference, destination)
    elif focus is None:
        return reference
    if focus is not None:
        # Of what has no enhancer, afterwards.
        before = destination if destination.exists() else reference.path
        _smooth(ffmpeg, reference, before, destination, focus)
    made = count_raw_video(destination, reference.header.format.matrix)
    if made.frames != reference.frames:
        raise VerificationError(f"{method.label} gave {made.frames} frames of {reference.frames}")
    return made


def _enhance(
    ffmpeg: FFmpeg,
    method: Method,
    reference: RawVideo,
    destination: Path,
    step: float | None,
    device: str,
    focus: PictureFocus | None,
) -> None:
    from scene.enhance import Enhancer, open_conditioner

    assert method.network is not None
    guided = method.network.config.guidance == "embedding"
    semantics = open_conditioner(method.network, method.semantics, device=device) if guided else None
    enhancer = Enhancer(
        method.network,
        strength=method.strength,
        calibration=method.calibration,
        device=device,
        semantics=semantics,
        step=step,
    )
    enhancer.focus = None if focus is None else focus.apply
    with reference.path.open("rb") as source:
        header = read_header(source, matrix=reference.header.format.matrix)

        def enhanced() -> Iterator[Picture]:
            for picture in enhancer.stream(read_frames(source, header)):
                # In a worker's thread nothing else would end it.
                if ffmpeg.stop.is_set():
                    raise StoppedError(f"{method.label} was stopped")
                yield picture

        write_raw_video(destination, header, enhanced())


def _smooth(ffmpeg: FFmpeg, reference: RawVideo, given: Path, destination: Path, focus: PictureFocus) -> None:
    """Smooths what does not matter in pictures that a method made of a reference."""
    made = given.with_suffix(".made") if given == destination else given
    if given == destination:
        given.rename(made)
    with reference.path.open("rb") as source, made.open("rb") as changed:
        headers = [read_header(stream, matrix=reference.header.format.matrix) for stream in (source, changed)]
        pairs = zip(read_frames(source, headers[0]), read_frames(changed, headers[1]), strict=True)

        def smoothed() -> Iterator[Picture]:
            for before, after in pairs:
                if ffmpeg.stop.is_set():
                    raise StoppedError("smoothing was stopped")
                yield focus.apply(before, after)

        write_raw_video(destination, headers[0], smoothed())
    if made != given:
        made.unlink()


def _filter(ffmpeg: FFmpeg, method: Method, reference: RawVideo, destination: Path) -> None:
    """Runs a program, and writes what it gave under the reference's first line: encoders store its tags as bits."""
    assert method.command is not None
    given = destination.with_suffix(".given")
    try:
        run_external(method.command, reference.path, given, ffmpeg.stop)
        with reference.path.open("rb") as original, given.open("rb") as source, destination.open("wb") as sink:
            header = read_header(source, matrix=reference.header.format.matrix)
            _check_format(method, header, reference.header)
            sink.write(original.readline())
            frames = 0
            for picture in read_frames(source, header):
                write_frame(sink, picture)
                frames += 1
    except InputError as error:
        raise VerificationError(f"{method.label} gave no usable YUV4MPEG2 ({error})") from error
    finally:
        given.unlink(missing_ok=True)
    if frames != reference.frames:
        raise VerificationError(f"{method.label} gave {frames} frames of {reference.frames}")


def _check_format(method: Method, given: Y4MHeader, wanted: Y4MHeader) -> None:
    kinds = [
        f"{header.format.width}x{header.format.height} {header.format.chroma} at {header.format.bit_depth} bit "
        f"and {header.rate if given.rated else 'so many'} frames/s"
        for header in (given, wanted)
    ]
    if kinds[0] != kinds[1]:
        raise VerificationError(f"{method.label} gave {kinds[0]} for {kinds[1]}")
    if given.format.full_range:
        raise VerificationError(f"{method.label} gave full-range pictures for limited-range ones")
