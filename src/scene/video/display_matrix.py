"""How pictures are to be turned before they are shown: a display matrix (ISO/IEC 14496-12, 6.2.2) in quarter turns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scene.picture import PictureFormat

_ONE = 1 << 16


@dataclass(frozen=True, slots=True)
class Turn:
    """Rows become columns, then the picture is mirrored.

    Attributes:
        swaps: whether rows become columns.
        mirrors: left and right change places.
        flips: top and bottom change places.
    """

    swaps: bool
    mirrors: bool
    flips: bool

    @property
    def filters(self) -> tuple[tuple[str, str], ...]:
        """FFmpeg's filters that do it, by name and options."""
        if self.swaps:
            directions = {(False, False): "cclock_flip", (True, False): "clock", (False, True): "cclock"}
            return (("transpose", f"dir={directions.get((self.mirrors, self.flips), 'clock_flip')}"),)
        return tuple((name, "") for name, on in (("hflip", self.mirrors), ("vflip", self.flips)) if on)

    def done(self, fmt: PictureFormat) -> PictureFormat:
        """The format of turned pictures."""
        return replace(fmt, width=fmt.height, height=fmt.width) if self.swaps else fmt

    def undone(self, fmt: PictureFormat) -> PictureFormat:
        """The format of the pictures that become such ones."""
        return self.done(fmt)


def turn_of(matrix: tuple[int, ...]) -> Turn | None:
    """The turn of a display matrix; None where it changes nothing, or is none of quarter turns.

    Args:
        matrix: nine integers as in FFmpeg's AV_PKT_DATA_DISPLAYMATRIX, which take x to a x + c y and y to b x + d y.
    """
    a, b, c, d = (matrix[index] / _ONE for index in (0, 1, 3, 4))
    rounded = tuple(map(round, (a, b, c, d)))
    if any(abs(value - whole) > 0.01 for value, whole in zip((a, b, c, d), rounded, strict=True)):
        return None
    a, b, c, d = rounded
    if abs(a) == abs(d) == 1 and b == c == 0:
        turn = Turn(False, a < 0, d < 0)
    elif abs(b) == abs(c) == 1 and a == d == 0:
        turn = Turn(True, c < 0, b < 0)
    else:
        return None
    return turn if turn != Turn(False, False, False) else None
