"""Programs of the user's own that stand between a video and its encoder: YUV4MPEG2 in, YUV4MPEG2 out. Never a shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from scene.errors import MissingError
from scene.video.ffmpeg import ProcessError, StoppedError

_STDERR_LINES = 4
_POLL_S = 0.1


def locate_program(name: str) -> Path:
    """The file that a command's first word starts.

    Raises:
        MissingError: there is no such program.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"{name!r} is not a program that can be run")
    return Path(found)


def run_external(words: Sequence[str], source: Path, destination: Path, stop: threading.Event) -> None:
    """Runs a program with one file as its standard input and another as its output, to its end.

    The program gets a session of its own; an interruption of this call kills it and what it started.

    Args:
        words: the program and its arguments.
        stop: once set, the program is killed.

    Raises:
        MissingError: the program cannot be started.
        StoppedError: `stop` was set.
        ProcessError: it ended with an exit code other than 0; the last lines of its messages are told.
    """
    if stop.is_set():
        raise StoppedError(f"stopped before {words[0]} was started")
    with source.open("rb") as pictures, destination.open("wb") as sink:
        try:
            process = subprocess.Popen(
                list(words), stdin=pictures, stdout=sink, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise MissingError(f"{words[0]} cannot be run ({error.strerror})") from error
        try:
            messages = _wait(process, words[0], stop)
        except BaseException:
            _kill(process)
            raise
    if process.returncode != 0:
        last = "; ".join(messages.decode("utf-8", "replace").strip().splitlines()[-_STDERR_LINES:]) or "no message"
        raise ProcessError(f"{words[0]} ended with code {process.returncode}: {last}")


def _wait(process: subprocess.Popen[bytes], name: str, stop: threading.Event) -> bytes:
    while True:
        try:
            return process.communicate(timeout=_POLL_S)[1]
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise StoppedError(f"{name} was stopped") from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg") and process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
