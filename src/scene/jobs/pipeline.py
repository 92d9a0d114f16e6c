"""Three stages at once, joined by bounded queues: the slowest sets the pace and memory stays flat."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_S = 0.005


class Stopped(Exception):  # noqa: N818 - it reports no error
    """Another stage failed, or the work was interrupted: leave, there is nothing to report."""


class Channel(Generic[T]):
    """A bounded queue from one thread to another that either side can bring down."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._closed = self._stopped = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Waits for room. Raises Stopped after `stop`."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._capacity)
            self.check()
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """No more items will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Drops what is queued and makes every call on either side raise Stopped."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def check(self) -> None:
        """Raises Stopped after `stop`."""
        if self._stopped:
            raise Stopped

    def __iter__(self) -> Iterator[T]:
        """Items as they come until the channel is closed. Raises Stopped after `stop`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._items or self._closed)
                self.check()
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


def run_pipeline(
    produce: Callable[[], Iterator[T]],
    work: Callable[[Iterator[T]], Iterator[T]],
    consume: Callable[[Iterator[T], Callable[[], None]], None],
    capacity: int = 4,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Runs `produce` and `consume` in threads of their own and `work` in the calling thread.

    Args:
        produce: gives the items.
        work: turns the iterator of items into another one.
        consume: takes the worked items, and a function to call in long stretches without an item, which raises
            when the pipeline is brought down.
        capacity: items that may wait between two stages.
        on_stop: called when the pipeline is brought down or has ended, before its threads are waited for: to end what
            they themselves wait for.

    Raises:
        The first exception of any stage, after all threads have ended. So do KeyboardInterrupt and whatever else
        a signal handler raises in the calling thread.
    """
    inbox: Channel[T] = Channel(capacity)
    outbox: Channel[T] = Channel(capacity)
    failures: list[BaseException] = []
    # A signal may come while a thread is being started, which then cannot be waited for: nothing is touched before.
    ready = threading.Event()
    busy: list[Callable[[], None]] = []

    def stop() -> None:
        inbox.stop()
        outbox.stop()
        on_stop()

    def guard(stage: Callable[[], None]) -> None:
        ready.wait()
        busy.append(stage)
        try:
            inbox.check()
            stage()
        except Stopped:
            pass
        except BaseException as error:
            failures.append(error)
            stop()
        finally:
            busy.remove(stage)

    def feed() -> None:
        for item in produce():
            inbox.put(item)
        inbox.close()

    threads = [
        threading.Thread(target=guard, args=(feed,), name="decode"),
        threading.Thread(target=guard, args=(lambda: consume(iter(outbox), outbox.check),), name="encode"),
    ]
    try:
        for thread in threads:
            thread.start()
        ready.set()
        for item in work(iter(inbox)):
            outbox.put(item)
        outbox.close()
        for thread in threads:
            thread.join()
    except Stopped:
        pass
    finally:
        # After a success nothing is left to stop; otherwise no thread may outlive this call.
        _end(threads, busy, stop, ready)
    if failures:
        raise failures[0]


def _end(threads: Sequence[threading.Thread], busy: Sized, stop: Callable[[], None], ready: threading.Event) -> None:
    """Waits for threads that are to end, also where more signals come meanwhile; raises the last of these afterwards.

    Args:
        busy: empty once they touch nothing any more. Threads themselves are not asked before: what a signal handler
            raises in `Thread.join` makes Python take the thread for ended (bpo-45274), whatever it is at.
    """
    late: BaseException | None = None
    ended = False
    while not ended:
        try:
            stop()
            ready.set()
            while busy:
                time.sleep(_POLL_S)
            for thread in threads:
                if thread.is_alive():
                    thread.join()
            ended = True
        except BaseException as error:
            late = error
    if late is not None:
        raise late
