"""What of a batch is done: beside its outputs, one small file for each of them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from scene.errors import SceneError, UsageError
from scene.files import is_unsupported, remove_unwritten, write_atomically
from scene.jobs.batch.outcome import AnyRequest, Encoded, plain

_FOLDER = ".scene-batch"
_FORMAT = 1
# Of a request: what does not change the output.
_NO_SETTINGS = frozenset({"source", "destination", "overwrite", "verify", "compare"})


@dataclass(frozen=True, slots=True)
class FileState:
    """By which a file is known again without reading it: size in bytes, time of its last change in nanoseconds."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of an output.

    Attributes:
        source, output: as they were when it was done; None while it is at work, or if its process was killed then.
        settings: `settings_identity` of what made it.
        encoded: what was done.
    """

    source: FileState | None = None
    output: FileState | None = None
    settings: str = ""
    encoded: Encoded | None = None


class Journal:
    """The entries of a folder; see `open_journal`. What writes one raises SceneError where that fails."""

    def __init__(self, folder: Path) -> None:
        self._outputs = folder
        self._folder = folder / _FOLDER

    def find(self, request: AnyRequest) -> Entry | None:
        """The entry of a request's destination. One that cannot be read says that something was begun."""
        try:
            text = self._file(request).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return Entry()
        try:
            document = json.loads(text)
            if document.pop("format") != _FORMAT:
                return Entry()
            return msgspec.convert(document, Entry)
        except (ValueError, TypeError, KeyError, AttributeError):
            return Entry()

    def unchanged(self, request: AnyRequest, entry: Entry) -> Encoded | None:
        """What was done, if source, settings and output are what they were then; else None."""
        one = plain(request)
        same = (
            entry.output is not None
            and entry.source == file_state(one.source)
            and entry.output == file_state(one.destination)
            and entry.settings == settings_identity(request)
        )
        return entry.encoded if same else None

    def begin(self, request: AnyRequest) -> None:
        """Says that the file under the destination's name is of this batch from now on."""
        self._write(request, Entry())

    def finish(self, request: AnyRequest, source: FileState | None, encoded: Encoded) -> None:
        """Says that it is done."""
        output = file_state(plain(request).destination)
        self._write(request, Entry(source, output, settings_identity(request), encoded))

    def withdraw(self, request: AnyRequest, before: Entry | None) -> None:
        """Says what it said before `begin`, where nothing was written."""
        if before is None or not plain(request).destination.exists():
            with contextlib.suppress(OSError):
                self._file(request).unlink(missing_ok=True)
        else:
            self._write(request, before)

    def _write(self, request: AnyRequest, entry: Entry) -> None:
        about = {"format": _FORMAT, **asdict(entry)}
        try:
            write_atomically(self._file(request), json.dumps(about, indent=1) + "\n")
        except OSError as error:
            raise SceneError(f"{self._folder} cannot be written to: {error.strerror}.") from None

    def _file(self, request: AnyRequest) -> Path:
        name = os.path.relpath(plain(request).destination, self._outputs)
        return self._folder / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.json"


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """The journal of a folder of outputs, which is made where there is none.

    Raises:
        UsageError: another process is at work with it.
        SceneError: it cannot be written.
    """
    inside = folder / _FOLDER
    try:
        inside.mkdir(parents=True, exist_ok=True)
        handle = os.open(inside / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise SceneError(f"{folder} cannot be written to: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another batch is at work in {folder}; wait for its end, or give another folder."
            ) from None
        except OSError as error:
            # Some shares have no locks.
            if not is_unsupported(error):
                raise SceneError(f"{inside} cannot be locked: {error.strerror}.") from None
        remove_unwritten(inside)
        yield Journal(folder)
    finally:
        os.close(handle)


def file_state(path: Path) -> FileState | None:
    """Of a file; None where there is none that can be seen."""
    try:
        about = path.stat()
    except (OSError, ValueError):
        return None
    return FileState(about.st_size, about.st_mtime_ns)


def settings_identity(request: AnyRequest) -> str:
    """A hash of all that decides what becomes of a source: settings, and the state of files that they name."""
    wanted = plain(request)
    names = (wanted.enhancement.model, wanted.enhancement.semantics, wanted.focus.focus_map)
    named = [file_state(Path(name)) for name in names]
    document = [_settings(asdict(request)), [None if state is None else asdict(state) for state in named]]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _settings(request: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _settings(value) if name == "encode" else value
        for name, value in request.items()
        if name not in _NO_SETTINGS
    }
