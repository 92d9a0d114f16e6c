"""The three-stage pipeline: order, errors in every stage, and interruption with full queues."""

import itertools
import signal
import threading
import time

import pytest

from scene.jobs.pipeline import run_pipeline


def collect(into):
    return lambda items, check: into.extend(items)


def test_order_is_kept_and_memory_bounded():
    made, taken, ahead = [], [], []

    def produce():
        for number in range(200):
            made.append(number)
            yield number

    def consume(items, check):
        for item in items:
            taken.append(item)
            ahead.append(len(made) - len(taken))

    run_pipeline(produce, lambda items: (n * 2 for n in items), consume, capacity=2)
    assert taken == [n * 2 for n in range(200)]
    assert max(ahead) <= 8


def test_work_may_end_early_or_late():
    taken = []
    run_pipeline(lambda: iter(range(3)), lambda items: itertools.chain(items, [9]), collect(taken))
    assert taken == [0, 1, 2, 9]


@pytest.mark.parametrize("stage", ["produce", "work", "consume"])
def test_an_error_in_any_stage_ends_all(stage):
    def failing(items):
        for number, item in enumerate(items):
            if number == 5:
                raise ValueError(stage)
            yield item

    def produce():
        numbers = iter(range(10_000))
        return failing(numbers) if stage == "produce" else numbers

    def work(items):
        return failing(items) if stage == "work" else items

    def consume(items, check):
        for _ in failing(items) if stage == "consume" else items:
            pass

    before = threading.active_count()
    with pytest.raises(ValueError, match=stage):
        run_pipeline(produce, work, consume, capacity=2)
    assert threading.active_count() == before


def test_an_interruption_frees_threads_that_wait():
    """The producer waits on a full queue and the consumer on an empty one when the worker is interrupted."""
    before = threading.active_count()

    def work(items):
        next(items)
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(lambda: iter(range(10_000)), work, collect([]), capacity=1)
    assert threading.active_count() == before


def test_a_long_tail_can_be_stopped():
    """After the last item the consumer works on; `check` is how it learns that the pipeline came down."""
    reached = threading.Event()

    def consume(items, check):
        for _ in items:
            pass
        reached.set()
        while True:
            check()

    def produce():
        yield 1
        reached.wait(10)
        raise ValueError("late")

    def work(items):
        yield next(items)

    with pytest.raises(ValueError, match="late"):
        run_pipeline(produce, work, consume)


def test_an_interruption_while_threads_are_started_leaves_everything_untouched(monkeypatch):
    start, touched = threading.Thread.start, []

    def interrupted(self):
        start(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(lambda: touched.append("read") or iter(()), iter, lambda *_: touched.append("written"))
    monkeypatch.undo()
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert touched == []


def test_a_second_signal_waits_for_the_threads_too():
    """Somebody who presses Ctrl-C twice must not make two threads use one encoder."""
    busy, ended = threading.Event(), []

    def consume(items, _):
        busy.set()
        time.sleep(0.6)
        ended.append(True)

    def work(items):
        busy.wait(10)
        threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
        raise KeyboardInterrupt
        yield

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(lambda: iter(()), work, consume)
    assert ended == [True]
    assert threading.active_count() == before


@pytest.mark.parametrize("signals", [1, 3])
def test_a_signal_while_threads_are_waited_for_does_not_leave_them_behind(signals):
    """What it raises in `Thread.join` makes Python take the thread for ended; it would write to a closed file."""
    main, ended = threading.get_ident(), []

    def consume(items, _):
        for _ in items:
            pass
        for _ in range(signals):
            # The calling thread is waiting by now.
            time.sleep(0.2)
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.4)
        ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(lambda: iter(range(3)), iter, consume)
    assert ended == [True]
