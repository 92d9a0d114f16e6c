"""Where the encode of each of many sources goes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scene.errors import UsageError
from scene.video.container.formats import CONTAINERS
from scene.video.encoders import find_encoder

# Holds most of what a source may have.
_USUAL = ".mkv"


@dataclass(frozen=True, slots=True)
class Placed:
    """A source, and where its encode is wanted.

    Attributes:
        source: the file.
        name: its path below the folder of outputs; the suffix is the source's.
        codec: the encoder's name.
    """

    source: Path
    name: Path
    codec: str


def destinations(sources: Sequence[Path], destination: Path, codec: str) -> list[Path]:
    """The output of each source: the destination itself, or a file in it that has the source's name.

    Args:
        sources: at least one.
        destination: a file for one source, or a folder that exists.
        codec: the encoder's name.

    Raises:
        UsageError: several sources and no folder, or as `outputs_below`.
    """
    if not destination.is_dir():
        if len(sources) > 1:
            raise UsageError(f"{destination} is not a folder, and {len(sources)} sources need one; make it first.")
        return [destination]
    return outputs_below(destination, [Placed(source, Path(source.name), codec) for source in sources])


def outputs_below(folder: Path, placed: Iterable[Placed]) -> list[Path]:
    """The output of each source below a folder, in order.

    .mp4, .m4v and .mov stay what they are, where such files can hold the encoder's video; all others become .mkv.

    Raises:
        UsageError: two sources of one output, or an output that would be a source.
    """
    found: dict[str, Path] = {}
    sources: dict[tuple[int, int], Path] = {}
    outputs = []
    for one in placed:
        output = folder / one.name.with_name(f"{one.name.stem}{_suffix(one)}")
        # As file systems that ignore case and Unicode's forms see it.
        name = unicodedata.normalize("NFC", str(output)).casefold()
        if name in found:
            raise UsageError(
                f"{found[name]} and {one.source} would both become {output}; encode them into two folders."
            )
        found[name] = one.source
        outputs.append(output)
        if (identity := _identity(one.source)) is not None:
            sources[identity] = one.source
    for output in outputs:
        if _identity(output) in sources:
            raise UsageError(f"{output} is a source itself; give another folder.")
    return outputs


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is; None where there is none."""
    try:
        about = path.stat()
    except (OSError, ValueError):
        return None
    return about.st_dev, about.st_ino


def _suffix(placed: Placed) -> str:
    container = CONTAINERS.get(placed.name.suffix.lower())
    if container is not None and container.edit_lists and container.muxer not in find_encoder(placed.codec).unheld_by:
        return placed.name.suffix
    return _USUAL
