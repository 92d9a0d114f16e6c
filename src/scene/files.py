"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from types import TracebackType

from scene.errors import SceneError, UsageError

# Of the final name, in bytes: file systems take 255 in all.
_NAME_BYTES = 120


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes bytes, or text as UTF-8, so that `path` holds the old or the new content, never half of one.

    The content is on the disk before the name is, so that this holds after a power cut too.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".scene-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class PendingFile:
    """A private file beside its destination, removed on leaving the `with` block unless published.

    Raises:
        UsageError: the destination's folder does not exist.
        SceneError: no file can be made there.
    """

    def __init__(self, destination: Path) -> None:
        # A link is followed: what it points to is replaced, not the link.
        self._destination = destination.resolve() if destination.is_symlink() else destination
        name = os.fsdecode(os.fsencode(self._destination.name)[:_NAME_BYTES])
        self.path = self._destination.with_name(f".{name}.{secrets.token_hex(6)}.part")
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

        Raises:
            UsageError: the name was taken meanwhile, and `overwrite` is off.
            SceneError: the file system refuses.
        """
        if not overwrite and self._destination.exists():
            raise UsageError(f"{self._destination} exists by now; give `overwrite` to replace it.")
        try:
            _sync(self.path)
            self.path.chmod(0o666 & ~_umask())
            self.path.replace(self._destination)
            _sync(self._destination.parent)
        except OSError as error:
            raise SceneError(f"{self._destination} cannot be written: {error.strerror}.") from None

    def discard(self) -> None:
        """Removes the file if it was not published."""
        self.path.unlink(missing_ok=True)


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
