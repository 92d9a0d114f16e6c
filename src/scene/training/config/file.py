"""A training file: TOML to sections, with the line of what cannot be."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from scene.errors import InputError, UsageError
from scene.metrics.loss_metrics import LOSS_METRICS
from scene.training.config.checks import ConfigError, Section, convert
from scene.training.config.sections import SECTIONS, LossConfig, TrainingConfig, Weight


def read_config(path: Path, settings: Sequence[str] = ()) -> TrainingConfig:
    """Reads and checks a training file.

    Args:
        path: TOML, one table for each section.
        settings: `section.key=value` in place of what the file says, the value as TOML or a bare word; the last of one
            key counts, and of `run.steps` and `run.epochs` too.

    Raises:
        InputError: the file is missing or not TOML.
        UsageError: an unknown section or key, a value of the wrong type or out of range; the line is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    for setting in settings:
        section, key, value = _parse_setting(setting)
        table = tables.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
            if (section, key) == ("run", "steps"):
                # The later word wins: the file's epochs would go before the number that was just asked for.
                table["epochs"] = 0
    built: dict[str, Any] = {}
    try:
        for name, table in tables.items():
            if name not in SECTIONS or not isinstance(table, dict):
                message = f"no section [{name}]; known: {', '.join(SECTIONS)}"
                raise UsageError(f"{_place(path, text, None, name)}: {message}")
            built[name] = _read_section(SECTIONS[name], name, table)
        return TrainingConfig(**built)
    except ConfigError as error:
        raise UsageError(f"{_place(path, text, error.section, error.key)}: {error}") from error


def config_as_dict(config: TrainingConfig) -> dict[str, Any]:
    """The configuration as plain dictionaries, as a file has it, for records and logs."""
    sections = dataclasses.asdict(config)
    sections["loss"] |= sections["loss"].pop("weights")
    return sections


def _read_section(section: type[Section], name: str, table: Mapping[str, Any]) -> Section:
    """A section from its table; a loss metric's weight is a key like any other in the file."""
    weighed = LOSS_METRICS if section is LossConfig else {}
    known = [*(f.name for f in dataclasses.fields(section) if f.name != "weights"), *weighed]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise ConfigError(key, table[key], f"is no key of [{name}]; known: {', '.join(known)}", name)
    values = {key: value for key, value in table.items() if key not in weighed}
    weights = {key: value for key, value in table.items() if key in weighed}
    if weights:
        # With fields by name, so that a refusal says which.
        fields = [(key, Weight) for key in weights]
        values["weights"] = msgspec.to_builtins(convert(weights, msgspec.defstruct("Weights", fields), name))
    return convert(values, section, name)


def _parse_setting(text: str) -> tuple[str, str, Any]:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise UsageError(f"`set` {text!r} must be SECTION.KEY=VALUE, for example run.batch=4")
    try:
        return section, key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, value.strip()


def _place(path: Path, text: str, section: str | None, key: str) -> str:
    """`file:line` of a section or key, as near as a plain scan can tell."""
    inside = section is None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.split("#")[0].strip()
        if stripped.startswith("["):
            header = stripped.strip("[] ")
            if section is None and header.split(".")[0] == key:
                return f"{path}:{number}"
            inside = header == section or section is None
        elif inside and stripped.split("=")[0].strip() == key:
            return f"{path}:{number}"
    return str(path)
