"""One file of a batch in a process of its own: what goes there, what comes back."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from scene.errors import SceneError
from scene.jobs.batch.outcome import AnyRequest, Encoded, encoded
from scene.jobs.encode import EncodeRequest, encode
from scene.jobs.prepare.target import TargetEncodeRequest, encode_to_target
from scene.progress import OnProgress, Progress
from scene.signals import Ended
from scene.video.python_process import Message, PythonProcess, Requests

_REPORT_S = 0.25
_KINDS: dict[str, type[AnyRequest]] = {"encode": EncodeRequest, "target": TargetEncodeRequest}


class EncodeProcess:
    """Encodes a file in another process.

    Args:
        folder: a private one, for its temporary files.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, request: AnyRequest, folder: Path) -> None:
        self._process = PythonProcess(__name__, folder)
        self._process.send(request_document(request))

    def result(self, on_progress: Callable[[str, str, Progress], None]) -> tuple[Encoded | None, str, int]:
        """Waits for its end: what was encoded, or a reason and its exit code; 0 where it ended without saying why.

        Args:
            on_progress: is told of each stage, its unit, and how far it is.
        """
        warnings: list[str] = []
        try:
            while (answers := self._process.receive()) is not None:
                for answer in answers:
                    if "done" in answer:
                        done = msgspec.convert(answer["done"], Encoded)
                        return replace(done, warnings=tuple(warnings)), "", 0
                    if "error" in answer:
                        return None, answer["error"], answer["code"]
                    if "warning" in answer:
                        warnings.append(answer["warning"])
                    else:
                        reading = Progress(answer["count"], answer["of"], answer["fields"])
                        on_progress(answer["stage"], answer["unit"], reading)
            return None, f"its process {self._process.how_it_ended().rstrip('.')}.", 0
        finally:
            self._process.end()

    def stop(self) -> None:
        """Ends it, from another thread than that which waits for the result; what it has begun is removed."""
        self._process.stop()

    def ask_to_end(self) -> None:
        """The first half of `stop`."""
        self._process.ask_to_end()


def serve() -> None:
    """Takes one request; answers {"stage", "unit", "count", "of", "fields"} now and then, {"warning"}s, and at the
    end {"done"}, or {"error", "code"}."""
    requests = Requests()
    logger = logging.getLogger("scene")
    logger.addHandler(_Warnings(requests.answer))
    logger.propagate = False
    with contextlib.suppress(Ended, KeyboardInterrupt):
        for document in requests:
            requests.answer(_encode(document, requests.answer))


def _encode(document: Message, answer: Callable[[Message], None]) -> Message:
    @contextmanager
    def stages(name: str, unit: str) -> Iterator[OnProgress]:
        last = -_REPORT_S

        def report(reading: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= _REPORT_S or reading.done == reading.total:
                last = time.monotonic()
                about = {"stage": name, "unit": unit, "fields": dict(reading.fields)}
                answer({**about, "count": reading.done, "of": reading.total})

        yield report

    try:
        request = request_of(document)
        if isinstance(request, TargetEncodeRequest):
            result = encoded(request, encode_to_target(request, stages))
        else:
            with stages("encode", "frames") as on_progress:
                result = encoded(request, encode(request, on_progress))
        return {"done": msgspec.to_builtins(result)}
    except SceneError as error:
        return {"error": str(error), "code": error.exit_code}
    except Exception as error:
        return {"error": f"unexpected {type(error).__name__}: {error}", "code": 1}


class _Warnings(logging.Handler):
    def __init__(self, answer: Callable[[Message], None]) -> None:
        super().__init__(logging.WARNING)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self._answer({"warning": record.getMessage()})


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
