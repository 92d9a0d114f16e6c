"""FFmpeg's pixel formats as `PictureFormat`, and decoded frames as pictures that can be changed in place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

from scene.errors import InputError
from scene.picture import Chroma, Matrix, Picture, PictureFormat, Plane

_PLANAR = re.compile(r"(?P<kind>yuvj?(?P<chroma>420|422|444)p|gray)(?P<depth>9|10|12|14|16)?(le)?")

FULL_RANGE = 2
# AVColorSpace of a stream that declares none.
UNSPECIFIED = 2
# AVColorSpace to the matrix that networks are told. SMPTE 240M is within a code value or two of BT.709.
_MATRICES: dict[int, Matrix] = {
    1: "bt709",
    4: "bt601",
    5: "bt601",
    6: "bt601",
    7: "bt709",
    9: "bt2020",
    10: "bt2020",
}


def parse_pixel_format(name: str) -> tuple[Chroma, int]:
    """Chroma subsampling and bit depth of a planar YUV or grey format.

    Raises:
        InputError: RGB, palettes, alpha, packed or unusually subsampled formats.
    """
    match = _PLANAR.fullmatch(name)
    if match:
        chroma = cast(Chroma, match["chroma"] or "400")
        return chroma, int(match["depth"] or 8)
    if name.startswith(("yuva", "ya", "gbra", "rgba", "bgra", "argb", "abgr")):
        raise InputError(f"pixel format {name} has an alpha channel; remove it first (format=yuv420p).")
    if name.startswith(("gbr", "rgb", "bgr", "0rgb", "0bgr", "pal8", "x2", "bayer")):
        raise InputError(f"pixel format {name} is RGB, not YUV; convert it first (format=yuv444p).")
    raise InputError(f"pixel format {name} is not supported; convert to planar 4:2:0, 4:2:2 or 4:4:4 first.")


def guess_matrix(colorspace: int, width: int, height: int) -> Matrix:
    """The matrix that a stream declares; undeclared, BT.709 from 1280x720 upwards and BT.601 below."""
    declared = _MATRICES.get(colorspace)
    if declared:
        return declared
    return "bt709" if height >= 720 or width >= 1280 else "bt601"


def picture_format(frame: av.VideoFrame) -> PictureFormat:
    """The format of a decoded frame. Raises InputError like `parse_pixel_format`."""
    chroma, depth = parse_pixel_format(frame.format.name)
    return PictureFormat(
        width=frame.width,
        height=frame.height,
        bit_depth=depth,
        chroma=chroma,
        full_range=int(frame.color_range) == FULL_RANGE or frame.format.name.startswith("yuvj"),
        matrix=guess_matrix(int(frame.colorspace), frame.width, frame.height),
    )


def source_format(frame: av.VideoFrame, path: Path | str) -> PictureFormat:
    """`picture_format` of a source's frame; its errors name the file.

    Raises:
        InputError: the frame is interlaced, or of a format that is not supported.
    """
    if frame.interlaced_frame:
        raise InputError(f"{path} is interlaced; deinterlace it first.")
    try:
        return picture_format(frame)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def frame_picture(frame: av.VideoFrame, fmt: PictureFormat) -> Picture:
    """The planes of a frame without copying them: they are valid, and alias the frame, while it lives."""
    return Picture(fmt, tuple(_plane_view(frame, index, fmt) for index in range(len(fmt.plane_shapes))))


def write_picture(frame: av.VideoFrame, picture: Picture) -> None:
    """Writes a picture's planes into a writable frame of the same or a larger size, repeating the last line."""
    for index, source in enumerate(picture.planes):
        target = _whole_plane(frame, index, picture.format.bit_depth)
        rows, cols = source.shape
        target[:rows, :cols] = source
        target[:rows, cols:] = source[:, -1:]
        target[rows:] = target[rows - 1]


def _plane_view(frame: av.VideoFrame, index: int, fmt: PictureFormat) -> Plane:
    rows, cols = fmt.plane_shapes[index]
    return cast(Plane, _whole_plane(frame, index, fmt.bit_depth)[:rows, :cols])


def _whole_plane(frame: av.VideoFrame, index: int, bit_depth: int) -> npt.NDArray[Any]:
    plane = frame.planes[index]
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    samples: npt.NDArray[Any] = np.frombuffer(cast(bytes, plane), dtype)  # numpy takes any buffer
    return samples.reshape(-1, plane.line_size // samples.itemsize)[: plane.height, : plane.width]
