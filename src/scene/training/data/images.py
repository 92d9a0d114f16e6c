"""Photographs: found below a folder, read, and as a source of one-frame sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scene.errors import InputError, MissingError
from scene.training.data.frames import Image, Part, identify, in_part

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
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"{folder} holds no image ({', '.join(sorted(_SUFFIXES))})")
    return files


def read_image(path: Path) -> Image:
    """A photograph as (H, W, 3) uint8 RGB.

    Raises:
        InputError: it cannot be read.
        MissingError: Pillow is not installed.
    """
    try:
        from PIL import Image as PillowImage
    except ImportError as error:
        raise MissingError("reading photographs needs Pillow: pip install pillow") from error
    try:
        with PillowImage.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:
        # Decoders raise whatever damaged bytes lead them to.
        raise InputError(f"{path} cannot be read as an image ({error})") from error
