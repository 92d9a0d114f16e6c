"""Which files a folder or a list means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scene.errors import InputError, UsageError
from scene.video.source.open import reason

# Of files that are taken for videos in a folder; a list may name others.
VIDEO_SUFFIXES = frozenset(
    {".mkv", ".webm", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".m2v"}
    | {".avi", ".wmv", ".asf", ".wtv", ".flv", ".ogv", ".mxf", ".gxf", ".dv", ".nut", ".y4m", ".ivf", ".obu"}
    | {".264", ".h264", ".avc", ".265", ".h265", ".hevc", ".266", ".h266", ".vvc"}
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A source.

    Attributes:
        path: the file.
        name: its path below the folder, or as the list says it; where its encode goes, and what patterns look at.
    """

    path: Path
    name: Path


@dataclass(frozen=True, slots=True)
class Sources:
    """What was found.

    Attributes:
        files: in the order of their names, or of the list.
        others: how many files of a folder are taken for no videos, the hidden ones not counted.
    """

    files: tuple[Listed, ...]
    others: int


def find_sources(place: Path, out: Path) -> Sources:
    """The videos below a folder, or the files that a list names, one path a line.

    In a folder: files with a suffix of `VIDEO_SUFFIXES`, at any depth. What is hidden is left out, links to folders are
    not followed, and neither is the folder of the outputs. In a list: every line that is not empty and does not begin
    with #, from the current folder; a relative path keeps its folders in `Listed.name`, any other its name alone.

    Args:
        out: where the outputs go.

    Raises:
        UsageError: no files, the two folders are one, or `place` is no list.
        InputError: it cannot be read.
    """
    try:
        if not place.is_dir():
            return _listed(place)
        if out.exists() and out.samefile(place):
            raise UsageError(f"{place} is the folder of the outputs too; give another one.")
        found = _walked(place, out)
    except OSError as error:
        raise InputError(f"{error.filename or place} cannot be read: {reason(error)}.") from None
    if not found.files:
        raise UsageError(f"{place} holds no video files ({found.others} other files).")
    return found


def _walked(place: Path, out: Path) -> Sources:
    def refuse(error: OSError) -> None:
        raise error

    files, others = [], 0
    for folder, below, names in os.walk(place, onerror=refuse):
        here = Path(folder)
        below[:] = sorted(name for name in below if not name.startswith(".") and not _same(here / name, out))
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = here / name
            if path.suffix.lower() in VIDEO_SUFFIXES:
                files.append(Listed(path, path.relative_to(place)))
            else:
                others += 1
    return Sources(tuple(files), others)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _listed(place: Path) -> Sources:
    try:
        # A video in the place of a list is not read to its end.
        with place.open("rb") as file:
            head = file.read(1 << 16)
            text = "" if b"\0" in head else (head + file.read()).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise InputError(f"{place} does not exist.") from None
    if not text and head:
        raise UsageError(f"{place} is neither a folder nor a list, which is text with one path a line.")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if not lines:
        raise UsageError(f"{place} names no files.")
    return Sources(tuple(Listed(Path(line), _name(Path(line))) for line in lines), 0)


def _name(path: Path) -> Path:
    return Path(path.name) if path.is_absolute() or ".." in path.parts else path
