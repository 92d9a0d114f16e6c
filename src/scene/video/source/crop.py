"""What a container hides of its pictures: Matroska's PixelCrop, what lies outside the clean aperture of mp4 and mov.

Decoders give whole pictures, so that is cut off here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.video.stream import VideoStream

from scene.picture import Picture, PictureFormat, Plane
from scene.video.described import described_streams
from scene.video.pixel_format import frame_picture, write_picture
from scene.video.source.filter_graph import open_filter

# A line of its own, so that no tag is taken for it.
_DECLARED = re.compile(r"^ +Frame cropping: (\d+)/(\d+)/(\d+)/(\d+) *$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Crop:
    """How many columns and lines of the coded pictures are hidden."""

    left: int
    right: int
    top: int
    bottom: int

    def hides_all(self, width: int, height: int) -> bool:
        """Whether nothing is left of pictures, as of those that are smaller than the container says."""
        return self.left + self.right >= width or self.top + self.bottom >= height

    def shown(self, coded: PictureFormat) -> PictureFormat:
        """The format of what is left of pictures."""
        return replace(coded, width=coded.width - self.left - self.right, height=coded.height - self.top - self.bottom)

    def coded(self, shown: PictureFormat) -> PictureFormat:
        """The format of the pictures of which that is left."""
        return replace(shown, width=shown.width + self.left + self.right, height=shown.height + self.top + self.bottom)

    def between_chroma(self, fmt: PictureFormat) -> bool:
        """Whether what is shown begins between two samples of chroma."""
        rows, columns = _chroma_steps(fmt)
        return bool(self.left % columns or self.top % rows)

    def cut(self, picture: Picture) -> Picture:
        """What is shown of a picture; chroma that would lie between two samples is their mean."""
        shown = self.shown(picture.format)
        planes = []
        for index, (plane, shape) in enumerate(zip(picture.planes, shown.plane_shapes, strict=True)):
            steps = _chroma_steps(picture.format) if index else (1, 1)
            for axis, (hidden, step) in enumerate(zip((self.top, self.left), steps, strict=True)):
                plane = _from(plane, axis, hidden, step, shape[axis])
            planes.append(plane)
        return Picture(shown, tuple(planes))


def _chroma_steps(fmt: PictureFormat) -> tuple[int, int]:
    """Lines and columns of luma for one of chroma."""
    return (2 if fmt.chroma == "420" else 1), (2 if fmt.chroma in {"420", "422"} else 1)


def _from(plane: Plane, axis: int, hidden: int, step: int, length: int) -> Plane:
    first = hidden // step
    if hidden % step == 0:
        return plane.take(range(first, first + length), axis)
    near = plane.take(range(first, first + length), axis)
    far = plane.take(np.minimum(np.arange(first + 1, first + 1 + length), plane.shape[axis] - 1), axis)
    return cast(Plane, ((near.astype(np.uint32) + far + 1) >> 1).astype(plane.dtype))


def declared_crop(container: InputContainer, stream: VideoStream) -> Crop | None:
    """What a stream's container says is to be hidden; None where it says nothing."""
    match = _DECLARED.search(described_streams(container).get(stream.index, ""))
    if match is None or not any(map(int, match.groups())):
        return None
    return Crop(*map(int, match.groups()))


class Cropper:
    """Cuts frames in a planar format to what is shown of them; time stamps and side data stay.

    Args:
        shown: the format of what is shown.
        path: of the source, for messages.
    """

    def __init__(self, crop: Crop, shown: PictureFormat, time_base: Fraction, path: Path) -> None:
        self._crop = crop
        self._coded = crop.coded(shown)
        self._shown = shown
        self._time_base = time_base
        self._path = path
        self._graph: Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame in memory of its own. Raises InputError where FFmpeg cannot cut its pixel format."""
        if self._graph is None:
            area = f"{self._shown.width}:{self._shown.height}:{self._crop.left}:{self._crop.top}:exact=1"
            self._graph = open_filter(frame, self._time_base, "crop", area, path=self._path, done="cropped")
        pts, duration = frame.pts, frame.duration
        self._graph.vpush(frame)
        cut = self._graph.vpull()
        cut.pts, cut.duration, cut.time_base = pts, duration, self._time_base
        cut.make_writable()
        # The filter takes chroma that lies between two samples for the first of them.
        if self._crop.between_chroma(self._coded):
            write_picture(cut, self._crop.cut(frame_picture(frame, self._coded)))
        return cut
