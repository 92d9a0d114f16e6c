"""The rungs of a ladder: how large and how dear, as a user writes them and as a source allows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from scene.errors import UsageError
from scene.video.source.probe import SourceInfo

# Widths for lines, of the names that people have for sizes.
_WIDE = Fraction(16, 9)
_RUNG = re.compile(
    r"(?:(?P<lines>[0-9]{2,4})p|(?P<width>[0-9]{2,5})x(?P<height>[0-9]{2,5}))"
    r":(?:(?P<rate>[0-9]+(?:\.[0-9]+)?)(?P<unit>[kM])|crf=(?P<crf>[0-9]+(?:\.[0-9]+)?))"
)
_UNITS = {"k": 1, "M": 1000}
_FORM = "give SIZE:RATE, such as 720p:2.8M, 1280x720:2800k or 720p:crf=26"


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung.

    Attributes:
        size: (width, height) of its pictures.
        bitrate: mean, in kbit/s; None for a constant rate factor.
        crf: constant rate factor; None for a bitrate.
    """

    size: tuple[int, int]
    bitrate: int | None = None
    crf: float | None = None

    @property
    def rate(self) -> str:
        """Its rate as a user would write it."""
        return f"crf={self.crf:g}" if self.bitrate is None else f"{self.bitrate}k"

    @property
    def name(self) -> str:
        """For files, such as "1280x720-2800k"."""
        return f"{self.size[0]}x{self.size[1]}-{self.rate.replace('=', '')}"


def parse_rungs(texts: Sequence[str], info: SourceInfo) -> tuple[Rung, ...]:
    """The rungs of texts such as "720p:2.8M", best first.

    A size such as 720p is the largest of the source's shape that fits into 1280x720, or into 720x1280 where the source
    is higher than wide; a source that is larger than none of its sides is left as it is.

    Raises:
        UsageError: a text is malformed, larger than the source, or two rungs are the same.
    """
    rungs = [_parse(text.strip(), info) for text in texts]
    for index, rung in enumerate(rungs):
        if rung in rungs[:index]:
            raise UsageError(f"two of the `rungs` are the same: {rung.size[0]}x{rung.size[1]}:{rung.rate}.")
    return tuple(sorted(rungs, key=_order))


def fitted_size(info: SourceInfo, lines: int) -> tuple[int, int] | None:
    """(width, height) of the source's pictures within so many lines of 16:9, even; None where they would be enlarged.

    Args:
        lines: such as 720.
    """
    fmt = info.format
    short, long = lines, round(lines * _WIDE)
    box = (short, long) if _shown_width(info) < fmt.height else (long, short)
    # By what has to be given up on the tighter side.
    factor = min(Fraction(box[0]) / _shown_width(info), Fraction(box[1], fmt.height))
    if factor > 1:
        # A source of that name may be cropped to fewer lines; what is far smaller is another size.
        return None if factor >= Fraction(4, 3) else _even(info, Fraction(1))
    return _even(info, factor)


def _shown_width(info: SourceInfo) -> Fraction:
    return info.format.width * (info.sample_aspect_ratio or Fraction(1))


def _even(info: SourceInfo, factor: Fraction) -> tuple[int, int]:
    fmt = info.format
    if factor == 1:
        return fmt.width - fmt.width % 2, fmt.height - fmt.height % 2
    # Square samples.
    return 2 * max(1, round(_shown_width(info) * factor / 2)), 2 * max(1, round(fmt.height * factor / 2))


def _parse(text: str, info: SourceInfo) -> Rung:
    match = _RUNG.fullmatch(text)
    if match is None:
        raise UsageError(f"`rungs` {text!r} is no rung; {_FORM}.")
    fmt = info.format
    given = match["lines"]
    size = fitted_size(info, int(given)) if given else (int(match["width"]), int(match["height"]))
    if size is None or size[0] > fmt.width or size[1] > fmt.height:
        raise UsageError(f"`rungs` {text} is larger than {info.path} with {fmt.width}x{fmt.height}; leave it out.")
    if match["crf"]:
        return Rung(size, crf=float(match["crf"]))
    bitrate = round(float(match["rate"]) * _UNITS[match["unit"]])
    if bitrate < 1:
        raise UsageError(f"`rungs` {text} makes no sense; {_FORM}.")
    return Rung(size, bitrate)


def _order(rung: Rung) -> tuple[float, ...]:
    width, height = rung.size
    return -width * height, -(rung.bitrate or 0), rung.crf or 0
