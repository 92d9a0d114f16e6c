"""FFmpeg's pixel formats as `PictureFormat`, and decoded frames as pictures that can be changed in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias, cast

import av

from scene.errors import InputError, UsageError
from scene.picture import Chroma, Matrix, Picture, PictureFormat, Plane
from scene.video.sample_layout import plane_sample_views, sample_layout

VideoFrame: TypeAlias = av.VideoFrame

LIMITED_RANGE, FULL_RANGE = 1, 2
# AVColorSpace of a stream that declares none.
UNSPECIFIED = 2
HOW_TO_DEINTERLACE = "deinterlace it first; scene encode does with `deinterlace`"
# AVColorSpace to the matrix that networks are told. RGB, unspecified and reserved say nothing about Y'CbCr; the rest,
# BT.2020 with constant luminance and ICtCp among them, is no matrix between gamma-coded R'G'B' and what is stored.
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


def parse_pixel_format(name: str) -> tuple[Chroma, int]:
    """Chroma subsampling and bit depth of a format; RGB has "444". Raises InputError like `sample_layout`."""
    layout = sample_layout(name)
    return layout.chroma, layout.bit_depth


def guess_matrix(colorspace: int, width: int, height: int) -> Matrix:
    """The matrix that a stream declares; undeclared, BT.709 from 1280x720 upwards and BT.601 below."""
    if colorspace not in _UNDECLARED:
        return _MATRICES.get(colorspace, "other")
    return "bt709" if height >= 720 or width >= 1280 else "bt601"


def picture_format(frame: av.VideoFrame) -> PictureFormat:
    """The format of a decoded frame. Raises InputError like `sample_layout`, and for an odd width of paired samples."""
    layout = sample_layout(frame.format.name)
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
