"""Training samples: random crops and flips of frames, each with a neighbour for VMAF's motion (section 3.1)."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from scene.errors import InputError
from scene.signals import ENDING
from scene.training.data.frames import FrameSource, Image

_LOG = logging.getLogger("scene.training")

_CACHE_BYTES = 1 << 30
# Batches that each loading process keeps ready.
PREFETCH = 4
# How long a loading process that was sent SIGTERM goes on.
_PATIENCE_S = 30


class Sample(NamedTuple):
    """One crop, or a batch of them.

    Attributes:
        frame: ([B,] 3, crop, crop) uint8 RGB.
        neighbour: the frame before or after it, or the same photograph some pixels further on, same shape.
        sequence: ([B,]) int64, the number of the sequence the crop was taken from.
        region: ([B,] 4) float32 left, top, right, bottom of the crop in the whole frame, each from 0 to 1; left is
            above right where the crop is mirrored, top above bottom where it is upside down.
    """

    frame: Tensor
    neighbour: Tensor
    sequence: Tensor
    region: Tensor


class Crops(Dataset[Sample]):
    """Random crops and flips of a source's frames, which are kept in memory as far as `cache_bytes` allow.

    Sample number n depends on the seed and n alone, so that an interrupted run goes on with what it would have seen.
    Each run of `len(source)` samples takes every sequence once, in an order of its own.

    Args:
        source: frames to crop.
        crop: side of the crops; smaller or unreadable frames are left out with a warning, and others take their place.
        pan: largest shift of the neighbour along each axis, in pixels, where a sequence has a single frame.
        seed: of everything random.
        cache_bytes: of decoded frames to keep, over all processes that one loader starts.
    """

    def __init__(self, source: FrameSource, crop: int, pan: int, seed: int, cache_bytes: int = _CACHE_BYTES) -> None:
        self.source = source
        self.crop = crop
        self.pan = pan
        self.seed = seed
        self._cache_bytes = cache_bytes
        self._cached: dict[tuple[int, int], Image] = {}
        self._cached_bytes = 0
        # Frames, not sequences: what a sample holds must not depend on which were drawn before it.
        self._unusable: set[tuple[int, int]] = set()
        self._frames: int | None = None
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> Sample:
        random = np.random.default_rng((self.seed, number))
        sequence = self._sequence(number)
        while True:
            frames = self._read_pair(sequence, random)
            if frames is not None:
                break
            if self._frames is None:
                self._frames = sum(self.source.length(other) for other in range(len(self.source)))
            if len(self._unusable) == self._frames:
                raise InputError(f"no frame is readable and at least {self.crop} pixels high and wide")
            sequence = int(random.integers(len(self.source)))
        return self._cut(sequence, *frames, random)

    def _sequence(self, number: int) -> int:
        epoch, position = divmod(number, len(self.source))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, epoch, 1)).permutation(len(self.source)))
        return int(self._order[1][position])

    def _read_pair(self, sequence: int, random: np.random.Generator) -> tuple[Image, Image | None] | None:
        """A frame of a sequence, and the one before it (after it, for the first)."""
        length = self.source.length(sequence)
        index = int(random.integers(length))
        if (sequence, index) in self._unusable:
            return None
        try:
            frame = self._read(sequence, index)
            beside = self._read(sequence, index - 1 if index else 1) if length > 1 else None
        except InputError as error:
            _LOG.warning("left out: %s", error)
            self._unusable.add((sequence, index))
            return None
        if min(frame.shape[:2]) < self.crop or (beside is not None and beside.shape != frame.shape):
            _LOG.warning("left out: %s is smaller than the %d-pixel crop", self.source.name(sequence, index), self.crop)
            self._unusable.add((sequence, index))
            return None
        return frame, beside

    def _read(self, sequence: int, index: int) -> Image:
        key = (sequence, index)
        if key in self._cached:
            return self._cached[key]
        frame = self.source.read(sequence, index)
        worker = get_worker_info()
        # The first frames stay: each is seen once an epoch, so that evicting the oldest would never find any again.
        if self._cached_bytes + frame.nbytes <= self._cache_bytes // (worker.num_workers if worker else 1):
            self._cached[key] = frame
            self._cached_bytes += frame.nbytes
        return frame

    def _cut(self, sequence: int, frame: Image, beside: Image | None, random: np.random.Generator) -> Sample:
        height, width = frame.shape[:2]
        top = int(random.integers(0, height - self.crop + 1))
        left = int(random.integers(0, width - self.crop + 1))
        down, right = (int(v) for v in random.integers(-self.pan, self.pan + 1, size=2))
        mirrored, upturned = (bool(v) for v in random.random(2) < 0.5)
        if beside is None:
            places = ((frame, top, left), (frame, top + down, left + right))
        else:
            places = ((frame, top, left), (beside, top, left))
        crops = []
        for image, y, x in places:
            y, x = min(max(y, 0), height - self.crop), min(max(x, 0), width - self.crop)
            crop = image[y : y + self.crop, x : x + self.crop]
            crop = crop[:, ::-1] if mirrored else crop
            crop = crop[::-1] if upturned else crop
            crops.append(torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))))
        columns = (left / width, (left + self.crop) / width)
        rows = (top / height, (top + self.crop) / height)
        (near, far), (upper, lower) = columns[:: -1 if mirrored else 1], rows[:: -1 if upturned else 1]
        return Sample(crops[0], crops[1], torch.tensor(sequence), torch.tensor([near, upper, far, lower]))


class ConsecutiveBatches(Sampler[list[int]]):
    """Batches of consecutive sample numbers for the steps from `first` to `last`, without end of an epoch.

    Args:
        first, last: steps, the last excluded.
        batch: samples of a step and process.
        rank, processes: which process of how many; together they take what one with the joint batch would.
    """

    def __init__(self, first: int, last: int, batch: int, rank: int = 0, processes: int = 1) -> None:
        self.steps = range(first, last)
        self.batch = batch
        self.rank = rank
        self.processes = processes

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            start = (step * self.processes + self.rank) * self.batch
            yield list(range(start, start + self.batch))

    def __len__(self) -> int:
        return len(self.steps)


def collate(samples: Sequence[Sample]) -> Sample:
    """Stacks samples into a batch."""
    return Sample(*(torch.stack(parts) for parts in zip(*samples, strict=True)))


def open_loader(
    crops: Crops, batches: ConsecutiveBatches, workers: int, *, pin_memory: bool = False
) -> DataLoader[Sample]:
    """Batches of crops, loaded ahead by processes of their own where there are any.

    Args:
        crops: the samples.
        batches: their numbers.
        workers: processes, 0 to load in this one.
        pin_memory: for a device that copies from such memory.
    """
    return DataLoader(
        crops,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCH if workers > 0 else None,
        worker_init_fn=_begin_loading,
        pin_memory=pin_memory,
    )


def _begin_loading(_worker: int) -> None:
    _leave_signals()
    sys.excepthook = _unless_left


def _unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The process that trains may leave while a batch is being handed over: nothing of that is to be said here."""
    if not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _leave_signals() -> None:
    """A signal to the process group reaches those that load data too; the one that trains still wants their batches.

    It is the one that ends them, by words, and by SIGTERM where they do not listen: that cannot be ignored for ever.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_PATIENCE_S))


def rgb_to_luma(rgb: Tensor) -> Tensor:
    """(..., 3, H, W) full-range RGB in [0, 1] to (..., 1, H, W) limited-range BT.709 luma codes over 255."""
    weights = torch.tensor([0.2126, 0.7152, 0.0722], dtype=rgb.dtype, device=rgb.device)
    luma = torch.einsum("...chw,c->...hw", rgb, weights).unsqueeze(-3)
    return (16.0 + 219.0 * luma) / 255.0
