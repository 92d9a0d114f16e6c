"""FFmpeg's pixel formats: where each keeps its samples, and decoded frames as pictures that can be changed in place.

Planar, semi-planar and packed formats of 8 to 16 bit are known; what is none of them is refused with a remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
import numpy as np
import numpy.typing as npt

from scene.errors import InputError, UsageError
from scene.picture import Chroma, Picture, PictureFormat, Plane, guess_matrix

VideoFrame: TypeAlias = av.VideoFrame

LIMITED_RANGE, FULL_RANGE = 1, 2
HOW_TO_DEINTERLACE = "deinterlace it first; scene encode does with `deinterlace`"
_PLANAR = re.compile(
    r"(?P<kind>yuv(?P<sort>[ja])?(?P<chroma>420|422|444)p|gray|gbr(?P<alpha>a)?p)(?P<depth>9|10|12|14|16)?(?:le)?"
)


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
        alpha: of the opacity, which is left behind where all of it is full; None without one.
    """

    planar: str
    chroma: Chroma
    bit_depth: int
    rgb: bool
    word: str
    places: tuple[Place, ...]
    alpha: Place | None = None

    @property
    def is_planar(self) -> bool:
        """Whether each plane holds one component and nothing else, and there is no alpha."""
        return self.alpha is None and all(place == Place(index) for index, place in enumerate(self.places))

    @property
    def in_pairs(self) -> bool:
        """Whether two samples of luma share a word group with their chroma: an odd width then lacks the last chroma."""
        return self.chroma == "422" and not any(place.plane for place in self.places)


def sample_layout(name: str) -> SampleLayout:
    """The layout of a pixel format.

    Raises:
        InputError: palettes, floats, bayer patterns, big-endian or unusually subsampled formats, unusual alpha.
    """
    match = _PLANAR.fullmatch(name)
    if match:
        rgb = match["kind"].startswith("gbr")
        chroma = "444" if rgb else match["chroma"] or "400"
        depth = int(match["depth"] or 8)
        count = 1 if chroma == "400" else 3
        places = tuple(Place(index) for index in range(count))
        # The j only says full range.
        planar = name.replace("yuvj", "yuv").replace("yuva", "yuv").replace("gbra", "gbr")
        opacity = Place(3) if "a" in (match["sort"], match["alpha"]) else None
        return SampleLayout(planar, cast(Chroma, chroma), depth, rgb, "u1" if depth == 8 else "<u2", places, opacity)
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
    opacity, *places = (Place(0, order.index(c), len(order)) if c in order else None for c in "agbr")
    return SampleLayout("gbrp", "444", 8, True, "u1", cast(tuple[Place, ...], tuple(places)), opacity)


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
    # As decoders of GIF, PNG and QuickTime's animations give them, whether or not anything shows through.
    **{order: _bytes_rgb(order) for order in ("argb", "abgr", "rgba", "bgra")},
    "ya8": SampleLayout("gray", "400", 8, False, "u1", (Place(0, 0, 2),), Place(0, 1, 2)),
    "ya16le": SampleLayout("gray16le", "400", 16, False, "<u2", (Place(0, 0, 2),), Place(0, 1, 2)),
    "rgb24": _bytes_rgb("rgb"),
    "bgr24": _bytes_rgb("bgr"),
    "x2rgb10le": SampleLayout("gbrp10le", "444", 10, True, "<u4", _tens(10, 0, 20)),
    "x2bgr10le": SampleLayout("gbrp10le", "444", 10, True, "<u4", _tens(10, 20, 0)),
}


def parse_pixel_format(name: str) -> tuple[Chroma, int]:
    """Chroma subsampling and bit depth of a format; RGB has "444". Raises InputError like `sample_layout`."""
    layout = sample_layout(name)
    return layout.chroma, layout.bit_depth


def picture_format(frame: av.VideoFrame) -> PictureFormat:
    """The format of a decoded frame.

    Raises:
        InputError: like `sample_layout`, for an odd width of paired samples, and where something shows through.
    """
    layout = sample_layout(frame.format.name)
    if not _is_opaque(frame, layout):
        raise InputError(
            f"pixel format {frame.format.name} has an alpha channel, and not all is opaque; remove it first "
            f"(format={layout.planar})."
        )
    if layout.in_pairs and frame.width % 2:
        raise InputError(
            f"pixel format {frame.format.name} holds samples in pairs, and a width of {frame.width} is odd; convert it "
            f"first (format={layout.planar})."
        )
    declared = int(frame.color_range)
    # Undeclared, Y'CbCr is limited and RGB is full.
    full_range = declared != LIMITED_RANGE if layout.rgb else declared == FULL_RANGE
    return PictureFormat(
        width=frame.width,
        height=frame.height,
        bit_depth=layout.bit_depth,
        chroma=layout.chroma,
        full_range=full_range or frame.format.name.startswith("yuvj"),
        matrix="rgb" if layout.rgb else guess_matrix(int(frame.colorspace), frame.width, frame.height),
    )


def _is_opaque(frame: av.VideoFrame, layout: SampleLayout) -> bool:
    if layout.alpha is None:
        return True
    plane = frame.planes[layout.alpha.plane]
    words: npt.NDArray[Any] = np.frombuffer(cast(bytes, plane), layout.word)
    lines = words.reshape(-1, plane.line_size // words.itemsize)[: frame.height]
    samples = lines[:, layout.alpha.first :: layout.alpha.step][:, : frame.width]
    return bool((samples == (1 << layout.bit_depth) - 1).all())


def source_format(frame: av.VideoFrame, path: Path | str, *, interlaced: bool = False) -> PictureFormat:
    """`picture_format` of a source's frame; its errors name the file.

    Raises:
        InputError: the frame is interlaced, unless that is allowed, or of a format that is not supported.
    """
    if frame.interlaced_frame and not interlaced:
        raise InputError(f"{path} is interlaced; {HOW_TO_DEINTERLACE}.")
    try:
        return picture_format(frame)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def frame_picture(frame: av.VideoFrame, fmt: PictureFormat) -> Picture:
    """The planes of a frame; of most formats without copying, so that they alias the frame and are valid with it."""
    views = plane_sample_views(frame, sample_layout(frame.format.name), fmt.plane_shapes)
    return Picture(fmt, cast(tuple[Plane, ...], views))


def frame_pictures(frames: Iterable[VideoFrame]) -> Iterator[Picture]:
    """The pictures of frames that need not come from a source of ours.

    Raises:
        UsageError: something else than a frame.
        InputError: see `picture_format`.
    """
    for frame in frames:
        if not isinstance(frame, VideoFrame):
            kinds = "a NumPy array, a torch tensor or PyAV's VideoFrames"
            raise UsageError(f"`frames` hold a {type(frame).__name__}; give {kinds}.")
        yield frame_picture(frame, picture_format(frame))


def with_picture(frame: VideoFrame, picture: Picture) -> VideoFrame:
    """A new frame with a picture of the same format, and the old one's time stamp, duration and colour tags.

    Interleaved samples become planar.
    """
    made = VideoFrame(frame.width, frame.height, planar_name(frame.format.name))
    write_picture(made, picture)
    made.pts, made.duration = frame.pts, frame.duration
    if frame.time_base:
        made.time_base = frame.time_base
    made.colorspace, made.color_range = frame.colorspace, frame.color_range
    made.color_primaries, made.color_trc = frame.color_primaries, frame.color_trc
    return made


def write_picture(frame: av.VideoFrame, picture: Picture) -> None:
    """Writes a picture's planes into a writable frame of the same or a larger size, repeating the last line.

    The frame's format holds the picture's samples where they can be changed in place: planar ones do, and rgb24.
    """
    layout = sample_layout(frame.format.name)
    whole = PictureFormat(frame.width, frame.height, layout.bit_depth, layout.chroma)
    for source, target in zip(picture.planes, plane_sample_views(frame, layout, whole.plane_shapes), strict=True):
        rows, cols = source.shape
        target[:rows, :cols] = source
        target[:rows, cols:] = source[:, -1:]
        target[rows:] = target[rows - 1]


def planar_name(name: str) -> str:
    """What `to_planar` makes of a pixel format."""
    layout = sample_layout(name)
    return name if layout.is_planar else layout.planar


def to_planar(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame with its samples in the planar format that holds the same ones: itself if it has that already.

    Of everything else only the time stamp, its unit and the duration are taken over.
    """
    layout = sample_layout(frame.format.name)
    if layout.is_planar:
        return frame
    planar = av.VideoFrame(frame.width, frame.height, layout.planar)
    write_picture(planar, frame_picture(frame, picture_format(frame)))
    planar.pts, planar.time_base, planar.duration = frame.pts, frame.time_base, frame.duration
    return planar
