"""Uncompressed pictures as planes of integers: what decoders give, encoders take and enhancers change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Chroma = Literal["400", "420", "422", "444"]
# "rgb" has planes of R'G'B' itself; "other" is what no function here turns into R'G'B'.
Matrix = Literal["bt601", "bt709", "bt2020", "fcc", "smpte240m", "ycgco", "rgb", "other"]
ChromaLocation = Literal["left", "center", "topleft", "top", "bottomleft", "bottom"]
Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# The code point of ITU-T H.273 for what is not declared.
UNSPECIFIED = 2
# Matrix coefficients of H.273. RGB, unspecified and reserved say nothing about Y'CbCr; the rest, BT.2020 with constant
# luminance and ICtCp among them, is no matrix between gamma-coded R'G'B' and what is stored.
_UNDECLARED = frozenset({0, UNSPECIFIED, 3})
_MATRICES: dict[int, Matrix] = {
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020",
}


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """How the code values of a picture are to be read.

    Attributes:
        width, height: size of the luma plane in samples.
        bit_depth: 8 to 16; planes of more than 8 bits are uint16 with the value in the low bits.
        chroma: subsampling; "400" has a luma plane only, and RGB is "444".
        full_range: True where code 0 is black and the largest code is white.
        matrix: how luma and chroma relate to RGB.
        chroma_location: where subsampled chroma lies between luma, in FFmpeg's names; its rows and columns lie
            with every first luma sample of two ("topleft"), between two ("center"), or with every second.
    """

    width: int
    height: int
    bit_depth: int = 8
    chroma: Chroma = "420"
    full_range: bool = False
    matrix: Matrix = "bt709"
    chroma_location: ChromaLocation = "left"

    @property
    def plane_shapes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each plane; chroma sizes are rounded up, as every codec does."""
        luma = (self.height, self.width)
        if self.chroma == "400":
            return (luma,)
        rows = -(-self.height // 2) if self.chroma == "420" else self.height
        cols = self.width if self.chroma == "444" else -(-self.width // 2)
        return (luma, (rows, cols), (rows, cols))


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture: Y, U, V planes, or Y alone, or G, B, R; each (height, width), uint8 or uint16."""

    format: PictureFormat
    planes: tuple[Plane, ...]


def middle_window(fmt: PictureFormat, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of so many luma samples in the middle of a picture, at even offsets."""
    top, left = (fmt.height - height) // 4 * 2, (fmt.width - width) // 4 * 2
    return slice(top, top + height), slice(left, left + width)


def cut_out(picture: Picture, window: tuple[slice, slice]) -> Picture:
    """As `crop`, in memory of its own: a view would keep the whole picture."""
    part = crop(picture, window)
    return replace(part, planes=tuple(plane.copy() for plane in part.planes))


def crop(picture: Picture, window: tuple[slice, slice]) -> Picture:
    """The part of a picture, of even size at even offsets, in luma samples; its planes alias the picture's."""
    fmt = picture.format
    rows, columns = window
    small = replace(fmt, width=columns.stop - columns.start, height=rows.stop - rows.start)
    planes = []
    for index, plane in enumerate(picture.planes):
        down = 2 if index and fmt.chroma == "420" else 1
        across = 2 if index and fmt.chroma in {"420", "422"} else 1
        part = plane[rows.start // down : rows.stop // down, columns.start // across : columns.stop // across]
        planes.append(part)
    return Picture(small, tuple(planes))


class Frame(Protocol):
    """A picture with the time at which it is shown, which can be given other samples: what decoders and pipes give."""

    @property
    def pts(self) -> int:
        """When it is shown, in its source's time base."""
        ...

    def picture(self) -> Picture:
        """Its planes, which stay what they are until `replace`."""
        ...

    def replace(self, picture: Picture) -> None:
        """Puts another picture of the same format in its place."""
        ...


def guess_matrix(code_point: int, width: int, height: int) -> Matrix:
    """The matrix of a code point of H.273; undeclared, BT.709 from 1280x720 upwards and BT.601 below."""
    if code_point not in _UNDECLARED:
        return _MATRICES.get(code_point, "other")
    return "bt709" if height >= 720 or width >= 1280 else "bt601"
