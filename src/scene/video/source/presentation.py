"""What is shown of a decoded frame: planar, without what its container hides, at the size that was asked for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.filter import Graph

from scene.errors import UsageError
from scene.picture import PictureFormat
from scene.video.pixel_format import to_planar
from scene.video.source.crop import Cropper
from scene.video.source.filter_graph import open_filter
from scene.video.source.probe import SourceInfo

# FFmpeg's scaler by a Lanczos window of three lobes, without its shortcuts in rounding and in chroma.
SCALING = "lanczos+accurate_rnd+full_chroma_int"
_STEPS = {"420": (2, 2), "422": (2, 1)}
# Of the sample aspect ratio, by rounding to whole pixels, without saying so.
_NEGLIGIBLE = Fraction(1, 100)


class Presenter:
    """Makes frames of a decoder those of a source's `format`; time stamps and side data stay.

    Args:
        info: of the source.
    """

    def __init__(self, info: SourceInfo) -> None:
        shown = info.unscaled or info.format
        self._cropper = Cropper(info.crop, shown, info.time_base, info.path) if info.crop else None
        self._scaler = Scaler(shown, info.format, info.time_base, info.path) if info.unscaled else None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """What is shown of a frame; the frame itself where that is all of it. Raises InputError for unknown layouts."""
        shown = to_planar(frame)
        if self._cropper is not None:
            shown = self._cropper(shown)
        return shown if self._scaler is None else self._scaler(shown)


class Scaler:
    """Scales planar frames; time stamps and side data stay.

    Args:
        source, target: formats that differ in size alone.
        path: of the source, for messages.
    """

    def __init__(self, source: PictureFormat, target: PictureFormat, time_base: Fraction, path: Path) -> None:
        self._source, self._target = source, target
        self._time_base = time_base
        self._path = path
        self._graph: Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame in memory of its own. Raises InputError where FFmpeg cannot scale its pixel format."""
        if self._graph is None:
            options = f"{self._target.width}:{self._target.height}:flags={SCALING}"
            if self._source.chroma == "420":
                place = self._source.chroma_location
                options += f":in_chroma_loc={place}:out_chroma_loc={place}"
            self._graph = open_filter(frame, self._time_base, "scale", options, path=self._path, done="scaled")
        pts, duration = frame.pts, frame.duration
        self._graph.vpush(frame)
        scaled = self._graph.vpull()
        scaled.pts, scaled.duration, scaled.time_base = pts, duration, self._time_base
        scaled.make_writable()
        return scaled


def scaled_info(info: SourceInfo, wanted: tuple[int, int] | None) -> SourceInfo:
    """A source whose frames are scaled to a size; its sample aspect ratio keeps the shape of what is shown.

    Args:
        wanted: (width, height), None for its own.

    Raises:
        UsageError: the size is none, larger than the source, or does not fit the source's chroma.
    """
    fmt = info.format
    if wanted is None or wanted == (fmt.width, fmt.height):
        return info
    width, height = wanted
    size = f"{width}x{height}"
    if width < 1 or height < 1:
        raise UsageError(f"`size` {size} makes no sense; give one such as 1280x720.")
    if width > fmt.width or height > fmt.height:
        raise UsageError(f"`size` {size} is larger than {info.path} with {fmt.width}x{fmt.height}.")
    columns, rows = _STEPS.get(fmt.chroma, (1, 1))
    if width % columns or height % rows:
        raise UsageError(f"`size` {size} is odd, which chroma of {':'.join(fmt.chroma)} does not allow.")
    aspect = info.sample_aspect_ratio or Fraction(1)
    kept = aspect * Fraction(fmt.width * height, fmt.height * width)
    usual = (ratio for ratio in (aspect, Fraction(1)) if abs(kept / ratio - 1) < _NEGLIGIBLE)
    return replace(
        info,
        format=replace(fmt, width=width, height=height),
        unscaled=fmt,
        sample_aspect_ratio=next(usual, kept),
    )
