"""Stopping a long run between two steps rather than in the middle of one."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Ctrl-C under torchrun arrives twice, from the terminal and from torchrun.
_ECHO_S = 1.0


class StopSignals:
    """SIGINT and SIGTERM as a flag to look at after each step; outside the main thread nothing is caught, and
    neither is a signal that was ignored before (SIGINT under nohup or in the background of a script).

    A second signal a second or more later, or one within `interruptible`, goes straight to the handler that was there
    before.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._received_at = 0.0
        self._interruptible = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """For long work that may be broken off anywhere; a signal noted before it breaks it off at once."""
        self._interruptible = True
        try:
            self.deliver()
            yield
        finally:
            self._interruptible = False

    def deliver(self) -> None:
        """Hands a noted signal to the handler that was there before, which usually raises."""
        if self.received is not None:
            self._pass_on(self.received, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._received_at = number, time.monotonic()
            at_once = self._interruptible
        else:
            at_once = time.monotonic() - self._received_at >= _ECHO_S
        if at_once:
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        handler = self._previous.get(number)
        if callable(handler):
            handler(number, frame)
        raise SystemExit(128 + number)
