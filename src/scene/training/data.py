"""Photographs as training samples: random crops, flips, and a shifted neighbour for VMAF's motion (section 3.1)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from scene.errors import InputError, MissingError

_LOG = logging.getLogger("scene.training")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}

Image = npt.NDArray[np.uint8]


class Sample(NamedTuple):
    """One crop, or a batch of them.

    Attributes:
        frame: ([B,] 3, crop, crop) uint8 RGB.
        neighbour: the same picture some pixels further on, same shape.
    """

    frame: Tensor
    neighbour: Tensor


class ImageFolder(Dataset[Sample]):
    """Crops from every photograph below a folder, decoded once and kept in memory.

    Sample number n depends on the seed and n alone, so that an interrupted run goes on with what it would have seen.

    Args:
        folder: searched recursively, in the order of names.
        crop: side of the crops; smaller photographs are left out with a warning.
        pan: largest shift of the neighbour along each axis, in pixels.
        seed: of everything random.

    Raises:
        InputError: no such folder, or no usable photograph in it.
        MissingError: Pillow is not installed.
    """

    def __init__(self, folder: Path, crop: int, pan: int, seed: int) -> None:
        self.files = list_images(folder)
        self.crop = crop
        self.pan = pan
        self.seed = seed
        self._decoded: dict[int, Image] = {}
        self._too_small: set[int] = set()

    def __getitem__(self, number: int) -> Sample:
        random = np.random.default_rng((self.seed, number))
        image = self._draw_image(random)
        height, width = image.shape[:2]
        top = int(random.integers(0, height - self.crop + 1))
        left = int(random.integers(0, width - self.crop + 1))
        down, right = (int(v) for v in random.integers(-self.pan, self.pan + 1, size=2))
        flip_horizontally, flip_vertically = random.random(2) < 0.5
        crops = []
        for y, x in ((top, left), (top + down, left + right)):
            y, x = min(max(y, 0), height - self.crop), min(max(x, 0), width - self.crop)
            crop = image[y : y + self.crop, x : x + self.crop]
            crop = crop[:, ::-1] if flip_horizontally else crop
            crop = crop[::-1] if flip_vertically else crop
            crops.append(torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))))
        return Sample(*crops)

    def __len__(self) -> int:
        return len(self.files)

    def _draw_image(self, random: np.random.Generator) -> Image:
        while len(self._too_small) < len(self.files):
            index = int(random.integers(len(self.files)))
            if index in self._too_small:
                continue
            image = self._decode(index)
            if image is not None:
                return image
        raise InputError(f"no photograph is readable and at least {self.crop} pixels high and wide")

    def _decode(self, index: int) -> Image | None:
        if index not in self._decoded:
            try:
                image = read_image(self.files[index])
            except InputError as error:
                _LOG.warning("left out: %s", error)
                self._too_small.add(index)
                return None
            if min(image.shape[:2]) < self.crop:
                _LOG.warning("left out: %s is smaller than the %d-pixel crop", self.files[index], self.crop)
                self._too_small.add(index)
                return None
            self._decoded[index] = image
        return self._decoded[index]


class ConsecutiveBatches(Sampler[list[int]]):
    """Batches of consecutive sample numbers for the steps from `first` to `last`, without end of an epoch."""

    def __init__(self, first: int, last: int, batch: int) -> None:
        self.steps = range(first, last)
        self.batch = batch

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            yield list(range(step * self.batch, (step + 1) * self.batch))

    def __len__(self) -> int:
        return len(self.steps)


def collate(samples: Sequence[Sample]) -> Sample:
    """Stacks samples into a batch."""
    return Sample(torch.stack([s.frame for s in samples]), torch.stack([s.neighbour for s in samples]))


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
        raise MissingError("reading photographs needs Pillow: pip install 'scene-codec[train]'") from error
    try:
        with PillowImage.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} cannot be read as an image ({error})") from error


def rgb_to_luma(rgb: Tensor) -> Tensor:
    """(..., 3, H, W) full-range RGB in [0, 1] to (..., 1, H, W) limited-range BT.709 luma codes over 255."""
    weights = torch.tensor([0.2126, 0.7152, 0.0722], dtype=rgb.dtype, device=rgb.device)
    luma = torch.einsum("...chw,c->...hw", rgb, weights).unsqueeze(-3)
    return (16.0 + 219.0 * luma) / 255.0
