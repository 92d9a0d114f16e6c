"""One process or many: what `torchrun` starts work together as one run with the joint batch."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scene.errors import UsageError
from scene.signals import ECHO_S, ENDING

# The others wait while the first process embeds the data set or validates with a real encoder. One that has died is
# noticed much earlier, by its connections or by torchrun.
_PATIENCE = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of a run.

    Attributes:
        rank: its number; the process with number 0 writes, validates and reports.
        count: of all processes.
        device: that this one computes on.
    """

    rank: int
    count: int
    device: torch.device

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over the processes in every backward pass."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, elementwise; the same bits everywhere."""
        if self.count > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.count
        return values

    def gather(self, values: Tensor) -> Tensor:
        """The values of all processes one after the other along dimension 0."""
        if self.count == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone.

    Args:
        device: "cpu" or "cuda"; with "cuda" each process of a machine takes the GPU of its own number.

    Raises:
        UsageError: more processes than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(0, 1, torch.device(device))
        return
    cuda = device.startswith("cuda")
    chosen = torch.device(device)
    if cuda:
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started more processes than the {torch.cuda.device_count()} GPUs of this machine"
            )
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE, device_id=chosen if cuda else None)
    try:
        yield Processes(dist.get_rank(), count, chosen)
    finally:
        dist.destroy_process_group()


@contextmanager
def undisturbed() -> Iterator[None]:
    """The end of a process that loads data, for which torch raises wherever it is noticed, is noticed at the end."""
    handler = signal.getsignal(signal.SIGCHLD)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGCHLD, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)
    if came:
        handler(came[0], None)


class StopSignals:
    """Signals that end a process as a flag to look at after each step; outside the main thread nothing is caught, and
    neither is a signal that was ignored before (SIGHUP under nohup, SIGINT in the background of a script).

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
            for number in ENDING:
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
            at_once = time.monotonic() - self._received_at >= ECHO_S
        if at_once:
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        handler = self._previous.get(number)
        if callable(handler):
            handler(number, frame)
        raise SystemExit(128 + number)
