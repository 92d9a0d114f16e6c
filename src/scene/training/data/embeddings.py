"""Semantic embeddings of a data set: computed once, from whole frames, and kept on disk."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from scene.errors import InputError, SceneError
from scene.files import is_unsupported
from scene.model.semantics.encoder import SemanticEncoder
from scene.progress import OnProgress, Progress, silent
from scene.training.data.embedding_table import EmbeddingTable, Row, UnfinishedTable, open_complete, unwritable
from scene.training.data.frames import FrameSource, Image

_LOG = logging.getLogger("scene.training")

# To be raised whenever the same source and encoder would give other rows than before.
_FORMAT = 2
# Frames that are encoded together: so many, or as many as this many pixels (16 MiB a plane) allow.
_BATCH = 32
_BATCH_PIXELS = 2**24
# Frames read ahead, by as many threads as there are cores.
_READ_AHEAD = 16


def compute_embeddings(
    source: FrameSource,
    encoder: SemanticEncoder,
    folder: Path,
    *,
    spatial: bool,
    device: torch.device | str,
    on_progress: OnProgress = silent,
) -> EmbeddingTable:
    """Embeds every sequence of a data set, or opens the table that did so before.

    One embedding stands for a sequence, that of its middle frame, whole and unflipped: a sequence lasts about a quarter
    of a second, in which content hardly changes. The row of a frame that cannot be read is zero, and that is logged.

    The table's name is a hash of the source's identity, the encoder's, `spatial` and the format's version. Until it is
    complete it is called `.partial`, with a `.journal` beside it that says how much of it is safely on the disk, where
    a later call goes on. A second process that asks for the same table waits for the first.

    Args:
        source: the data set.
        encoder: is moved to the device and set to evaluation.
        folder: for tables, created where it is missing.
        spatial: as in `SemanticEncoder`.
        device: a torch device.
        on_progress: told the sequences done, after each batch.

    Raises:
        InputError: not one frame of the source can be read.
        SceneError: an embedding is not finite, the encoder gives embeddings of differing shapes, or the folder cannot
            be written to or is full.
        MissingError: a package that reads the source is not installed.
    """
    key = json.dumps(
        {"source": source.identity, "encoder": encoder.identity, "spatial": spatial, "format": _FORMAT}, sort_keys=True
    )
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    with _exclusive(path.with_suffix(".lock")):
        table = open_complete(path, len(source), encoder.width)
        if table is None:
            encoder.to(device).eval()
            with UnfinishedTable(path, len(source)) as unfinished:
                for rows in _embed(source, encoder, spatial, torch.device(device), unfinished.done):
                    unfinished.append(rows)
                    on_progress(Progress(unfinished.done, len(source)))
                unfinished.publish()
            table = EmbeddingTable(path)
        return table


def _embed(
    source: FrameSource, encoder: SemanticEncoder, spatial: bool, device: torch.device, first: int
) -> Iterator[list[Row | None]]:
    """Rows for the sequences from `first` on, in order, a batch at a time; None where a frame cannot be read."""
    numbers = range(first, len(source))
    batch: list[Image | None] = []
    readable = pixels = 0
    for number, image in zip(numbers, _read_ahead(source, numbers), strict=True):
        batch.append(image)
        if image is not None:
            readable += 1
            pixels += image.shape[0] * image.shape[1]
        if readable == _BATCH or pixels >= _BATCH_PIXELS or number == numbers[-1]:
            rows = _embed_batch(batch, encoder, spatial, device)
            for offset, row in enumerate(rows, start=number + 1 - len(batch)):
                if row is not None and not np.isfinite(row).all():
                    raise SceneError(
                        f"encoder {encoder.identity} gives no finite embedding of {_place(source, offset)}"
                    )
            yield rows
            batch, readable, pixels = [], 0, 0


def _embed_batch(
    images: Sequence[Image | None], encoder: SemanticEncoder, spatial: bool, device: torch.device
) -> list[Row | None]:
    """Encodes images of one size together."""
    by_size: dict[tuple[int, ...], list[tuple[int, Image]]] = {}
    for index, image in enumerate(images):
        if image is not None:
            by_size.setdefault(image.shape, []).append((index, image))
    rows: list[Row | None] = [None] * len(images)
    for group in by_size.values():
        pictures = torch.from_numpy(np.stack([image for _, image in group])).to(device)
        with torch.inference_mode():
            embedded = encoder(pictures.permute(0, 3, 1, 2).float() / 255, spatial=spatial)
        for (index, _), row in zip(group, embedded.half().cpu().numpy(), strict=True):
            rows[index] = row
    return rows


def _read_ahead(source: FrameSource, numbers: range) -> Iterator[Image | None]:
    """The middle frames of sequences in order, None for those that cannot be read."""

    def read(number: int) -> Image:
        return source.read(number, source.length(number) // 2)

    waiting: deque[Future[Image]] = deque()
    remaining = iter(numbers)
    pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="read-ahead")
    try:
        while True:
            for number in remaining:
                waiting.append(pool.submit(read, number))
                if len(waiting) == _READ_AHEAD:
                    break
            if not waiting:
                return
            try:
                yield waiting.popleft().result()
            except InputError as error:
                _LOG.warning("no embedding: %s", error)
                yield None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Holds a lock that the system lets go of when the process ends, however it ends."""
    try:
        file = path.open("wb")
    except OSError as error:
        raise unwritable(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.warning("waiting for another process that computes the same embeddings (%s)", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if not is_unsupported(error):
                raise unwritable(path, error) from error
            _LOG.warning("%s: no locks here; do not compute the same embeddings twice at a time", path.parent)
        yield


def _place(source: FrameSource, sequence: int) -> str:
    return source.name(sequence, source.length(sequence) // 2)
