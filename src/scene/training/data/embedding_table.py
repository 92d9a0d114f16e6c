"""The file of a data set's embeddings, complete or still being written."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scene.errors import InputError, SceneError
from scene.files import synchronise, write_atomically

_LOG = logging.getLogger("scene.training")

# A killed run loses what it computed since it last saved; saving waits for the disk.
_SAVE_EVERY_S = 2.0

Row = npt.NDArray[np.float16]


class EmbeddingTable:
    """The embeddings of a data set's sequences, (N, D, h, w) float16 in a file that is mapped, not loaded.

    A `.npy` file. Tables can be pickled to the processes of a data loader, which map the file for themselves.

    Args:
        path: a complete table.

    Raises:
        InputError: it is no such table, or cut short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._rows: Row = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is no table of embeddings ({error}); delete it") from error
        if self._rows.ndim != 4 or self._rows.dtype != np.float16:
            raise InputError(f"{path} is no table of embeddings (of shape {self._rows.shape}); delete it")

    def __reduce__(self) -> tuple[type[EmbeddingTable], tuple[Path]]:
        return EmbeddingTable, (self._path,)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """D, h and w of each embedding."""
        _, width, rows, columns = self._rows.shape
        return width, rows, columns

    def lookup(self, sequences: Sequence[int] | Tensor) -> Tensor:
        """The embeddings of sequences by number, float32 (B, D, h, w) on the CPU.

        Raises:
            IndexError: there is no such sequence.
        """
        return torch.from_numpy(self._rows[np.asarray(sequences, dtype=np.intp)].astype(np.float32))


class UnfinishedTable:
    """A table that is being written, from its first row to its last.

    The journal never promises a row that is not on the disk: the table is synchronised first, the journal replaced
    after. Leaving the context on an error saves what is there; entering it goes on from there.

    Args:
        path: of the table when it is complete. Until then it is called `.partial`, and the journal `.journal`.
        total: rows in all.

    Raises:
        SceneError: it cannot be written, by every method.
    """

    def __init__(self, path: Path, total: int) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial")
        self._journal = path.with_suffix(".journal")
        self._total = total
        self._shape: tuple[int, ...] | None = None
        self._saved = time.monotonic()
        self.done = 0

    def __enter__(self) -> UnfinishedTable:
        try:
            # Unbuffered, so that a full disk is noticed where it can be told and not when the file is closed.
            self._partial.touch()
            self._file: BinaryIO = self._partial.open("r+b", buffering=0)
            self._resume()
        except OSError as error:
            raise unwritable(self._partial, error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        with self._file:
            if kind is not None and self.done:
                # On a full disk this fails too; the journal then still tells of the save before.
                with contextlib.suppress(SceneError):
                    self._save()
            elif kind is not None:
                self._partial.unlink(missing_ok=True)

    def append(self, rows: Sequence[Row | None]) -> None:
        """Adds rows (D, h, w), zeros for None, and saves from time to time.

        Raises:
            InputError: the table's first rows are all None.
            SceneError: rows differ in shape, or the disk is full.
        """
        shapes = {row.shape for row in rows if row is not None} | ({self._shape} if self._shape else set())
        if not shapes:
            raise InputError("not one frame of the data set can be read; see the warnings above for why")
        if len(shapes) > 1:
            raise SceneError(
                f"the encoder gives embeddings of different shapes, {' and '.join(map(str, sorted(shapes)))}; "
                "frames of different sizes need an encoder with one grid for all"
            )
        shape = shapes.pop()
        zero = np.zeros(shape, np.float16)
        try:
            if self._shape is None:
                self._begin(shape)
            self._write(np.stack([zero if row is None else row for row in rows]).astype("<f2").tobytes())
        except OSError as error:
            raise unwritable(self._partial, error) from error
        self.done += len(rows)
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self._save()

    def publish(self) -> None:
        """Gives the complete table its name. Raises SceneError."""
        self._save()
        try:
            self._partial.replace(self._path)
            self._journal.unlink()
        except OSError as error:
            raise unwritable(self._path, error) from error

    def _begin(self, shape: tuple[int, ...]) -> None:
        needed = self._total * int(np.prod(shape)) * 2
        free = shutil.disk_usage(self._partial.parent).free
        if needed > free:
            raise SceneError(
                f"{self._partial.parent} has {free / 1e9:.1f} GB free and the embeddings need {needed / 1e9:.1f} GB; "
                "free some, or name a folder on another disk"
            )
        self._journal.unlink(missing_ok=True)
        self._file.truncate(0)
        self._file.seek(0)
        self._shape = shape
        self._write(_header(self._total, shape))

    def _write(self, data: bytes) -> None:
        if self._file.write(data) != len(data):
            raise OSError("the disk is full")

    def _save(self) -> None:
        try:
            synchronise(self._file.fileno())
            write_atomically(self._journal, json.dumps({"done": self.done, "shape": self._shape}) + "\n")
        except OSError as error:
            raise unwritable(self._partial, error) from error
        self._saved = time.monotonic()

    def _resume(self) -> None:
        """Goes on where the journal says, if the file begins as it should and is as long as it says."""
        try:
            entry = json.loads(self._journal.read_bytes())
            done, shape = int(entry["done"]), tuple(int(side) for side in entry["shape"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        header = _header(self._total, shape)
        end = len(header) + done * int(np.prod(shape)) * 2
        known = len(shape) == 3 and 0 < done <= self._total and self._file.read(len(header)) == header
        if not known or self._partial.stat().st_size < end:
            _LOG.warning("%s is damaged and is computed again", self._partial)
            return
        self._file.truncate(end)
        self._file.seek(end)
        self._shape, self.done = shape, done


def open_complete(path: Path, total: int, width: int) -> EmbeddingTable | None:
    """The table if it is there and whole."""
    if not path.exists():
        return None
    try:
        table = EmbeddingTable(path)
    except InputError as error:
        _LOG.warning("%s; it is computed again", error)
        return None
    expected = len(_header(total, table.shape)) + total * int(np.prod(table.shape)) * 2
    if (len(table), table.shape[0], path.stat().st_size) != (total, width, expected):
        _LOG.warning("%s is not the table that it should be and is computed again", path)
        return None
    return table


def unwritable(path: Path, error: OSError) -> SceneError:
    """What to say where a table cannot be written."""
    return SceneError(
        f"{path} cannot be written ({error.strerror or error}); make room or name another folder, "
        "and run it again to go on"
    )


def _header(total: int, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f2", "fortran_order": False, "shape": (total, *shape)})
    return buffer.getvalue()
