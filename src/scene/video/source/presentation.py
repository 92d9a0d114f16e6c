"""What is shown of a decoded frame: planar, without what its container hides, at the size that was asked for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
from av.filter import Graph

from scene.errors import UsageError
from scene.video.display_matrix import turn_of
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
        self._steps: list[Cropper | _FrameFilter] = []
        shown = info.unscaled or info.format
        if info.crop is not None:
            before = info.turn.undone(shown) if info.turn else shown
            self._steps.append(Cropper(info.crop, before, info.time_base, info.path))
        for name, options in info.turn.filters if info.turn else ():
            self._steps.append(_FrameFilter(name, options, "turned", info))
        if info.unscaled is not None:
            options = f"{info.format.width}:{info.format.height}:flags={SCALING}"
            if shown.chroma == "420":
                options += f":in_chroma_loc={shown.chroma_location}:out_chroma_loc={shown.chroma_location}"
            self._steps.append(_FrameFilter("scale", options, "scaled", info))

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """What is shown of a frame: the frame itself where that is all of it, else one in memory of its own.

        Raises:
            InputError: an unknown layout of samples, or one that FFmpeg cannot crop, turn or scale.
        """
        shown = to_planar(frame)
        for step in self._steps:
            shown = step(shown)
        return shown


class _FrameFilter:
    """One of FFmpeg's filters that gives a frame for a frame, at its time."""

    def __init__(self, name: str, options: str, done: str, info: SourceInfo) -> None:
        self._name, self._options, self._done = name, options, done
        self._time_base, self._path = info.time_base, info.path
        self._graph: Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._graph is None:
            self._graph = open_filter(
                *(frame, self._time_base, self._name, self._options), path=self._path, done=self._done
            )
        pts, duration = frame.pts, frame.duration
        self._graph.vpush(frame)
        ready = self._graph.vpull()
        ready.pts, ready.duration, ready.time_base = pts, duration, self._time_base
        ready.make_writable()
        return ready


def upright_info(info: SourceInfo) -> SourceInfo:
    """A source whose frames are turned as its container says they are to be shown; itself where it says nothing.

    Raises:
        UsageError: chroma of 4:2:2 would lie the other way.
    """
    turn = None if info.display_matrix is None else turn_of(info.display_matrix)
    if turn is None:
        return info
    if turn.swaps and info.format.chroma == "422":
        raise UsageError(f"{info.path} is to be turned by a quarter, which chroma of 4:2:2 does not allow.")
    aspect = info.sample_aspect_ratio
    return replace(
        info,
        format=turn.done(info.format),
        turn=turn,
        display_matrix=None,
        sample_aspect_ratio=1 / aspect if aspect and turn.swaps else aspect,
    )


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
