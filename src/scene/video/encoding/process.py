"""An encoder in a process of its own: uncompressed frames go in through a pipe, packets come back through another."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from scene.errors import MissingError
from scene.video.ffmpeg import ProcessError
from scene.video.source.open import DEMUXING, reason

_POLL_S = 0.1
# Of no frame taken and no byte given, while one of both is waited for.
_HUNG_S = 600.0
# For a process that has closed its pipes to say why, and end.
_LAST_WORDS_S = 5.0
_MESSAGES = 20
# What FFmpeg's program says after the reason.
_UNIMPORTANT = (
    *("Conversion failed", "Nothing was written", "Terminating thread", "Task finished"),
    *("Error sending", "Could not open encoder"),
)


class PacketProcess:
    """Runs a program that takes frames on its standard input and gives one stream of fragmented mp4 on its output.

    Three threads serve its pipes, so that neither side ever waits for the other: one takes packets as they come, one
    its messages, and one kills it where nothing moves any more. What has come and was not fetched is what the encoder
    made of the frames that it was given since, and no more: memory is bounded by the encoder's own.

    Args:
        words: the program and its arguments.
        name: what to call it in errors.

    Attributes:
        messages: the last lines that it wrote.
        stream: of its output, once a packet came; until `close`.
        header: the stream's parameter sets, as mp4 has them.

    Raises:
        MissingError: it cannot be started.
    """

    def __init__(self, words: Sequence[str], name: str) -> None:
        self._name = name
        self._packets: queue.SimpleQueue[Packet[Any] | None] = queue.SimpleQueue()
        self._failure: str | None = None
        self._waiting = self._hung = False
        self._moved = 0
        self._container: InputContainer | None = None
        self.messages: deque[str] = deque(maxlen=_MESSAGES)
        self.stream: VideoStream | None = None
        self.header = b""
        self._process = _started(words)
        self._threads = [
            threading.Thread(target=target, name=f"{name} {part}", daemon=True)
            for part, target in (("packets", self._read), ("messages", self._listen), ("watch", self._watch))
        ]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.close()
            raise

    def send(self, parts: Iterable[memoryview]) -> None:
        """Gives it a frame, and waits until it has taken it. Raises ProcessError where it has ended."""
        assert self._process.stdin is not None
        self._waiting = True
        try:
            for part in parts:
                self._process.stdin.write(part)
                self._moved += 1
        except OSError:
            raise self._error() from None
        finally:
            self._waiting = False

    def ready(self) -> Iterator[Packet[Any]]:
        """The packets that have come. Raises ProcessError where no more will."""
        while True:
            try:
                packet = self._packets.get_nowait()
            except queue.Empty:
                return
            if packet is None:
                raise self._error()
            yield packet

    def finish(self, check: Callable[[], None]) -> Iterator[Packet[Any]]:
        """Tells it that there are no more frames, and gives the rest of its packets.

        Args:
            check: called at least every 0.1 s; it may raise.

        Raises:
            ProcessError: it failed.
        """
        assert self._process.stdin is not None
        self._waiting = True
        try:
            self._process.stdin.close()
        except OSError:
            raise self._error() from None
        while True:
            check()
            try:
                packet = self._packets.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if packet is None:
                break
            yield packet
        if self._process.wait() != 0 or self._failure is not None:
            raise self._error()

    def kill(self) -> None:
        """Ends it at once; whoever waits for it gets a ProcessError."""
        self._process.kill()

    def close(self) -> None:
        """Ends it if it still runs, and waits for its threads."""
        self.kill()
        self._process.wait()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                cast(io.BufferedIOBase, pipe).close()
        self.stream = None
        if self._container is not None:
            self._container.close()

    def _read(self) -> None:
        """Takes what it gives, to the end."""
        try:
            self._container = av.open(cast(Any, _Counted(self)), mode="r", format="mp4", options=DEMUXING)
            stream = self._container.streams.video[0]
            self.header = stream.codec_context.extradata or b""
            self.stream = stream
            for packet in self._container.demux(stream):
                if packet.size:
                    self._packets.put(packet)
        except Exception as error:  # of whatever kind: it would wait for ever with nobody at the other end
            self._failure = reason(error)
            self._process.kill()
        finally:
            self._packets.put(None)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.messages.append(line.decode("utf-8", "replace").strip())

    def _watch(self) -> None:
        # Counted in turns, so that the time in which this process itself is stopped is not held against the other.
        idle, last = 0.0, -1
        while True:
            try:
                self._process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                idle = idle + _POLL_S if self._waiting and self._moved == last else 0.0
                last = self._moved
                if idle > _HUNG_S:
                    self._hung = True
                    self._process.kill()
            else:
                return

    def _error(self) -> ProcessError:
        """Why it ended, in its own words where it said something; it is over when this returns."""
        try:
            code = self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        self._threads[1].join()
        lines = [line for line in self.messages if not any(word in line for word in _UNIMPORTANT)]
        unread = None if code else self._failure
        said = lines[-1].rpartition("] ")[2].rstrip(".") if lines else unread or "no message"
        if self._hung:
            return ProcessError(f"{self._name} did nothing for {_HUNG_S:g} s and was killed: {said}.")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return ProcessError(f"{self._name} {how}: {said}.")


def _started(words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a program. Raises MissingError if it cannot be."""
    environment = {**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"}

    def start() -> subprocess.Popen[bytes]:
        # Its own session: a Ctrl-C on the terminal reaches us, and we end it.
        return subprocess.Popen(
            list(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

    # In a thread, where no signal handler can raise while there is a process that nobody knows yet.
    with ThreadPoolExecutor(1) as starter:
        future = starter.submit(start)
        try:
            return future.result()
        except OSError as error:
            raise MissingError(f"{words[0]} cannot be run ({error.strerror}).") from None
        except BaseException:
            with contextlib.suppress(OSError), future.result() as process:
                process.kill()
            raise


class _Counted:
    """Its output as FFmpeg reads it: each read gives what is there, and does not wait for all that was asked for."""

    def __init__(self, process: PacketProcess) -> None:
        self._process = process

    def read(self, size: int) -> bytes:
        pipe = cast(io.BufferedReader, self._process._process.stdout)
        data = pipe.read1(size)
        self._process._moved += 1
        return data


class FrameNumbers:
    """Turns an encoder's numbers of frames into the times of those frames.

    Args:
        time_base: the unit of the times in seconds.
        rate: frames per second, by which decoding begins before the first frame.
    """

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self._stamps: list[int] = []
        self._step = max(1, round(1 / (rate * time_base)))

    def add(self, stamp: int) -> None:
        """Notes the time of the next frame, which is later than the one before."""
        self._stamps.append(stamp)

    def time(self, number: int) -> int:
        """The time of a frame; decoding begins before the first one, with negative numbers.

        Raises:
            IndexError: there has been no such frame.
        """
        if number < 0:
            return self._stamps[0] + number * self._step
        return self._stamps[number]
