"""A function of this package in a process of its own, which takes requests and gives answers as lines of JSON.

It ends with the process that started it, however that one ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from scene.signals import Ended, raise_on_signals

# For a process that is asked to end to put things in order.
_GRACE_S = 10.0

Message = dict[str, Any]


class PythonProcess:
    """The other process, as seen from here.

    Args:
        module: whose function `serve` runs there; it takes what `requests` gives.
    """

    def __init__(self, module: str) -> None:
        # Its own session: a Ctrl-C on the terminal reaches us, and we end it.
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {module} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
        self._received = b""

    def fileno(self) -> int:
        """Of the pipe with its answers, for `selectors`."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def send(self, request: Message) -> None:
        """Gives it a request. One that has ended is found out by `receive`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> list[Message] | None:
        """The answers that have come, waiting for a part of one if need be; None where it has ended."""
        part = os.read(self.fileno(), 1 << 16)
        if not part:
            return None
        *lines, self._received = (self._received + part).split(b"\n")
        return [json.loads(line) for line in lines]

    def how_it_ended(self) -> str:
        """In words, once it has."""
        code = self._process.wait()
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    def ask_to_end(self) -> None:
        """Lets it put things in order and end; see `end`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def end(self, grace: float = _GRACE_S) -> None:
        """Ends it, by force after so many seconds."""
        self.ask_to_end()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


class Requests:
    """The requests of the process that started this one; for `serve` functions, in the main thread."""

    def __init__(self) -> None:
        # Encoders that print shall not meddle with the answers.
        self._answers = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._answering = threading.Lock()
        raise_on_signals()
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[Message]:
        """Each request when it comes, until this process is to end."""
        with contextlib.suppress(Ended, KeyboardInterrupt):
            while True:
                yield self._requests.get()

    def answer(self, message: Message) -> None:
        """Sends an answer; from any thread."""
        with self._answering, contextlib.suppress(OSError):
            self._answers.write(json.dumps(message).encode() + b"\n")

    def _read(self) -> None:
        for line in sys.stdin:
            self._requests.put(json.loads(line))
        # Nobody waits for answers any more. What is under way is broken off as by a signal, and left in order.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_S)
        os._exit(1)
