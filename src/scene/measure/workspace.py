"""The private folder of a measurement's raw video, which is gigabytes: removed at its end, or by the next one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "scene-evaluate-"
_LOCK = "lock"
_WORK = "work"


@contextmanager
def workspace() -> Iterator[Path]:
    """A new private folder in the system's temporary folder, removed at the end.

    A process that was killed (kill -9, power cut) cannot remove its own. So each folder holds a file that its process
    keeps locked, and whoever comes next removes the folders of this user whose lock is free.

    Raises:
        OSError: the folder cannot be made.
    """
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # Locked before it gets its name: a folder whose lock has a name and is free has lost its process.
    fresh = folder / f"{_LOCK}.new"
    handle = os.open(fresh, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # Where there are no locks, it never gets that name, and nobody takes its process for gone.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
            fresh.rename(folder / _LOCK)
        work = folder / _WORK
        work.mkdir()
        yield work
    finally:
        _remove(folder)
        os.close(handle)


def remove_leftovers() -> list[Path]:
    """Removes this user's folders whose processes are gone, and says which; never raises."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
                continue
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            # Gone meanwhile, or without a lock: not for us to judge.
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
            removed.append(folder)
        except OSError:
            continue  # its process lives
        finally:
            os.close(handle)
    return removed


def _remove(folder: Path) -> None:
    # The lock last, so that what a kill in between leaves can still be told.
    shutil.rmtree(folder / _WORK, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
