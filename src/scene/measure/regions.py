"""Masks: which part of a clip's pictures matters, as a video beside the clip; scores inside and outside of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene.errors import InputError
from scene.measure.clip import Clip, Recipe, file_digest, fitting_filters
from scene.measure.names import display_name
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.metrics.regions import REGIONS_VERSION
from scene.video.ffmpeg import SAFE_INPUT, FFmpeg, ProcessError, input_name
from scene.video.source.open import count_pictures
from scene.video.source.probe import probe


@dataclass(frozen=True, slots=True)
class Mask:
    """The mask of a clip.

    Attributes:
        path: a video of the clip's size and length: white inside the region, black outside.
        sha256: of the file's content.
        stream: index of the video stream in the file.
    """

    path: Path
    sha256: str
    stream: int


def open_masks(place: Path, clips: Iterable[Clip], recipe: Recipe) -> dict[str, Mask]:
    """The mask of every clip, by the clip's SHA-256.

    Args:
        place: a folder of videos, each named as its clip, whatever the suffix; for a single clip also the video itself.

    Raises:
        InputError: a clip has no mask or several, or a mask is no video, or of another size or length than its clip.
    """
    clips = tuple(clips)
    if not place.exists():
        raise InputError(f"{display_name(str(place))} does not exist.")
    if not place.is_dir() and len(clips) > 1:
        raise InputError(
            f"{display_name(str(place))} is one mask and there are {len(clips)} clips; give a folder of masks."
        )
    return {clip.sha256: _open_mask(_find(place, clip), clip, recipe) for clip in clips}


def region_key(point: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """Under which a point's scores by region are kept: beside the point's own, which need no mask."""
    return {**point, "regions": mask.sha256, "regions_version": REGIONS_VERSION}


def make_mask(ffmpeg: FFmpeg, mask: Mask, clip: Clip, recipe: Recipe, destination: Path) -> RawVideo:
    """Writes a mask as grey pictures in full range, cropped and scaled as the clip's reference is.

    Raises:
        InputError: it cannot be decoded.
        StoppedError: the work was given up.
    """
    try:
        ffmpeg.run(mask_arguments(mask, clip, recipe, destination))
        return count_raw_video(destination, clip.matrix)
    except ProcessError as error:
        raise InputError(f"the mask of {clip.name} cannot be decoded ({error})") from error


def mask_arguments(mask: Mask, clip: Clip, recipe: Recipe, destination: Path) -> list[str]:
    """ffmpeg's arguments for `make_mask`. Areas are averaged, so that halving keeps how much lies inside."""
    filters = [*fitting_filters(clip, recipe, scaling="area", levels="pc"), "format=gray"]
    limit = [] if recipe.frames is None else ["-frames:v", str(recipe.frames)]
    return [
        *(*SAFE_INPUT, "-noautorotate", "-i", input_name(mask.path), "-map", f"0:{mask.stream}"),
        *("-vf", ",".join(filters), "-fps_mode", "passthrough", *limit),
        *("-strict", "-1", "-f", "yuv4mpegpipe", input_name(destination)),
    ]


def _find(place: Path, clip: Clip) -> Path:
    if not place.is_dir():
        return place
    stem = clip.path.stem
    found = sorted(path for path in place.iterdir() if path.is_file() and path.stem == stem)
    if len(found) != 1:
        said = "no mask" if not found else f"{len(found)} masks"
        names = display_name(f"{stem}.*")
        raise InputError(f"{display_name(str(place))} holds {said} of {clip.name}; it must hold one, as {names}.")
    return found[0]


def _open_mask(path: Path, clip: Clip, recipe: Recipe) -> Mask:
    info = probe(path)
    name = display_name(str(path))
    size, wanted = (info.format.width, info.format.height), (clip.width, clip.height)
    if size != wanted:
        raise InputError(
            f"{name} has pictures of {size[0]}x{size[1]} and {clip.name} of {wanted[0]}x{wanted[1]}; "
            "a mask must have the size of its clip."
        )
    mask = Mask(path, file_digest(path), info.stream_index)
    counts = [count_pictures(path, info.stream_index), _frames(clip)]
    if recipe.frames is not None:
        counts = [min(count, recipe.frames) for count in counts]
    if counts[0] != counts[1]:
        raise InputError(
            f"{name} has {counts[0]} pictures and {clip.name} has {counts[1]}; a mask must have one for each."
        )
    return mask


def _frames(clip: Clip) -> int:
    if clip.raw is not None:
        assert clip.frames is not None
        return clip.frames
    return count_pictures(clip.path, clip.stream)
