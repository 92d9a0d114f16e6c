"""A still that shows one frame of several encodes side by side, whole and enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scene.errors import VerificationError
from scene.video.ffmpeg import FFmpeg, input_name

RGB = npt.NDArray[np.uint8]


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
