"""A clip to measure on, and the reference that is made of it: what every encode is compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from scene.errors import InputError
from scene.measure.libvmaf import too_small
from scene.measure.names import display_name
from scene.measure.raw_names import check_raw_size, is_raw, raw_layout
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.metrics.scores import FRAME_METRICS
from scene.picture import Matrix
from scene.video.ffmpeg import SAFE_INPUT, FFmpeg, ProcessError, input_name
from scene.video.source.crop import Crop
from scene.video.source.probe import probe

# To be raised whenever the same clip and recipe would give another reference than before.
_REFERENCE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Clip:
    """A source file.

    Attributes:
        path: where it is.
        name: for results; unique within an evaluation.
        sha256: of the file's content.
        stream: index of the video stream in the file.
        rate: frames per second, the average where it varies.
        width, height: of its pictures.
        bit_depth: 8 or 10; deeper sources are measured at 10.
        matrix: how its luma and chroma relate to RGB.
        raw: ffmpeg's name of the pixel format of a file that holds nothing but samples, None for all others.
        crop: what the container hides of the coded pictures; width and height are of what is shown.
        frames: how many there are, about; None where nothing says.
    """

    path: Path
    name: str
    sha256: str
    stream: int
    rate: Fraction
    width: int
    height: int
    bit_depth: int
    matrix: Matrix
    raw: str | None = None
    crop: Crop | None = None
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a reference is made of a clip.

    Attributes:
        frames: only the first so many, or None for all.
        halve_above: clips with more lines than this are halved in both directions, or None for never.
    """

    frames: int | None = None
    halve_above: int | None = None

    def size(self, clip: Clip) -> tuple[int, int]:
        """Width and height of the reference: even, since x264 and x265 take no odd 4:2:0."""
        halve = self.halve_above is not None and clip.height > self.halve_above
        factor = 4 if halve else 2
        return tuple(2 * (side // factor) for side in (clip.width, clip.height))  # type: ignore[return-value]


def require_measurable(clips: Iterable[Clip], recipe: Recipe) -> None:
    """Raises InputError where pictures of a reference are too small for one of the metrics."""
    for clip in clips:
        width, height = recipe.size(clip)
        needed = too_small(width, height, FRAME_METRICS)
        if needed is not None:
            raise InputError(
                f"{clip.name}: pictures of {width}x{height} are too small to be measured, which takes {needed}; "
                "scale source and encodes up alike before (ffmpeg -vf scale=2*iw:2*ih)."
            )


def reference_key(clip: Clip, recipe: Recipe) -> dict[str, object]:
    """All that the reference depends on."""
    width, height = recipe.size(clip)
    key: dict[str, object] = {
        "clip": clip.sha256,
        "frames": recipe.frames,
        "rate": str(clip.rate),
        "width": width,
        "height": height,
        "version": _REFERENCE_VERSION,
    }
    if clip.raw is not None:
        # The same bytes under another name are other pictures.
        key["raw"] = f"{clip.raw} {clip.width}x{clip.height}"
    return key


def reference_arguments(clip: Clip, recipe: Recipe, destination: Path) -> list[str]:
    """ffmpeg's arguments that decode, halve if asked, and write limited-range 4:2:0 at a constant rate.

    Range: YUV4MPEG2 has no reliable tag for it, so full range is converted, and encoder and libvmaf agree.
    Time stamps: frame n is shown at n / rate; a variable rate becomes its mean, without losing a frame.
    """
    filters = []
    if clip.crop is not None:
        # By itself ffmpeg would begin at an even line and column.
        filters.append(f"crop={clip.width}:{clip.height}:{clip.crop.left}:{clip.crop.top}:exact=1")
    filters += [
        *fitting_filters(clip, recipe, scaling="lanczos+accurate_rnd", levels="tv"),
        f"format={'yuv420p' if clip.bit_depth == 8 else 'yuv420p10le'}",
        f"settb={clip.rate.denominator}/{clip.rate.numerator}",
        "setpts=N",
        f"fps={clip.rate.numerator}/{clip.rate.denominator}",
    ]
    limit = [] if recipe.frames is None else ["-frames:v", str(recipe.frames)]
    return [
        *(*_input_arguments(clip), "-i", input_name(clip.path), "-map", f"0:{clip.stream}"),
        *("-vf", ",".join(filters), *limit, "-strict", "-1", "-f", "yuv4mpegpipe", input_name(destination)),
    ]


def fitting_filters(clip: Clip, recipe: Recipe, *, scaling: str, levels: Literal["tv", "pc"]) -> list[str]:
    """ffmpeg's filters that bring pictures of a clip's size to the size of its reference.

    Args:
        scaling: how, where that takes scaling.
        levels: the range of what comes out.
    """
    width, height = recipe.size(clip)
    if (width, height) == (clip.width, clip.height):
        return [f"scale=out_range={levels}"]
    if (width, height) == (clip.width - clip.width % 2, clip.height - clip.height % 2):
        return [f"crop={width}:{height}:0:0", f"scale=out_range={levels}"]
    return [f"scale={width}:{height}:flags={scaling}:out_range={levels}"]


def _input_arguments(clip: Clip) -> tuple[str, ...]:
    if clip.raw is None:
        cropping = () if clip.crop is None else ("-apply_cropping", "codec")
        return (*SAFE_INPUT, "-noautorotate", *cropping)
    return (
        *("-protocol_whitelist", "file", "-f", "rawvideo", "-pixel_format", clip.raw),
        *("-video_size", f"{clip.width}x{clip.height}", "-framerate", str(clip.rate)),
    )


def make_reference(ffmpeg: FFmpeg, clip: Clip, recipe: Recipe, destination: Path) -> RawVideo:
    """Writes the reference of a clip.

    Raises:
        InputError: the clip cannot be decoded.
        StoppedError: the work was given up.
    """
    try:
        ffmpeg.run(reference_arguments(clip, recipe, destination))
        return count_raw_video(destination, clip.matrix)
    except ProcessError as error:
        raise InputError(f"{clip.name} cannot be decoded ({error})") from error


def open_clips(paths: list[Path]) -> tuple[Clip, ...]:
    """Looks at every clip; two files of one name get the start of their hash appended.

    Of raw files (`.yuv`) the name says what they hold, see `scene.measure.raw_names`.

    Raises:
        InputError: one is missing, no regular file, holds no video of a supported kind, or is raw and its name
            does not say what it holds.
    """
    unique: dict[str, Clip] = {}
    for path in paths:
        clip = _open_clip(path)
        unique.setdefault(clip.sha256, clip)
    names = [clip.name for clip in unique.values()]
    return tuple(
        clip if names.count(clip.name) == 1 else replace(clip, name=f"{clip.name}@{clip.sha256[:8]}")
        for clip in unique.values()
    )


def _open_clip(path: Path) -> Clip:
    if is_raw(path):
        return _open_raw(path)
    info = probe(path)
    fmt = info.format
    if fmt.matrix in {"rgb", "ycgco", "other"}:
        raise InputError(f"{display_name(str(path))} is not Y'CbCr of BT.601, 709 or 2020; convert it first.")
    return Clip(
        path=path,
        name=display_name(path.name),
        sha256=file_digest(path),
        stream=info.stream_index,
        rate=info.rate,
        width=fmt.width,
        height=fmt.height,
        bit_depth=8 if fmt.bit_depth == 8 else 10,
        matrix=fmt.matrix,
        crop=info.crop,
        frames=info.frames,
    )


def _open_raw(path: Path) -> Clip:
    if not path.exists():
        raise InputError(f"{display_name(str(path))} does not exist.")
    layout = raw_layout(path)
    check_raw_size(path, layout)
    return Clip(
        path=path,
        name=display_name(path.name),
        sha256=file_digest(path),
        stream=0,
        rate=layout.rate,
        width=layout.width,
        height=layout.height,
        bit_depth=layout.bit_depth,
        # UVG's; a raw file says nothing of it.
        matrix="bt709",
        raw=layout.pixel_format,
        frames=path.stat().st_size // layout.frame_bytes,
    )


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content; raises InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{display_name(str(path))} cannot be read ({error.strerror})") from error
