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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from scene.errors import InputError, UsageError
from scene.measure.clip import Recipe
from scene.measure.encode import CodecRun, codec_run
from scene.measure.names import display_name

T = TypeVar("T")
Text = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class ClipSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The clips of a protocol.

    Attributes:
        title: what they are.
        source: where they are had, and what to do with what is had there.
        files: patterns of file names, as of `fnmatch`, the best first; `{name}` stands for a clip's name.
        names: of the clips; without names every file that a pattern matches is a clip.
        also: another name for some of them.
    """

    title: Text
    source: Text
    files: tuple[Text, ...] = ()
    names: tuple[Text, ...] = ()
    also: dict[str, str] = {}


class _Reference(msgspec.Struct, forbid_unknown_fields=True):
    frames: Count | None = None
    halve_above: Count | None = None


class _Codec(msgspec.Struct, forbid_unknown_fields=True):
    preset: str | None = None
    crf: tuple[float, ...] | None = None
    encoder_args: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    methods: tuple[Text, ...] = ()
    clips: dict[str, Any] = {}
    reference: dict[str, Any] = {}
    codecs: dict[str, dict[str, Any]] = {}


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
        UsageError: an unknown or missing section or key, or an invalid value; it is named.
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
    file = _checked(document, _File, "the file")
    if not file.codecs:
        raise UsageError("it has no [codecs.NAME]; give one for each codec.")
    clips = _checked(file.clips, ClipSet, "[clips]")
    for name in clips.also:
        if name not in clips.names:
            raise UsageError(f"[clips.also] has an unknown clip {name!r}; known: {', '.join(clips.names)}.")
    if not clips.files or any(("{name}" in pattern) != bool(clips.names) for pattern in clips.files):
        raise UsageError("'files' in [clips] must have {name} in each pattern where there are 'names', else in none.")
    reference = _checked(file.reference, _Reference, "[reference]")
    return Protocol(
        methods=file.methods,
        clips=clips,
        recipe=Recipe(reference.frames, reference.halve_above),
        codecs=tuple(_codec(name, table) for name, table in file.codecs.items()),
    )


def _codec(name: str, table: Mapping[str, Any]) -> CodecRun:
    codec = _checked(table, _Codec, f"[codecs.{name}]")
    return codec_run(name, preset=codec.preset, crfs=codec.crf, encoder_args=codec.encoder_args)


def _checked(table: Mapping[str, Any], kind: type[T], place: str) -> T:
    """A table as what it must be; the message of a refusal has the table's place and the path of the key in it."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        # Backticks are for fields of requests.
        raise UsageError(f"{place}: {error}".replace("`", "'")) from error
