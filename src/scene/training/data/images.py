"""Photographs: found below a folder, read, and as a source of one-frame sequences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scene.errors import InputError, MissingError
from scene.training.data.frames import Image, Part, identify, in_part, list_files

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


class ImageSource:
    """Every photograph below a folder, in the order of names, each a sequence of one frame.

    Raises:
        InputError: no such folder, or no image of this part in it.
    """

    def __init__(self, folder: Path, part: Part) -> None:
        self._folder = folder
        self._names = [
            name for path in list_images(folder) if in_part(name := path.relative_to(folder).as_posix(), part)
        ]
        if not self._names:
            raise InputError(f"{folder} holds too few images for a {part} part; add some or name a folder for it")
        sizes = ((folder / name).stat().st_size for name in self._names)
        self._identity = identify(["images", part, *zip(self._names, sizes, strict=True)])

    @property
    def identity(self) -> str:
        return self._identity

    def __len__(self) -> int:
        return len(self._names)

    def length(self, sequence: int) -> int:
        return 1

    def name(self, sequence: int, frame: int) -> str:
        return str(self._folder / self._names[sequence])

    def read(self, sequence: int, frame: int) -> Image:
        return read_image(self._folder / self._names[sequence])


def list_images(folder: Path) -> list[Path]:
    """Every image file below a folder, sorted.

    Raises:
        InputError: the folder does not exist or holds none.
    """
    return list_files(folder, "image", _SUFFIXES)


def read_image(path: Path) -> Image:
    """A photograph as (H, W, 3) uint8 RGB, upright as its EXIF orientation says.

    Raises:
        InputError: it cannot be read, or its samples have no known range.
        MissingError: Pillow is not installed.
    """
    with _opened(path) as image:
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(image)
        if image.mode in _DEEP_GREY:
            grey = _eight_bits(np.asarray(upright), *_depth_and_sense(image))
            return np.repeat(grey[..., None], 3, axis=2)
        if image.mode in _WITHOUT_RANGE:
            raise ValueError("its samples are no fractions of a known white; save it with 8 or 16 bits")
        return np.asarray(upright.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of a photograph, upright, from its header alone; errors as for `read_image`."""
    with _opened(path) as image:
        width, height = image.size
        # Of TIFF Pillow gives the upright size by itself.
        turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
        return (height, width) if turned else (width, height)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file as Pillow opens it; whatever goes wrong with it is an InputError."""
    try:
        from PIL import Image as PillowImage
    except ImportError as error:
        raise MissingError("reading photographs needs Pillow: pip install pillow") from error
    try:
        with PillowImage.open(path) as image:
            yield image
    except Exception as error:
        # Decoders raise whatever damaged bytes lead them to.
        raise InputError(f"{path} cannot be read as an image ({error})") from error


# Of EXIF: the tag, and its values for pictures that are turned by a quarter.
_ORIENTATION, _ON_ITS_SIDE = 0x0112, {5, 6, 7, 8}
# Pillow's names. Its own conversion of these to 8 bits makes all that is above 255 white.
_DEEP_GREY = {"I;16", "I;16L", "I;16B", "I;16N"}
# Integers of 32 bits or with a sign, and floats.
_WITHOUT_RANGE = {"I", "F"}

_TIFF_BITS, _TIFF_SENSE, _WHITE_IS_ZERO = 258, 262, 0


def _depth_and_sense(image: Any) -> tuple[int, bool]:
    """Bits of a grey image's samples, and whether 0 is white; TIFF alone has other than 16, and such."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(_TIFF_BITS, (16,))[0]), tags.get(_TIFF_SENSE) == _WHITE_IS_ZERO


def _eight_bits(codes: npt.NDArray[Any], bits: int, inverted: bool) -> Image:
    """Codes of so many bits as 8-bit ones, rounded to the nearest."""
    white = (1 << bits) - 1
    wide = codes.astype(np.uint32)
    eight = ((wide * 255 + white // 2) // white).astype(np.uint8)
    return 255 - eight if inverted else eight
