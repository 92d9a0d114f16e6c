"""PyAV's encoders in processes of their own, so that one that crashes or hangs costs one encode and can be stopped.

A process takes one encode after the other and is kept for the next: starting it takes as long as a small encode. It
ends with its standard input, and so with the process that started it.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import re
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from scene.errors import MissingError, SceneError
from scene.video.encoders import ENCODERS
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.diagnose import tiny_context, tiny_encode
from scene.video.encoding.elementary import encode_elementary_stream
from scene.video.encoding.regions import EncoderFocus
from scene.video.encoding.session import EncoderSession
from scene.video.ffmpeg import ProcessError, StoppedError, find_encoding_ffmpeg
from scene.video.source.open import reason

_POLL_S = 0.1
# Of no frame coded.
_HUNG_S = 600.0
_FRAME = b"."
_idle: deque[_EncoderProcess] = deque()


def encode_isolated(
    source: Path,
    destination: Path,
    settings: EncoderSettings,
    stop: threading.Event,
    focus: EncoderFocus | None = None,
) -> float:
    """`encode_elementary_stream` in another process. Calls may overlap, from any thread.

    Args:
        stop: once set, the encoder is killed.
        focus: which parts of the pictures matter.

    Returns:
        Seconds that it took.

    Raises:
        StoppedError: `stop` was set.
        MissingError: this PyAV has no such encoder.
        ProcessError: it failed, was killed from elsewhere, or coded no frame in ten minutes.
    """
    if ENCODERS[settings.codec].is_external:
        return _encode_external(source, destination, settings, stop)
    _raise_if(stop)
    try:
        process = _idle.pop()
    except IndexError:
        process = _EncoderProcess()
    try:
        seconds = process.encode(source, destination, settings, stop, focus)
    except BaseException:
        process.kill()
        raise
    _idle.append(process)
    return seconds


@atexit.register
def end_idle() -> None:
    """Ends the processes that wait for work."""
    while _idle:
        _idle.pop().kill()


@functools.cache
def encoder_version(codec: str) -> str:
    """The version that an encoder says it is, "unknown" where it says none.

    Raises:
        MissingError: it cannot be used here.
    """
    if ENCODERS[codec].is_external:
        # VVenC says it nowhere but in ffmpeg's verbose log.
        trial = ("-f", "lavfi", "-i", "color=size=128x128:rate=25:duration=0.04", "-pix_fmt", "yuv420p")
        encoder = ENCODERS[codec].ffmpeg_name
        try:
            said = (
                find_encoding_ffmpeg(encoder)
                .run(["-v", "verbose", *trial, "-c:v", encoder, "-f", "null", "-"])
                .messages.encode()
            )
        except ProcessError as error:
            raise MissingError(f"{codec} cannot be used ({error})") from error
    else:
        # SVT-AV1 says it on stderr.
        completed = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import print_version; print_version({codec!r})"],
            env={**_environment(), "SVT_LOG": "3"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        said = completed.stdout + completed.stderr
        if completed.returncode:
            last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise MissingError(f"{codec} cannot be used ({last})")
    match = re.search(ENCODERS[codec].version_pattern, said)
    return match[1].decode("ascii", "replace") if match else "unknown"


def print_version(codec: str) -> None:
    """Writes the first packet of a tiny encode to stdout; for `encoder_version`."""
    context = tiny_context(ENCODERS[codec], 128, {})
    context.open()
    sys.stdout.buffer.write(tiny_encode(context))


def serve() -> None:
    """Takes encodes as lines of JSON on stdin and answers on stdout, until stdin ends; runs in the other process."""
    # Encoders that print shall not meddle with the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    parent = os.getppid()

    def frame_done() -> None:
        if os.getppid() != parent:
            raise SystemExit(1)
        answers.write(_FRAME)

    for line in sys.stdin:
        source, destination, settings, focus = json.loads(line)
        began = time.monotonic()
        answer: dict[str, Any] = {}
        try:
            told = None if focus is None else EncoderFocus(focus["strength"], Path(focus["masks"]))
            paths = Path(source), Path(destination)
            encode_elementary_stream(*paths, EncoderSettings(**settings), frame_done, focus=told)
        except MissingError as error:
            answer["missing"] = str(error)
        except (SceneError, OSError) as error:
            answer["error"] = str(error) if isinstance(error, SceneError) else reason(error)
        answers.write(json.dumps({**answer, "seconds": time.monotonic() - began}).encode() + b"\n")


class _EncoderProcess:
    """The other process; only one thread at a time may use it."""

    def __init__(self) -> None:
        # Its own session: a Ctrl-C on the terminal reaches us, and we end it.
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )

    def encode(
        self,
        source: Path,
        destination: Path,
        settings: EncoderSettings,
        stop: threading.Event,
        focus: EncoderFocus | None,
    ) -> float:
        """As `encode_isolated`."""
        assert self._process.stdin is not None
        told = None if focus is None else {"strength": focus.strength, "masks": str(focus.masks.absolute())}
        request = [str(source.absolute()), str(destination.absolute()), dataclasses.asdict(settings), told]
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended(settings.codec) from None
        answer = json.loads(self._answer(settings.codec, stop))
        if "missing" in answer:
            raise MissingError(answer["missing"])
        if "error" in answer:
            raise ProcessError(answer["error"])
        return float(answer["seconds"])

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def _answer(self, codec: str, stop: threading.Event) -> bytes:
        assert self._process.stdout is not None
        received = b""
        # Counted in turns, so that the time in which this process itself is stopped is not held against the other.
        idle = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                _raise_if(stop)
                if not selector.select(_POLL_S):
                    idle += _POLL_S
                    if idle > _HUNG_S:
                        raise ProcessError(f"{codec} coded no frame in {_HUNG_S:g} s and was killed")
                    continue
                idle = 0.0
                part = os.read(self._process.stdout.fileno(), 1 << 16)
                if not part:
                    raise self._ended(codec)
                received += part.lstrip(_FRAME)
        return received

    def _ended(self, codec: str) -> ProcessError:
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return ProcessError(f"the process of {codec} {how}")


def _encode_external(source: Path, destination: Path, settings: EncoderSettings, stop: threading.Event) -> float:
    began = time.monotonic()
    ended = threading.Event()

    def watch(encoder: EncoderSession) -> None:
        while not ended.wait(_POLL_S):
            if stop.is_set():
                encoder.kill()
                return

    def watched(encoder: EncoderSession) -> None:
        threading.Thread(target=watch, args=(encoder,), daemon=True).start()

    try:
        encode_elementary_stream(source, destination, settings, functools.partial(_raise_if, stop), watched)
    except MissingError:
        raise
    except SceneError as error:
        _raise_if(stop)
        raise ProcessError(str(error)) from error
    finally:
        ended.set()
    return time.monotonic() - began


def _raise_if(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppedError("encoding was stopped")


def _environment() -> dict[str, str]:
    """The environment, with this process's own search path of modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
