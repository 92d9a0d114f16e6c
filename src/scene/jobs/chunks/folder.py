"""A job's work folder: what is where, and who is at it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scene.errors import SceneError
from scene.files import is_unsupported, write_atomically

_PLAN, _CHUNKS, _LOCKS, _OUTPUT = "plan.json", "chunks", "locks", "output"


class BusyError(SceneError):
    """Another process is at it."""


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """The folder of one job.

    There is the plan, a file for each finished chunk, locks, and the name of the output that is being written. Nothing
    says that something is done but the file that is the thing done.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.path / _PLAN

    def chunk(self, index: int) -> Path:
        """A finished chunk."""
        return self.path / _CHUNKS / f"{index:05}.chunk"

    def make(self) -> None:
        """Makes the folder if it is not there. Raises SceneError."""
        try:
            for name in (_CHUNKS, _LOCKS):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SceneError(f"{self.path} cannot be made: {error.strerror}.") from None

    @contextmanager
    def locked(self, what: int | str = "job") -> Iterator[None]:
        """Holds a lock, which the system lets go of when this process ends.

        Args:
            what: a chunk; "job" for the plan and the output; "workers" for all that is done in one go.

        Where there are no locks, two processes may do the same work, of which the later result stays.

        Raises:
            BusyError: another process holds it.
        """
        is_chunk = isinstance(what, int)
        path = self.path / _LOCKS / (f"{what:05}" if is_chunk else str(what))
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise SceneError(f"{path} cannot be written: {error.strerror}.") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise BusyError(
                f"{self.path}: another process is at work on {f'chunk {what}' if is_chunk else 'the job'}."
            ) from None
        except OSError as error:
            if not is_unsupported(error):
                os.close(handle)
                raise SceneError(f"{path} cannot be locked: {error.strerror}.") from None
        try:
            yield
        finally:
            os.close(handle)

    def is_busy(self, index: int) -> bool:
        """Whether a process is at work on a chunk."""
        if not (self.path / _LOCKS / f"{index:05}").exists():
            return False
        try:
            with self.locked(index):
                return False
        except SceneError:
            return True

    def remove(self) -> None:
        """Removes all that is the job's, and the folder where nothing else is in it.

        The plan last, which knows whether the output has been written.
        """
        for name in (_CHUNKS, _LOCKS):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for path in (self.path / _OUTPUT, *self.path.glob(".scene-*.part"), self.plan):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def remove_leftovers(self, index: int) -> None:
        """Removes what killed processes left of a chunk; with its lock held."""
        for path in self.path.glob(f"{_CHUNKS}/.{index:05}.chunk.*.part"):
            path.unlink(missing_ok=True)

    @contextmanager
    def output(self, path: Path) -> Iterator[None]:
        """Notes which unfinished file outside of the folder is this job's, and removes what a killed process left."""
        note = self.path / _OUTPUT
        with contextlib.suppress(OSError, ValueError):
            left = Path(os.fsdecode(note.read_bytes()))
            # Whatever a damaged note says, nothing else is removed.
            if left.parent == path.parent and left.name.startswith(".") and left.suffix == ".part":
                left.unlink(missing_ok=True)
        write_atomically(note, os.fsencode(path))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
