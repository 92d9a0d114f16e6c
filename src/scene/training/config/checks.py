"""Values that cannot be, and where they belong: the rules of types by msgspec, in words."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from scene.errors import UsageError

Section = TypeVar("Section")


class ConfigError(UsageError):
    """A value that cannot be, with where it belongs.

    Attributes:
        key: whose value it is; the message does not repeat it.
        section: that holds the key, "" where the section itself raises this.
    """

    def __init__(self, key: str, value: object, rule: str, section: str = "") -> None:
        super().__init__(f"{key} = {value!r} {rule}")
        self.key = key
        self.section = section


def require(condition: bool, key: str, value: object, rule: str, section: str = "") -> None:
    """Raises ConfigError unless a condition holds; the arguments after it are the error's."""
    if not condition:
        raise ConfigError(key, list(value) if isinstance(value, tuple) else value, rule, section)


_REFUSAL = re.compile(r"(.*?)(?: - at `\$\.?(\w*).*`)?", re.DOTALL)


def convert(values: Mapping[str, Any], section: type[Section], name: str) -> Section:
    """A section of checked values, or ConfigError.

    Types and bounds are checked by msgspec, which names the field by its path: ``Expected `int` >= 1 - at `$.batch```.
    """
    try:
        return msgspec.convert(values, section)
    except msgspec.ValidationError as error:
        found = _REFUSAL.fullmatch(str(error))
        rule, key = found.groups(default="") if found else (str(error), "")
        raise ConfigError(key, values.get(key), _in_words(rule, section, key), name) from error
    except ConfigError as error:
        error.section = error.section or name
        raise
    except UsageError as error:
        # The network's own checks are no rules of types: a value that they refuse is refused among defaults too.
        key = next((key for key, value in values.items() if _refuses(section, {key: value})), "")
        value = values.get(key)
        raise ConfigError(key, value, str(error).removeprefix(f"{key} = {value!r} "), name) from error


def _refuses(section: type[Section], values: Mapping[str, Any]) -> bool:
    try:
        section(**values)
    except UsageError:
        return True
    return False


def _in_words(rule: str, section: type[Any], key: str) -> str:
    """Msgspec's rule behind "key = value"; it does not say which words may stand where one of several must."""
    choices = _choices(typing.get_type_hints(section).get(key))
    if rule.startswith("Invalid enum value") and choices:
        return f"must be one of {', '.join(map(str, choices))}"
    # Backticks are for fields of requests.
    return f"must be {rule.removeprefix('Expected ')}".replace("`", "")


def _choices(hint: Any) -> list[Any]:
    """The values of the literals in a type."""
    parts = list(typing.get_args(hint))
    return parts if typing.get_origin(hint) is Literal else [value for part in parts for value in _choices(part)]
