"""Protocols: TOML files that say what is measured, on which clips, and how, so that a name stands for a figure.

methods = ["none", "contrast:tuned", "scene"]

[clips]                 which files of the data folder
[clips.also]            other names under which some of them go
[reference]             frames, halve_above
[codecs.x264]           preset, crf, encoder_args; one table for each codec
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scene.errors import InputError, UsageError
from scene.measure.clip import Recipe
from scene.measure.encode import CodecRun, codec_run
from scene.measure.names import display_name

_SECTIONS = ("methods", "clips", "reference", "codecs")


@dataclass(frozen=True, slots=True)
class ClipSet:
    """The clips of a protocol.

    Attributes:
        title: what they are.
        source: where they are had, and what to do with what is had there.
        files: patterns of file names, as of `fnmatch`, the best first; `{name}` stands for a clip's name.
        names: of the clips; without names every file that a pattern matches is a clip.
        also: another name for some of them.
    """

    title: str
    source: str
    files: tuple[str, ...]
    names: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol file.

    Attributes:
        methods: names as of `scene.evaluation.grid.methods.parse_methods`, or of tuned ones.
        clips: which clips.
        recipe: how references are made.
        codecs: with presets and CRFs.
    """

    methods: tuple[str, ...]
    clips: ClipSet
    recipe: Recipe
    codecs: tuple[CodecRun, ...]


def read_protocol(path: Path) -> Protocol:
    """Reads and checks a protocol file.

    Raises:
        InputError: the file is missing or not TOML.
        UsageError: an unknown or missing section or key, or a value that cannot be meant; it is named.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{display_name(str(path))} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{display_name(str(path))} is not valid TOML: {error}") from error
    try:
        return _protocol(document)
    except UsageError as error:
        raise UsageError(f"{display_name(str(path))}: {error}") from error


def find_clips(clips: ClipSet, folder: Path) -> list[Path]:
    """The protocol's files in a folder or in the folders that lie in it, in the protocol's order.

    Raises:
        InputError: the folder is missing, or files of it are; the message lists them and says where they are had.
    """
    if not folder.is_dir():
        raise InputError(f"{display_name(str(folder))} is no folder; {_wanted(clips)}")
    files = sorted(path for place in (folder, *_folders(folder)) for path in place.iterdir() if path.is_file())
    if not clips.names:
        found = [path for path in files if any(path.match(pattern) for pattern in clips.files)]
        if not found:
            raise InputError(f"{display_name(str(folder))} holds no clips; {_wanted(clips)}")
        return found
    chosen = {name: _find(clips, name, files) for name in clips.names}
    missing = [_patterns(clips, name)[0] for name, path in chosen.items() if path is None]
    if missing:
        raise InputError(
            f"{display_name(str(folder))} lacks {len(missing)} of {len(clips.names)} clips: {', '.join(missing)}; "
            + _wanted(clips)
        )
    return [path for path in chosen.values() if path is not None]


def _find(clips: ClipSet, name: str, files: Sequence[Path]) -> Path | None:
    for pattern in _patterns(clips, name):
        matching = [path for path in files if path.match(pattern)]
        if len(matching) > 1:
            both = " and ".join(display_name(str(path)) for path in matching[:2])
            raise InputError(f"{both} may both be {name}; leave one of them in the folder.")
        if matching:
            return matching[0]
    return None


def _patterns(clips: ClipSet, name: str) -> list[str]:
    names = [name, clips.also[name]] if name in clips.also else [name]
    return [pattern.replace("{name}", one) for pattern in clips.files for one in names]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _wanted(clips: ClipSet) -> str:
    kinds = " or ".join(pattern.replace("{name}", "NAME") for pattern in clips.files)
    names = f" with NAME one of {', '.join(clips.names)}" if clips.names else ""
    return f"it must hold {clips.title}, as {kinds}{names}: {clips.source}"


def _protocol(document: Mapping[str, Any]) -> Protocol:
    _only(document, _SECTIONS, "section or key")
    clips = _table(document, "clips", ("title", "source", "files", "names", "also"))
    reference = _table(document, "reference", ("frames", "halve_above"))
    codecs = _table(document, "codecs", None)
    if not codecs:
        raise UsageError("it has no [codecs.NAME]; give one for each codec.")
    also = clips.get("also", {})
    names = _strings(clips, "names", "[clips]")
    files = _strings(clips, "files", "[clips]")
    if not isinstance(also, dict) or not all(isinstance(other, str) for other in also.values()):
        raise UsageError("[clips.also] must give one name for another.")
    _only(also, names, "clip", "[clips.also]")
    if not files or any(("{name}" in pattern) != bool(names) for pattern in files):
        raise UsageError("'files' in [clips] must have {name} in each pattern where there are 'names', else in none.")
    return Protocol(
        methods=_strings(document, "methods", "the file"),
        clips=ClipSet(_string(clips, "title"), _string(clips, "source"), files, names, also),
        recipe=Recipe(_count(reference, "frames"), _count(reference, "halve_above")),
        codecs=tuple(_codec(name, codecs) for name in codecs),
    )


def _codec(name: str, codecs: Mapping[str, Any]) -> CodecRun:
    table = _table(codecs, name, ("preset", "crf", "encoder_args"), "codecs.")
    crfs = table.get("crf")
    if crfs is not None and not (
        isinstance(crfs, list) and all(isinstance(crf, int | float) and not isinstance(crf, bool) for crf in crfs)
    ):
        raise UsageError(f"'crf' in [codecs.{name}] must be a list of numbers.")
    for key in ("preset", "encoder_args"):
        if not isinstance(table.get(key, ""), str):
            raise UsageError(f"{key!r} in [codecs.{name}] must be a text, in quotes.")
    return codec_run(
        name,
        preset=table.get("preset"),
        crfs=None if crfs is None else tuple(map(float, crfs)),
        encoder_args=table.get("encoder_args"),
    )


def _table(parent: Mapping[str, Any], name: str, keys: Sequence[str] | None, prefix: str = "") -> dict[str, Any]:
    table = parent.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{name!r} must be a table, [{prefix}{name}].")
    if keys is not None:
        _only(table, keys, "key", f"[{prefix}{name}]")
    return table


def _only(table: Mapping[str, Any], known: Sequence[str], what: str, place: str = "it") -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{place} has an unknown {what} {key!r}; known: {', '.join(known)}.")


def _strings(table: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise UsageError(f"{key!r} in {place} must be a list of texts.")
    return tuple(values)


def _string(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"{key!r} in [clips] must be a text.")
    return value


def _count(table: Mapping[str, Any], key: str) -> int | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UsageError(f"{key!r} in [reference] must be a whole number of at least 1.")
    return value
