"""Where the encode of each of many sources goes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from scene.errors import UsageError
from scene.video.container.formats import CONTAINERS
from scene.video.encoders import find_encoder

# Holds most of what a source may have.
_USUAL = ".mkv"


def destinations(sources: Sequence[Path], destination: Path, codec: str) -> list[Path]:
    """The output of each source: the destination itself, or a file in it that has the source's name.

    In a folder .mp4, .m4v and .mov stay what they are, where such files can hold the encoder's video; all others become
    .mkv.

    Args:
        sources: at least one.
        destination: a file for one source, or a folder that exists.
        codec: the encoder's name.

    Raises:
        UsageError: several sources and no folder, two sources of one name, or an output that would be a source.
    """
    if not destination.is_dir():
        if len(sources) > 1:
            raise UsageError(f"{destination} is not a folder, and {len(sources)} sources need one; make it first.")
        return [destination]
    found: dict[str, Path] = {}
    outputs = []
    for source in sources:
        output = destination / f"{source.stem}{_suffix(source, codec)}"
        # As file systems that ignore case and Unicode's forms see it.
        name = unicodedata.normalize("NFC", output.name).casefold()
        if name in found:
            raise UsageError(f"{found[name]} and {source} would both become {output}; encode them into two folders.")
        found[name] = source
        outputs.append(output)
    for output in outputs:
        for source in sources:
            if output.exists() and source.exists() and output.samefile(source):
                raise UsageError(f"{output} is a source itself; give another folder.")
    return outputs


def _suffix(source: Path, codec: str) -> str:
    container = CONTAINERS.get(source.suffix.lower())
    if container is not None and container.edit_lists and container.muxer not in find_encoder(codec).unheld_by:
        return source.suffix
    return _USUAL
