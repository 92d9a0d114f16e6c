"""Single frames: read, turned to RGB, encoded as images, and drawn side by side, whole and enlarged."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scene.errors import VerificationError
from scene.measure.raw_video import RawVideo
from scene.picture import Picture
from scene.video.ffmpeg import FFmpeg, input_name
from scene.video.rawvideo.y4m import Y4MHeader, read_frames, read_header, write_frame, write_header

RGB = npt.NDArray[np.uint8]

_WEBP_QUALITY = 80
_WIDEST = 1920


@dataclass(frozen=True, slots=True)
class Column:
    """One encode in the still: its frame, (H, W, 3), and what is said above it."""

    frame: RGB
    title: str


def read_frame(ffmpeg: FFmpeg, video: Path, number: int, width: int, height: int) -> RGB:
    """Frame `number`, from 0, of a video file as R'G'B' (height, width, 3).

    Raises:
        ProcessError: it cannot be decoded.
        VerificationError: there is no such frame.
    """
    pixels = ffmpeg.run(
        [
            *("-i", input_name(video), "-map", "0:v:0", "-vf", f"select=eq(n\\,{number})", "-frames:v", "1"),
            *("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        ]
    ).stdout
    if len(pixels) != width * height * 3:
        raise VerificationError(f"{video} has no frame {number} of {width}x{height}")
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def read_picture(video: RawVideo, number: int) -> Picture:
    """Frame `number`, from 0, of raw video.

    Raises:
        VerificationError: there is no such frame.
    """
    if not 0 <= number < video.frames:
        raise VerificationError(f"there is no frame {number} among {video.frames}")
    with video.path.open("rb") as stream:
        header = read_header(stream, matrix=video.header.format.matrix)
        stream.seek(number * (header.frame_bytes + len(b"FRAME\n")), io.SEEK_CUR)
        return next(read_frames(stream, header))


def to_rgb(ffmpeg: FFmpeg, picture: Picture, folder: Path) -> RGB:
    """A YUV picture as R'G'B' (height, width, 3), by ffmpeg, with the picture's own matrix and range.

    Args:
        folder: where a private folder may be made.

    Raises:
        ProcessError: ffmpeg failed.
    """
    fmt = picture.format
    limits = "pc" if fmt.full_range else "tv"
    graph = (
        f"scale=in_color_matrix={fmt.matrix}:in_range={limits}:out_range=pc"
        ":flags=bicubic+accurate_rnd+full_chroma_int:sws_dither=none,format=rgb24"
    )
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        path = Path(name) / "picture.y4m"
        with path.open("wb") as file:
            write_header(file, Y4MHeader(fmt, Fraction(1)))
            write_frame(file, picture)
        arguments = ["-i", input_name(path), "-vf", graph, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        pixels = ffmpeg.run(arguments).stdout
    return np.frombuffer(pixels, np.uint8).reshape(fmt.height, fmt.width, 3)


def webp(rgb: RGB) -> bytes:
    """A picture as WebP of high quality, at most 1920 pixels wide."""
    # Pillow comes with matplotlib.
    from PIL import Image

    image = Image.fromarray(rgb)
    if image.width > _WIDEST:
        image = image.resize((_WIDEST, round(image.height * _WIDEST / image.width)), Image.Resampling.LANCZOS)
    return _encoded(image, "WEBP", quality=_WEBP_QUALITY)


def lossless_webp(rgb: RGB) -> bytes:
    """A picture as lossless WebP, pixel for pixel: two fifths smaller than PNG."""
    from PIL import Image

    return _encoded(Image.fromarray(rgb), "WEBP", lossless=True)


def _encoded(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_still(columns: Sequence[Column], crop: tuple[int, int, int, int], path: Path) -> None:
    """Draws the columns' frames above the same crop of each, enlarged to the width of a frame, without smoothing.

    Args:
        columns: frames of one size.
        crop: left, top, width, height.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    left, top, width, height = crop
    frame_height, frame_width = columns[0].frame.shape[:2]
    # One pixel of a frame is one of the still; the crops are as wide as the frames.
    dpi, margin, header = 100, 8, 46
    total_width = len(columns) * frame_width + (len(columns) + 1) * margin
    crop_height = round(height * frame_width / width)
    total_height = header + frame_height + crop_height + 2 * margin
    figure = Figure(figsize=(total_width / dpi, total_height / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)

    def place(image: RGB, x: int, y: int, image_height: int) -> Any:
        axes = figure.add_axes(
            (
                x / total_width,
                1 - (y + image_height) / total_height,
                frame_width / total_width,
                image_height / total_height,
            )
        )
        axes.imshow(image, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        return axes

    for index, column in enumerate(columns):
        x = margin + index * (frame_width + margin)
        figure.text(
            (x + frame_width / 2) / total_width,
            1 - header / 2 / total_height,
            column.title.replace("$", r"\$"),
            ha="center",
            va="center",
            fontsize=9,
        )
        axes = place(column.frame, x, header, frame_height)
        axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor="yellow", linewidth=1))
        place(
            column.frame[top : top + height, left : left + width],
            x,
            header + frame_height + margin,
            crop_height,
        )
    figure.savefig(path, dpi=dpi)
