"""The signals that end a process from outside: a user, a lost terminal, a scheduler, a limit."""

from __future__ import annotations

import signal
import time
from types import FrameType

_NAMES = (
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF"),
    *("SIGIO", "SIGPWR", "SIGSTKFLT"),
)
# Not those that report a fault of the process itself, such as SIGSEGV. Systems have some of them and not others.
ENDING: tuple[int, ...] = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)) + tuple(
    range(int(getattr(signal, "SIGRTMIN", 0)), int(getattr(signal, "SIGRTMAX", -1)) + 1)
)

# A lost terminal tells its processes more than once (the shell and the system), as Ctrl-C under torchrun does.
ECHO_S = 1.0


class Ended(BaseException):
    """A signal, raised in the main thread so that every `finally` runs.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        if self.number == signal.SIGTERM:
            return "terminated"
        try:
            name = signal.Signals(self.number).name
        except ValueError:
            name = f"signal {self.number}"
        return f"ended by {name}"


def raise_on_signals() -> None:
    """From now on signals that would end this process raise `Ended`, SIGINT KeyboardInterrupt; in the main thread.

    Those that are ignored (SIGHUP under nohup, SIGINT of jobs in the background) or handled otherwise stay so.
    """
    raiser = _Raiser()
    for number in ENDING:
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, raiser)


class _Raiser:
    """Raises for what ends the process, but not for echoes of it, which would break off the cleaning up."""

    def __init__(self) -> None:
        self._raised_at: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._raised_at is not None and now - self._raised_at < ECHO_S:
            return
        self._raised_at = now
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        raise Ended(number)
