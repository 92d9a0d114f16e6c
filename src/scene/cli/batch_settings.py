"""The file of settings of `scene batch`: options of `scene encode` for the files whose paths fit a pattern."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from scene.cli.console import flag_of
from scene.cli.encode_options import EncodeOptions
from scene.cli.habits import translate
from scene.errors import InputError, UsageError
from scene.options import EnhanceOptions, FocusOptions
from scene.video.encoders.settings import EncoderSettings

# One of these takes the place of another, with all that belongs to it.
_QUALITIES = frozenset({"crf", "bitrate", "target"})
_OF_QUALITY = _QUALITIES | {"passes", "max_kbps", "samples", "sample_seconds", "best_effort"}
_PARTS = ("settings", "focusing", "enhancement")
_KNOWN = {
    field.name.replace("_", "-")
    for part in (EncoderSettings, FocusOptions, EnhanceOptions, EncodeOptions)
    for field in fields(part)
    if field.name not in _PARTS
}

# Options by field, as the file has them.
Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Options by pattern, in the order of the file.

    Attributes:
        path: the file.
        tables: what each pattern sets.
    """

    path: Path
    tables: Mapping[str, Table]

    def options_of(self, name: Path, base: EncodeOptions) -> EncodeOptions:
        """What holds for a file: `base`, and over it each table whose pattern fits, a later one over an earlier one.

        Args:
            name: the file's path below the folder of sources.

        Raises:
            UsageError: tables that are right by themselves do not go together.
        """
        merged: dict[str, Any] = {}
        patterns = [pattern for pattern in self.tables if fits(name, pattern)]
        for pattern in patterns:
            merged = _over(merged, self.tables[pattern])
        return _laid_over(base, merged, f"{self.path}, {' and '.join(map(_quoted, patterns))}") if merged else base


def fits(name: Path, pattern: str) -> bool:
    """Whether a path fits a pattern of a shell, in which * stands for any text, slashes too."""
    return fnmatchcase(name.as_posix(), pattern)


def read_settings(path: Path) -> BatchSettings:
    """Reads and checks a file of settings.

    Raises:
        InputError: it is missing or not TOML.
        UsageError: a key that is no option of `scene encode`, or a value that it does not take.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from None
    tables: dict[str, Table] = {}
    for pattern, table in document.items():
        if not isinstance(table, dict):
            raise UsageError(f'{path}: {pattern} stands in no table; put it below a pattern, such as ["*"].')
        for key in table:
            if key not in _KNOWN:
                raise UsageError(f"{path}, {_quoted(pattern)}: scene encode has no option --{key}.")
            if isinstance(table[key], dict):
                raise UsageError(f"{path}, {_quoted(pattern)}: {key} cannot be a table.")
        tables[pattern] = {key.replace("-", "_"): value for key, value in table.items()}
        _parsed(tables[pattern], f"{path}, {_quoted(pattern)}")
    return BatchSettings(path, tables)


def _over(below: Table, above: Table) -> dict[str, Any]:
    kept = below if not _QUALITIES & above.keys() else {k: v for k, v in below.items() if k not in _OF_QUALITY}
    return {**kept, **above}


def _laid_over(base: EncodeOptions, table: Table, where: str) -> EncodeOptions:
    """The options with those of a table in the place of their own."""
    given, usual = _parsed(table, where), EncodeOptions()
    dropped = _OF_QUALITY if _QUALITIES & table.keys() else frozenset[str]()

    def laid(one: Any, over: Any, plain: Any) -> Any:
        names = {field.name for field in fields(one)} - set(_PARTS)
        changes = {name: getattr(plain, name) for name in names & dropped}
        changes |= {name: getattr(over, name) for name in names & table.keys()}
        return replace(one, **changes)

    parts = {part: laid(getattr(base, part), getattr(given, part), getattr(usual, part)) for part in _PARTS}
    whole: EncodeOptions = replace(laid(base, given, usual), **parts)
    return whole


def _parsed(table: Table, where: str) -> EncodeOptions:
    """A table by the parser of the command line."""
    try:
        words = translate(["encode", *(word for name, value in table.items() for word in _words(name, value))])
        options = _parser()(words[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except (cyclopts.CycloptsError, UsageError) as error:
        raise UsageError(f"{where}: {' '.join(str(error).split())}") from None
    assert isinstance(options, EncodeOptions)
    return options


def _parser() -> cyclopts.App:
    app = cyclopts.App(help_flags=(), version_flags=(), default_parameter=Parameter(json_list=False, json_dict=False))

    @app.default
    def options(given: Annotated[EncodeOptions, Parameter(name="*")] = EncodeOptions()) -> EncodeOptions:  # noqa: B008
        return given

    return app


def _words(name: str, value: Any) -> list[str]:
    flag = flag_of(name)
    if value is True:
        return [flag]
    if value is False:
        return [f"--no-{flag[2:]}"] if name == "compare" else []
    if isinstance(value, list):
        return [word for one in value for word in _words(name, one)]
    return [f"{flag}={value}"]


def _quoted(pattern: str) -> str:
    return f'["{pattern}"]'
