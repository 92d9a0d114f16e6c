"""Where FFmpeg's pixel formats keep the samples of a picture: planar, semi-planar and packed ones, 8 to 16 bit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

from scene.errors import InputError
from scene.picture import Chroma

_PLANAR = re.compile(r"(?P<kind>yuvj?(?P<chroma>420|422|444)p|gray|gbrp)(?P<depth>9|10|12|14|16)?(?:le)?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one component lies: in words of its plane, the value `shift` bits above the lowest."""

    plane: int
    first: int = 0
    step: int = 1
    shift: int = 0


@dataclass(frozen=True, slots=True)
class SampleLayout:
    """A pixel format.

    Attributes:
        planar: the name of the planar format that holds the same samples.
        word: the integer that planes consist of.
        places: of Y, U and V, of Y alone, or of G, B and R.
    """

    planar: str
    chroma: Chroma
    bit_depth: int
    rgb: bool
    word: str
    places: tuple[Place, ...]

    @property
    def is_planar(self) -> bool:
        """Whether each plane holds one component and nothing else."""
        return all(place == Place(index) for index, place in enumerate(self.places))

    @property
    def in_pairs(self) -> bool:
        """Whether two samples of luma share a word group with their chroma: an odd width then lacks the last chroma."""
        return self.chroma == "422" and not any(place.plane for place in self.places)


def sample_layout(name: str) -> SampleLayout:
    """The layout of a pixel format.

    Raises:
        InputError: alpha, palettes, floats, bayer patterns, big-endian or unusually subsampled formats.
    """
    match = _PLANAR.fullmatch(name)
    if match:
        rgb = match["kind"] == "gbrp"
        chroma = "444" if rgb else match["chroma"] or "400"
        depth = int(match["depth"] or 8)
        count = 1 if chroma == "400" else 3
        places = tuple(Place(index) for index in range(count))
        # The j only says full range.
        return SampleLayout(
            name.replace("yuvj", "yuv"), cast(Chroma, chroma), depth, rgb, "u1" if depth == 8 else "<u2", places
        )
    if name in _INTERLEAVED:
        return _INTERLEAVED[name]
    pixels = av.VideoFormat(name)
    if pixels.has_palette:
        raise InputError(f"pixel format {name} has a palette; convert it first (format=gbrp).")
    if any(component.is_alpha for component in pixels.components):
        raise InputError(f"pixel format {name} has an alpha channel; remove it first (format=yuv420p).")
    if pixels.is_rgb:
        raise InputError(f"pixel format {name} is an RGB format that is not supported; convert it first (format=gbrp).")
    raise InputError(f"pixel format {name} is not supported; convert to planar 4:2:0, 4:2:2 or 4:4:4 first.")


def plane_sample_views(
    frame: av.VideoFrame, layout: SampleLayout, shapes: Iterable[tuple[int, int]]
) -> tuple[npt.NDArray[Any], ...]:
    """The samples of a frame, one array of each shape (rows, columns) for each place.

    They are the frame's own memory, but for formats whose words hold more than a value in the lowest bits: copies.
    """
    views = []
    for place, (rows, columns) in zip(layout.places, shapes, strict=True):
        plane = frame.planes[place.plane]
        words: npt.NDArray[Any] = np.frombuffer(cast(bytes, plane), layout.word)  # numpy takes any buffer
        lines = words.reshape(-1, plane.line_size // words.itemsize)
        samples = lines[:rows, place.first :: place.step][:, :columns]
        if place.shift or layout.word == "<u4":
            # What lies below the shift is padding, what lies above belongs to others.
            wanted = np.uint8 if layout.bit_depth == 8 else np.uint16
            samples = (samples >> place.shift & (1 << layout.bit_depth) - 1).astype(wanted)
        views.append(samples)
    return tuple(views)


def _semi_planar(name: str, chroma: Chroma, depth: int = 8, shift: int = 0, *, swapped: bool = False) -> SampleLayout:
    first = (1, 0) if swapped else (0, 1)
    places = (Place(0, shift=shift), *(Place(1, start, 2, shift) for start in first))
    return _yuv(name, chroma, depth, places)


def _packed_422(order: str, depth: int = 8, shift: int = 0) -> SampleLayout:
    """Four words, in this order, for two samples of luma."""
    places = tuple(Place(0, order.index(letter), 2 if letter == "y" else 4, shift) for letter in "yuv")
    return _yuv("yuv422p", "422", depth, places)


def _yuv(name: str, chroma: Chroma, depth: int, places: tuple[Place, ...], word: str | None = None) -> SampleLayout:
    planar = name if depth == 8 else f"{name}{depth}le"
    return SampleLayout(planar, chroma, depth, False, word or ("u1" if depth == 8 else "<u2"), places)


def _bytes_rgb(order: str) -> SampleLayout:
    return SampleLayout("gbrp", "444", 8, True, "u1", tuple(Place(0, order.index(c), len(order)) for c in "gbr"))


def _tens(*shifts: int) -> tuple[Place, ...]:
    return tuple(Place(0, shift=shift) for shift in shifts)


_INTERLEAVED: dict[str, SampleLayout] = {
    "nv12": _semi_planar("yuv420p", "420"),
    "nv21": _semi_planar("yuv420p", "420", swapped=True),
    "nv16": _semi_planar("yuv422p", "422"),
    "nv24": _semi_planar("yuv444p", "444"),
    "nv42": _semi_planar("yuv444p", "444", swapped=True),
    "nv20le": _semi_planar("yuv422p", "422", 10),
    "p010le": _semi_planar("yuv420p", "420", 10, 6),
    "p012le": _semi_planar("yuv420p", "420", 12, 4),
    "p210le": _semi_planar("yuv422p", "422", 10, 6),
    "p212le": _semi_planar("yuv422p", "422", 12, 4),
    "p410le": _semi_planar("yuv444p", "444", 10, 6),
    "p412le": _semi_planar("yuv444p", "444", 12, 4),
    "yuyv422": _packed_422("yuyv"),
    "yvyu422": _packed_422("yvyu"),
    "uyvy422": _packed_422("uyvy"),
    "y210le": _packed_422("yuyv", 10, 6),
    "y212le": _packed_422("yuyv", 12, 4),
    "vuyx": _yuv("yuv444p", "444", 8, (Place(0, 2, 4), Place(0, 1, 4), Place(0, 0, 4))),
    "vyu444": _yuv("yuv444p", "444", 8, (Place(0, 1, 3), Place(0, 2, 3), Place(0, 0, 3))),
    "xv30le": _yuv("yuv444p", "444", 10, _tens(10, 0, 20), "<u4"),
    "xv36le": _yuv("yuv444p", "444", 12, (Place(0, 1, 4, 4), Place(0, 0, 4, 4), Place(0, 2, 4, 4))),
    **{order: _bytes_rgb(order) for order in ("0rgb", "0bgr", "rgb0", "bgr0")},
    "rgb24": _bytes_rgb("rgb"),
    "bgr24": _bytes_rgb("bgr"),
    "x2rgb10le": SampleLayout("gbrp10le", "444", 10, True, "<u4", _tens(10, 0, 20)),
    "x2bgr10le": SampleLayout("gbrp10le", "444", 10, True, "<u4", _tens(10, 20, 0)),
}
