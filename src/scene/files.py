"""Files that appear whole or not at all, also on file systems that refuse what is no more than a formality."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import re
import secrets
import tempfile
import weakref
from pathlib import Path
from types import TracebackType

from scene.errors import SceneError, UsageError

log = logging.getLogger(__name__)

# Of the final name, in bytes: file systems take 255 in all.
_NAME_BYTES = 120
# Of a file that is not yet written: what its name begins and ends with.
_ATOMIC = (".scene-", ".part")
# What shares and foreign file systems (CIFS, NFSv4, exFAT, FUSE) answer where they have no such thing.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EPERM})


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes bytes, or text as UTF-8, so that `path` holds the old or the new content, never half of one.

    The content is on the disk before the name is, so that this holds after a power cut too.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_ATOMIC[0], suffix=_ATOMIC[1])
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            synchronise(file.fileno())
        _set_mode(Path(temporary), 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def default_cache_folder() -> Path:
    """$XDG_CACHE_HOME/scene, or ~/.cache/scene."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification ignores relative paths.
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "scene"


def remove_unwritten(folder: Path) -> None:
    """Removes what killed processes have left of `write_atomically` in a folder; nobody may be at work in it."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{_ATOMIC[0]}*{_ATOMIC[1]}"):
            path.unlink(missing_ok=True)


class PendingFile:
    """A private file beside its destination, removed on leaving the `with` block unless published.

    Raises:
        UsageError: the destination's folder does not exist.
        SceneError: no file can be made there.
    """

    def __init__(self, destination: Path) -> None:
        self._destination = _followed(destination)
        self.path = self._destination.with_name(f"{_pending_prefix(self._destination)}{secrets.token_hex(6)}.part")
        # Also at the end of the process, where a second signal broke off what followed the first.
        self._remove = weakref.finalize(self, self.path.unlink, missing_ok=True)
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"the folder {self._destination.parent} does not exist.") from None
        except OSError as error:
            raise SceneError(f"{self._destination.parent} cannot be written to: {error.strerror}.") from None

    def __enter__(self) -> PendingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def publish(self, *, overwrite: bool) -> None:
        """Forces the content to disk and gives the file its name, with the usual permissions.

        Where it cannot have that name, the file is kept beside it under another, which the error says.

        Raises:
            UsageError: the name was taken meanwhile, and `overwrite` is off.
            SceneError: the disk fails, or the file system refuses the name.
        """
        try:
            with self.path.open("rb") as file:
                synchronise(file.fileno())
        except OSError as error:
            raise SceneError(f"{self._destination} cannot be written: {error.strerror}.") from None
        _set_mode(self.path, 0o666 & ~_umask())
        if not overwrite and self._destination.exists():
            kept = self._keep()
            raise UsageError(f"{self._destination} exists by now, so the finished file is kept as {kept}.")
        try:
            self.path.replace(self._destination)
            self._remove.detach()
        except OSError as error:
            kept = self._keep()
            raise SceneError(
                f"{self._destination} cannot be written ({error.strerror}), so the finished file is kept as {kept}."
            ) from None
        # Folders that may be written to and not read cannot be opened, and some file systems sync no folders.
        with contextlib.suppress(OSError):
            folder = os.open(self._destination.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _keep(self) -> Path:
        """Leaves the file under a name that is free, and says which."""
        stem = os.fsdecode(os.fsencode(self._destination.stem)[:_NAME_BYTES])
        free = self._destination.with_name(f"{stem}.{secrets.token_hex(3)}{self._destination.suffix}")
        self._remove.detach()
        try:
            return self.path.rename(free)
        except OSError:
            return self.path

    def discard(self) -> None:
        """Removes the file if it was neither published nor kept."""
        self._remove()


def remove_leftovers(destination: Path) -> None:
    """Removes what killed processes have left of a destination's pending files; nobody may be at work on it."""
    destination = _followed(destination)
    prefix = _pending_prefix(destination)
    with contextlib.suppress(OSError):
        for path in list(destination.parent.iterdir()):
            if path.name.startswith(prefix) and re.fullmatch(r"[0-9a-f]{12}\.part", path.name.removeprefix(prefix)):
                path.unlink(missing_ok=True)


def _pending_prefix(destination: Path) -> str:
    name = os.fsdecode(os.fsencode(destination.name)[:_NAME_BYTES])
    return f".{name}."


def _followed(destination: Path) -> Path:
    # A link is followed: what it points to is replaced, not the link.
    return destination.resolve() if destination.is_symlink() else destination


def check_destination(source: Path, destination: Path, *, overwrite: bool) -> None:
    """Raises UsageError where a file could not be published, before any work is done: no folder, the name taken."""
    try:
        if not destination.parent.is_dir():
            raise UsageError(f"the folder {destination.parent} does not exist.")
        if not destination.exists():
            return
        same = source.exists() and destination.samefile(source)
    except (OSError, ValueError) as error:
        raise UsageError(f"{destination} cannot be a file's name: {error}.") from None
    if same:
        raise UsageError(f"{destination} is the source itself; give the output another name.")
    if not destination.is_file():
        raise UsageError(f"{destination} exists and is not a file; give the output another name.")
    if not overwrite:
        raise UsageError(f"{destination} exists; give `overwrite` to replace it.")


def synchronise(descriptor: int) -> None:
    """Forces an open file to disk, where its file system can do so. Raises OSError where the disk fails or is full."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_unsupported(error):
            raise


def is_unsupported(error: OSError) -> bool:
    """Whether a file system has no such operation (permissions, locks, syncing), as opposed to having failed in it."""
    return error.errno in _UNSUPPORTED


def _set_mode(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError as error:
        # On many such file systems all files have one mode, which then is what the user wants.
        if path.stat().st_mode & mode != mode:
            _warn_of_permissions(path.parent, error.strerror)


@functools.cache
def _warn_of_permissions(folder: Path, reason: str) -> None:
    log.warning("%s: permissions cannot be set there (%s), so only you may read what is written.", folder, reason)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
