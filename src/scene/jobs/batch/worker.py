"""One file of a batch in a process of its own: what goes there, what comes back."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from scene.errors import SceneError
from scene.jobs.batch.outcome import AnyRequest, Encoded, encoded
from scene.jobs.encode import EncodeRequest, encode
from scene.jobs.prepare.target import TargetEncodeRequest, encode_to_target
from scene.processes import PythonProcess, serve
from scene.progress import OnProgress, Progress
from scene.signals import Ended, raise_on_signals

_REPORT_S = 0.25
_KINDS: dict[str, type[AnyRequest]] = {"encode": EncodeRequest, "target": TargetEncodeRequest}


class EncodeProcess:
    """Encodes a file in another process.

    Args:
        folder: a private one, for its temporary files.
        on_progress: is told of each stage, its unit, and how far it is.
        on_warning: is told of what is logged.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        request: AnyRequest,
        folder: Path,
        on_progress: Callable[[str, str, Progress], None],
        on_warning: Callable[[str], None],
    ) -> None:
        self._on_progress, self._on_warning = on_progress, on_warning
        self._process = PythonProcess(__name__, main.__name__, request_document(request), folder)

    def result(self) -> tuple[Encoded | None, str, int]:
        """Waits for its end: what was encoded, or a reason and its exit code; 0 where it ended without saying why."""
        done: Encoded | None = None
        why, code = "", 0
        for kind, *said in self._process.answers():
            if kind == "progress":
                stage, unit, number, total, fields = said
                self._on_progress(stage, unit, Progress(number, total, fields))
            elif kind == "warning":
                self._on_warning(*said)
            elif kind == "done":
                done = msgspec.convert(said[0], Encoded)
            else:
                why, code = said
        if done is None and not code:
            why = f"its process {self._process.how_it_ended().rstrip('.')}."
        return done, why, code

    def terminate(self) -> None:
        """Ends it, from any thread; what it has begun is removed."""
        self._process.terminate()

    def end(self) -> None:
        """Waits for the end, and enforces it."""
        self._process.end()


def main() -> None:
    """The other process."""
    document, answer = serve()
    raise_on_signals()
    logger = logging.getLogger("scene")
    logger.addHandler(_Warnings(answer))
    logger.propagate = False

    @contextmanager
    def stages(name: str, unit: str) -> Iterator[OnProgress]:
        last = -_REPORT_S

        def report(reading: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= _REPORT_S or reading.done == reading.total:
                last = time.monotonic()
                answer(["progress", name, unit, reading.done, reading.total, dict(reading.fields)])

        yield report

    try:
        request = request_of(document)
        if isinstance(request, TargetEncodeRequest):
            result = encoded(request, encode_to_target(request, stages))
        else:
            with stages("encode", "frames") as on_progress:
                result = encoded(request, encode(request, on_progress))
        answer(["done", msgspec.to_builtins(result)])
    except SceneError as error:
        answer(["failed", str(error), error.exit_code])
    except (KeyboardInterrupt, Ended) as error:
        sys.exit(128 + error.number if isinstance(error, Ended) else 130)
    except Exception as error:
        answer(["failed", f"unexpected {type(error).__name__}: {error}", 1])


class _Warnings(logging.Handler):
    def __init__(self, answer: Callable[[object], None]) -> None:
        super().__init__(logging.WARNING)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self._answer(["warning", record.getMessage()])


def request_document(request: AnyRequest) -> dict[str, Any]:
    """A request as JSON types; names of files may be of any bytes."""
    kind = next(name for name, of in _KINDS.items() if isinstance(request, of))
    document: dict[str, Any] = json.loads(json.dumps({kind: asdict(request)}, default=os.fspath))
    return document


def request_of(document: dict[str, Any]) -> AnyRequest:
    """The request that `request_document` wrote."""
    ((kind, fields),) = document.items()
    return msgspec.convert(fields, _KINDS[kind], dec_hook=_path)


def _path(kind: type, value: object) -> Path:
    assert kind is Path and isinstance(value, str)
    return Path(value)
