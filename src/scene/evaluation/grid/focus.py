"""Methods that move bits to what matters: by what an encoder finds, by a clip's own mask, and by their controls."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from scene.errors import UsageError
from scene.importance.priors import centre_map, moved_map, random_map
from scene.measure.clip import Clip, Recipe
from scene.measure.raw_video import RawVideo, read_lumas, write_raw_video
from scene.measure.regions import Mask, make_mask
from scene.options import FocusBy
from scene.picture import Picture, PictureFormat, Plane
from scene.video.encoders.base import Encoder
from scene.video.encoding.regions import EncoderFocus, MaskReader
from scene.video.ffmpeg import FFmpeg
from scene.video.rawvideo.y4m import Y4MHeader, read_frames, read_header

if TYPE_CHECKING:
    from scene.importance.smoothing import PictureFocus

MapSource = Literal["mask", "encoder", "centre", "shuffled", "random"]
# To be raised whenever the same words would give other maps, offsets or pictures than before.
_VERSION = 1
_MASKED: tuple[MapSource, ...] = ("mask", "shuffled", "random")


@dataclass(frozen=True, slots=True)
class Focus:
    """What moves bits in a clip, and how.

    Attributes:
        source: the clip's mask, what the shipped semantic encoder finds, the middle of the picture, the mask half a
            picture further, or blobs at random that cover as much as the mask.
        strength: 0 to 1.
        by: see `scene.options.FocusOptions`.
    """

    source: MapSource
    strength: float
    by: FocusBy

    @property
    def identity(self) -> str:
        """Part of a method's."""
        return f"focus:{self.source}:{self.strength:g}:{self.by}:v{_VERSION}"

    def serves(self, encoder: Encoder) -> bool:
        """Whether there is a way to do so with an encoder."""
        return self.by == "picture" or encoder.takes_regions

    @property
    def needs_mask(self) -> bool:
        """Whether its map follows from the clip's mask."""
        return self.source in _MASKED


def parse_focus(text: str) -> Focus:
    """A focus of `focus:SOURCE[:STRENGTH[:BY]]`; by the encoder where nothing is said.

    Raises:
        UsageError: it is none.
    """
    word, _, rest = text.partition(":")
    source, _, rest = rest.partition(":")
    number, _, by = rest.partition(":")
    by = by or "encoder"
    try:
        strength = float(number or 1)
    except ValueError:
        strength = -1.0
    known = source in get_args(MapSource) and by in get_args(FocusBy)
    if word != "focus" or not known or not 0 < strength <= 1:
        sources, ways = (", ".join(get_args(kind)) for kind in (MapSource, FocusBy))
        raise UsageError(f"{text!r} must be focus:SOURCE[:STRENGTH[:BY]], SOURCE one of {sources}, BY of {ways}.")
    return Focus(source, strength, by)  # type: ignore[arg-type]


def told(focus: Focus | None, maps: Path | None) -> EncoderFocus | None:
    """What the encoder is told, if anything.

    Args:
        maps: of `make_maps`.
    """
    if focus is None or maps is None or focus.by == "picture":
        return None
    return EncoderFocus(focus.strength, maps)


def smoothing(focus: Focus | None, maps: Path | None) -> PictureFocus | None:
    """What smooths pictures, if anything; arguments as of `told`."""
    if focus is None or maps is None or focus.by == "encoder":
        return None
    from scene.importance.smoothing import PictureFocus

    reader = MaskReader(maps)
    return PictureFocus(focus.strength, lambda picture: reader.next())


def make_maps(
    ffmpeg: FFmpeg, focus: Focus | None, clip: Clip, mask: Mask | None, recipe: Recipe, reference: RawVideo, path: Path
) -> Path | None:
    """Writes the maps of a clip's frames to a file, and gives it; None without a focus.

    Args:
        mask: of the clip; there is one where the focus needs it.
        path: of the file to write; a second one is made beside it meanwhile.

    Raises:
        InputError: the mask cannot be decoded.
        StoppedError: the work was given up.
    """
    if focus is None:
        return None
    fmt = reference.header.format
    grey = PictureFormat(fmt.width, fmt.height, chroma="400", full_range=True)
    masks: RawVideo | None = None
    if focus.needs_mask:
        assert mask is not None
        masks = make_mask(ffmpeg, mask, clip, recipe, path.with_suffix(".mask.y4m"))
    maps = _encoder_maps(reference) if focus.source == "encoder" else _maps(focus, reference, masks, clip)
    write_raw_video(path, Y4MHeader(grey, reference.header.rate), (Picture(grey, (plane,)) for plane in maps))
    if masks is not None:
        masks.path.unlink()
    return path


def _encoder_maps(reference: RawVideo) -> Iterator[Plane]:
    from scene.importance.maps import open_importance

    maps, fmt = open_importance(), reference.header.format
    with reference.path.open("rb") as source:
        for picture in read_frames(source, read_header(source, matrix=fmt.matrix)):
            full = cv2.resize(maps.next(picture), (fmt.width, fmt.height), interpolation=cv2.INTER_LINEAR)
            yield full.astype(np.uint8)


def _maps(focus: Focus, reference: RawVideo, masks: RawVideo | None, clip: Clip) -> Iterator[Plane]:
    fmt, frames = reference.header.format, reference.frames
    if masks is None:
        return iter([centre_map(fmt.width, fmt.height)] * frames)
    if focus.source == "mask":
        return read_lumas(masks)
    if focus.source == "shuffled":
        return map(moved_map, read_lumas(masks))
    share = sum(float(plane.mean()) for plane in read_lumas(masks)) / 255 / masks.frames
    return iter([random_map(fmt.width, fmt.height, share, zlib.crc32(clip.sha256.encode()))] * frames)
