"""`encoder_args`: an encoder's own parameters, taken apart and put together again for FFmpeg."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from scene.errors import UsageError

if TYPE_CHECKING:
    from scene.video.hdr import MasteringDisplay

# Parameters with which a CRF has no say.
FIXED_QUALITY = frozenset({"qp", "lossless"})
# Parameters that count bits or frames from a video's first one on.
WHOLE_VIDEO = frozenset(
    {
        "vbv-maxrate",
        "vbv-bufsize",
        "vbv-init",
        "vbv-end",
        "nal-hrd",
        "hrd",
        "mbr",
        "buf-sz",
        "buf-initial-sz",
        "maxrate",
    }
    | {"zones", "zonefile", "qpfile", "force-key-frames", "seek", "frames", "chunk-start", "chunk-end"}
)

_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
_COLON = re.compile(r"(?<!\\)((?:\\\\)*):")
_SPECIAL = re.compile(r"[\\':]")
_ESCAPE = r"\\\g<0>"
_PRIMARIES_UNIT = 50000
_LUMINANCE_UNIT = 10000

Item = tuple[str, str]


def parse_encoder_args(text: str) -> list[Item]:
    r"""Names and values of `name=value:name=value`; a name alone has the value 1.

    A colon in a value is written `\:` and a backslash `\\`; all else, commas and further equals signs too, stands for
    itself.

    Raises:
        UsageError: an item that is not of this form, or a name that comes twice.
    """
    items: list[Item] = []
    for item in _split(text):
        name, equals, value = item.partition("=")
        if not _NAME.fullmatch(name) or (equals and not value):
            raise UsageError(f"`encoder_args` {item!r} is not of the form key=value.")
        if any(plain_name(name) == plain_name(other) for other, _ in items):
            raise UsageError(f"`encoder_args` has {name} twice; leave one of them out.")
        items.append((name, _unescaped(value) if equals else "1"))
    return items


def joined_items(text: str) -> list[Item]:
    """As `parse_encoder_args` for what has been checked: of two items of one name the later counts."""
    parts = (item.partition("=") for item in _split(text))
    return list({name: _unescaped(value) if equals else "1" for name, equals, value in parts}.items())


def join_encoder_args(items: Iterable[Item]) -> str:
    """Items as FFmpeg's dictionaries take them."""
    return ":".join(f"{name}={_SPECIAL.sub(_ESCAPE, value)}" for name, value in items)


def mastering_text(display: MasteringDisplay, *, integers: bool) -> str:
    """SMPTE ST 2086's values as `G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)`, in its integer units or as real numbers."""

    def number(value: float, unit: int) -> str:
        return str(round(value * unit)) if integers else f"{value:.6g}"

    points = {"G": display.green, "B": display.blue, "R": display.red, "WP": display.white}
    text = "".join(
        f"{name}({number(x, _PRIMARIES_UNIT)},{number(y, _PRIMARIES_UNIT)})" for name, (x, y) in points.items()
    )
    bright = number(display.max_luminance, _LUMINANCE_UNIT)
    return f"{text}L({bright},{number(display.min_luminance, _LUMINANCE_UNIT)})"


def _split(text: str) -> list[str]:
    return [item for item in _COLON.sub("\\1\0", text).split("\0") if item]


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def plain_name(name: str) -> str:
    """A parameter's name with dashes, which encoders do not tell from underscores."""
    return name.replace("_", "-")
