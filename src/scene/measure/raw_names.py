"""Raw `.yuv` files: they hold nothing but samples, so their name says how the samples lie.

The names are those under which UVG is published: `Beauty_1920x1080_120fps_420_8bit_YUV.yuv`, and
`CityAlley_3840x2160_50fps_8bit.yuv` for its later clips.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from scene.errors import InputError
from scene.measure.names import display_name

_SIZE = re.compile(r"(?<![0-9A-Za-z])([1-9][0-9]{0,4})x([1-9][0-9]{0,4})(?![0-9A-Za-z])")
_RATE = re.compile(r"(?<![0-9A-Za-z.])([0-9]{1,3}(?:\.[0-9]{1,3})?)fps(?![0-9A-Za-z])", re.IGNORECASE)
_DEPTH = re.compile(r"(?<![0-9A-Za-z])([0-9]{1,2})bits?(?![0-9A-Za-z])", re.IGNORECASE)
_CHROMA = re.compile(r"(?<![0-9A-Za-z])(?:yuv)?(4[0-4][0-4])p?(?![0-9A-Za-z])", re.IGNORECASE)
_EXAMPLE = "NAME_1920x1080_50fps_420_8bit_YUV.yuv"


@dataclass(frozen=True, slots=True)
class RawLayout:
    """How the samples of a raw file lie: planar 4:2:0, limited range, deeper ones as little-endian 16 bit.

    Attributes:
        width, height: in pixels.
        rate: frames per second.
        bit_depth: 8 or 10.
    """

    width: int
    height: int
    rate: Fraction
    bit_depth: int

    @property
    def pixel_format(self) -> str:
        """ffmpeg's name of it."""
        return "yuv420p" if self.bit_depth == 8 else "yuv420p10le"

    @property
    def frame_bytes(self) -> int:
        """Size of one picture."""
        chroma = ((self.width + 1) // 2) * ((self.height + 1) // 2)
        return (self.width * self.height + 2 * chroma) * (1 if self.bit_depth == 8 else 2)


def is_raw(path: Path) -> bool:
    """Whether a file is taken for raw samples: by its suffix, since there is nothing else to go by."""
    return path.suffix.lower() == ".yuv"


def raw_layout(path: Path) -> RawLayout:
    """The layout that a raw file's name states; 8 bit and 4:2:0 where it says nothing of them.

    Raises:
        InputError: the name gives no size or rate, two of them, or a layout that is not supported.
    """
    name = path.name
    sizes, rates = _SIZE.findall(name), _RATE.findall(name)
    if len(sizes) != 1 or len(rates) != 1 or float(rates[0]) == 0:
        raise InputError(
            f"{display_name(name)} is raw video, and its name must state size and rate once each; "
            f"name it like {_EXAMPLE}."
        )
    depths = {int(depth) for depth in _DEPTH.findall(name)} or {8}
    chromas = set(_CHROMA.findall(name)) or {"420"}
    if not depths < {8, 10} or chromas != {"420"}:
        raise InputError(
            f"{display_name(name)} is raw video of a kind that is not supported: 4:2:0 of 8 or 10 bit is, "
            f"named like {_EXAMPLE}."
        )
    (width, height), (depth,) = sizes[0], depths
    return RawLayout(int(width), int(height), _rate(rates[0]), depth)


def check_raw_size(path: Path, layout: RawLayout) -> None:
    """Raises InputError if a raw file is missing, or is no whole number of pictures of its layout."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{display_name(str(path))} cannot be read ({error.strerror})") from error
    if not path.is_file():
        raise InputError(f"{display_name(str(path))} is no regular file.")
    frames, rest = divmod(size, layout.frame_bytes)
    if rest or not frames:
        raise InputError(
            f"{display_name(path.name)} holds {frames} pictures of {layout.width}x{layout.height} at "
            f"{layout.bit_depth} bit and {rest} bytes more: it is cut short, or its name does not say what it holds."
        )


def _rate(text: str) -> Fraction:
    """A rate as it is written; 23.976, 29.97 and 59.94 are those of television."""
    rate = Fraction(text)
    television = Fraction(-(-rate.numerator // rate.denominator) * 1000, 1001)
    return television if rate.denominator > 1 and abs(rate - television) < Fraction(1, 200) else rate
