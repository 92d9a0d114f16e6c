"""Telling an encoder where bits matter: a map of importance as offsets of its quantiser, which travel with each frame.

FFmpeg's encoders read regions of interest from a frame's side data (AV_FRAME_DATA_REGIONS_OF_INTEREST). PyAV cannot
write it; FFmpeg's filter `addroi`, one for each box, does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.filter import Graph

from scene.errors import InputError, SceneError
from scene.picture import Plane
from scene.video.source.decode import Decoder
from scene.video.source.open import reason
from scene.video.source.probe import SourceInfo, probe

# Quantisers between what matters least and what matters most, at full focus: half the rate, or a little more.
FULL_FOCUS_QPS = 8.0
_BLOCK = 16
# So that the number of boxes has a bound, whatever the size.
_MOST_COLUMNS = 64
# Of x264's and x265's offsets at 8 bit; deeper samples have 6 quantisers more a bit.
_QPS = 51
_QPS_PER_BIT = 6


@dataclass(frozen=True, slots=True)
class EncoderFocus:
    """What an encoder is told.

    Attributes:
        strength: 0 to 1; see `FULL_FOCUS_QPS`.
        masks: a video with one picture for each frame, of any size: white where it matters.
    """

    strength: float
    masks: Path


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of a picture, in pixels, and by how many quantisers it differs."""

    left: int
    top: int
    width: int
    height: int
    quantisers: int


def quantiser_offsets(importance: Plane, size: tuple[int, int], strength: float) -> npt.NDArray[np.int64]:
    """Offsets for blocks of a picture, (rows, columns), in whole quantisers; their mean is close to 0.

    Moved, not added: a map that says the same of everything changes nothing.

    Args:
        importance: (h, w), 0 to 255, of the whole picture.
        size: width and height of the picture.
        strength: 0 to 1.
    """
    edge = block_edge(size[0])
    columns, rows = (-(-side // edge) for side in size)
    # Blocks at the right and at the bottom may reach beyond the picture: what is there counts for all of them.
    filled = cv2.resize(importance, (size[0], size[1]), interpolation=cv2.INTER_LINEAR)
    padding = (0, rows * edge - size[1], 0, columns * edge - size[0])
    filled = cv2.copyMakeBorder(filled, *padding, cv2.BORDER_REPLICATE)
    blocks = filled.reshape(rows, edge, columns, edge).mean(axis=(1, 3)) / 255
    offsets: npt.NDArray[np.int64] = np.rint((blocks.mean() - blocks) * FULL_FOCUS_QPS * strength).astype(np.int64)
    return offsets


def block_edge(width: int) -> int:
    """Side of the blocks of a picture of this width."""
    return _BLOCK * max(1, -(-width // (_BLOCK * _MOST_COLUMNS)))


def boxes_of(offsets: npt.NDArray[np.int64], size: tuple[int, int]) -> tuple[Box, ...]:
    """Boxes that do not overlap and cover every block with an offset: runs along rows, joined where rows agree.

    Args:
        offsets: of `quantiser_offsets`.
        size: width and height of the picture.
    """
    edge = block_edge(size[0])
    open_runs: dict[tuple[int, int, int], int] = {}
    found: list[tuple[int, int, int, int, int]] = []
    for row, line in enumerate([*offsets, np.zeros_like(offsets[0])]):
        runs = set(_runs(line))
        for run in [run for run in open_runs if run not in runs]:
            found.append((open_runs.pop(run), row, *run))
        for run in runs:
            open_runs.setdefault(run, row)
    boxes = []
    for top, bottom, left, right, quantisers in sorted(found):
        x, y = left * edge, top * edge
        width, height = min(right * edge, size[0]) - x, min(bottom * edge, size[1]) - y
        boxes.append(Box(x, y, width, height, quantisers))
    return tuple(boxes)


class RegionMarker:
    """Gives frames their regions of interest.

    Args:
        strength: 0 to 1.
        bit_depth: of the encoder's samples.
    """

    def __init__(self, strength: float, bit_depth: int) -> None:
        self._strength = strength
        self._range = _QPS + _QPS_PER_BIT * (bit_depth - 8)
        self._boxes: tuple[Box, ...] = ()
        self._graph: Graph | None = None

    def mark(self, frame: av.VideoFrame, importance: Plane, time_base: Fraction) -> av.VideoFrame:
        """The frame, which shares its samples with the given one, with regions of interest."""
        size = frame.width, frame.height
        boxes = boxes_of(quantiser_offsets(importance, size, self._strength), size)
        if not boxes:
            return frame
        if boxes != self._boxes or self._graph is None:
            self._boxes, self._graph = boxes, self._build(frame, boxes, time_base)
        kept = frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc
        self._graph.push(frame)
        marked = self._graph.pull()
        assert isinstance(marked, av.VideoFrame)
        marked.colorspace, marked.color_range, marked.color_primaries, marked.color_trc = kept
        return marked

    def _build(self, frame: av.VideoFrame, boxes: tuple[Box, ...], time_base: Fraction) -> Graph:
        graph = Graph()
        size = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={time_base}"
        # With the frame's own colour, or FFmpeg says for every frame that its properties change.
        source = graph.add("buffer", f"{size}:colorspace={frame.colorspace}:range={frame.color_range}")
        marks = [
            graph.add(
                "addroi",
                f"x={box.left}:y={box.top}:w={box.width}:h={box.height}:qoffset={box.quantisers}/{self._range}",
            )
            for box in boxes
        ]
        graph.link_nodes(source, *marks, graph.add("buffersink")).configure()
        return graph


class MaskReader:
    """A video of masks, picture by picture, beside the video that they are of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._masks = _read_masks(path)
        self._given = 0

    def next(self) -> Plane:
        """The mask of the next frame, (H, W), from 0 to 255.

        Raises:
            InputError: there is none, or the file cannot be read.
        """
        mask = next(self._masks, None)
        if mask is None:
            raise InputError(
                f"{self._path} has {self._given} pictures and the video has more; give a mask for each frame."
            )
        self._given += 1
        return mask


class MaskWriter:
    """Writes masks as a lossless grey video, which `MaskReader` and whoever else takes masks can read.

    Args:
        path: of a Matroska file.
        info: of the video that the masks are of: its size and time base are theirs.
    """

    def __init__(self, path: Path, info: SourceInfo) -> None:
        self._output = av.open(str(path), "w", format="matroska")
        self._stream = self._output.add_stream("ffv1", rate=info.rate)
        self._stream.width, self._stream.height = info.format.width, info.format.height
        self._stream.pix_fmt = "gray"
        self._stream.codec_context.time_base = info.time_base
        self._time_base = info.time_base

    def __enter__(self) -> MaskWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.close()

    def write(self, mask: Plane, pts: int) -> None:
        """Adds the mask of a frame, (h, w) of any size, from 0 to 255.

        Raises:
            SceneError: there is no room.
        """
        size = self._stream.width, self._stream.height
        full = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(full, "gray")
        frame.pts, frame.time_base = pts, self._time_base
        self._mux(frame)

    def finish(self) -> None:
        """Writes what is left. Raises SceneError as `write` does."""
        self._mux(None)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._output.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise SceneError(f"the map cannot be written: {reason(error)}.") from error


def _read_masks(path: Path) -> Iterator[Plane]:
    with Decoder(probe(path), writable=False, quiet=True) as decoder:
        for unit in decoder.units():
            if unit.frame is not None:
                # The first plane, in 8 bit and full range.
                yield cast(Plane, unit.frame.av_frame.reformat(format="gray").to_ndarray())


def _runs(line: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Begin, end and value of runs of equal values other than 0."""
    borders = [0, *(np.flatnonzero(np.diff(line)) + 1).tolist(), len(line)]
    for begin, end in pairwise(borders):
        if line[begin]:
            yield begin, end, int(line[begin])
