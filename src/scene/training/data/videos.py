"""Short windows of consecutive frames from a folder of video files."""

from __future__ import annotations

import functools
import logging
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from scene.errors import InputError, MissingError
from scene.training.data.frames import Image, Part, identify, in_part, list_files

_LOG = logging.getLogger("scene.training")
_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".y4m", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".avi", ".flv"),
    *(".wmv", ".asf", ".ogv", ".mxf", ".nut", ".ivf", ".obu"),
}
# As long as Vimeo-90K's septuplets, so that both kinds of data can be trained on alike.
_WINDOW = 7
# Neighbouring windows nearer than this show much the same; more a file would let long files outweigh short ones.
_SECONDS_A_WINDOW = 1
_MOST_WINDOWS = 16
# Decoded windows kept in each process: the current one and the one before. A window of 1080p takes 44 MB.
_KEPT_WINDOWS = 2


class _Window(NamedTuple):
    name: str
    start: Fraction
    frames: int


def list_videos(folder: Path) -> list[Path]:
    """Every video file below a folder, sorted.

    Raises:
        InputError: the folder does not exist or holds none.
    """
    return list_files(folder, "video", _SUFFIXES)


class VideoSource:
    """Every video file below a folder, in the order of names; a sequence is a window of consecutive frames.

    A file gives one window of seven frames for each second, at most 16, evenly spread over its duration, which its
    header says: opening decodes one frame a file. Files of fewer frames give one window of all. Files that cannot be
    read are left out with a warning. The 9:1 split goes by file.

    Frames are read by seeking to the key frame before a window and decoding from there, so a window costs up to a
    group of pictures; the last two windows are kept in each process.

    Raises:
        InputError: no such folder, or no usable video of this part in it.
        MissingError: PyAV is not installed.
    """

    def __init__(self, folder: Path, part: Part) -> None:
        files = list_videos(folder)
        self._folder = folder
        self._windows: list[_Window] = []
        facts: list[object] = ["videos", part]
        for path in files:
            name = path.relative_to(folder).as_posix()
            if not in_part(name, part):
                continue
            try:
                windows = _windows(path, name)
            except InputError as error:
                _LOG.warning("left out: %s", error)
                continue
            self._windows += windows
            facts += [name, path.stat().st_size, *windows]
        if not self._windows:
            raise InputError(f"{folder} holds no readable video for the {part} part; add some or name another folder")
        self._identity = identify(facts)

    @property
    def identity(self) -> str:
        return self._identity

    def __len__(self) -> int:
        return len(self._windows)

    def length(self, sequence: int) -> int:
        return self._windows[sequence].frames

    def name(self, sequence: int, frame: int) -> str:
        window = self._windows[sequence]
        return f"{self._folder / window.name}, frame {frame + 1} after {float(window.start):.2f} s"

    def read(self, sequence: int, frame: int) -> Image:
        window = self._windows[sequence]
        return _decode(self._folder / window.name, window.start, window.frames)[frame]


@functools.lru_cache(maxsize=_KEPT_WINDOWS)
def _decode(path: Path, start: Fraction, frames: int) -> list[Image]:
    try:
        from scene.video.source.excerpt import read_excerpt
    except ImportError as error:
        raise _no_pyav() from error
    return read_excerpt(path, start, frames)


def _windows(path: Path, name: str) -> list[_Window]:
    try:
        from scene.video.source.probe import probe
    except ImportError as error:
        raise _no_pyav() from error
    info = probe(path)
    # Without a count, as in a bare elementary stream, only the beginning is sure to be there.
    frames = info.frames or _WINDOW
    length = min(frames, _WINDOW)
    duration = frames / info.rate
    count = max(1, min(_MOST_WINDOWS, int(duration / _SECONDS_A_WINDOW)))
    # In the middle of equal shares, which leaves out black beginnings and ends.
    room = (frames - length) / info.rate
    return [_Window(name, room * (2 * k + 1) / (2 * count), length) for k in range(count)]


def _no_pyav() -> MissingError:
    return MissingError("training on videos needs PyAV: pip install av")
