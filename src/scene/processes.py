"""A function of this package in a Python process of its own, so that what kills one does not kill the other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What was begun is removed on SIGTERM, which takes a moment.
_GRACE_S = 15.0
_LAST_WORDS = 400


class PythonProcess:
    """Such a process: it is given one line of JSON, and answers with lines of JSON. It ends with its parent.

    Args:
        module, function: what it calls, by name and without arguments; see `serve`.
        request: what it is to do, as JSON types.
        folder: a private one, for its temporary files and for what it says on stderr.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, module: str, function: str, request: object, folder: Path) -> None:
        self._said = folder / "stderr"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": str(folder)}
        with self._said.open("wb") as stderr:
            # Its own session: a Ctrl-C on the terminal reaches us, and we end it.
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {module} import {function}; {function}()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        # One that has ended already is noticed by its answers.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def answers(self) -> Iterator[Any]:
        """What it answers, until it has ended. A line that is cut off by its end is left out."""
        assert self._process.stdout is not None and self._process.stdin is not None
        with self._process.stdout as stdout:
            for line in stdout:
                if line.endswith(b"\n"):
                    yield json.loads(line)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def terminate(self) -> None:
        """Asks it to end; what reads its answers then comes to their end."""
        self._process.terminate()

    def end(self) -> None:
        """Waits until it has ended after `terminate`, and kills it if that takes too long."""
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def how_it_ended(self) -> str:
        """For people, after it has ended: "was killed by SIGSEGV", with its last words if it had any."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            how = "was killed by SIGKILL, as the system does where memory runs out"
        elif code < 0:
            try:
                how = f"was killed by {signal.Signals(-code).name}"
            except ValueError:
                how = f"was killed by signal {-code}"
        else:
            how = f"ended with code {code}"
        lines = self._said.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{how}: {last}" if last else how


def serve() -> tuple[Any, Callable[[object], None]]:
    """In the other process, once: the request, and a function that sends an answer from any thread.

    What else the process prints goes to its stderr. When the parent is gone, it gets a SIGTERM.
    """
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.readline())
    lock = threading.Lock()

    def answer(document: object) -> None:
        with lock:
            answers.write(json.dumps(document).encode() + b"\n")

    threading.Thread(target=_end_with_parent, daemon=True).start()
    return request, answer


def _end_with_parent() -> None:
    # Not through Python's own reader, whose lock a thread must not hold when the interpreter ends.
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
