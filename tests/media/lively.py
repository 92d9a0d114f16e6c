"""Clips whose frames say their number and whose sound marks each second, and what has become of them in an output."""

from __future__ import annotations

import io
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 25
SIZE = (256, 96)
# The number of a frame is a row of black and white squares, on top of texture.
_BITS, _SQUARE = 14, 16
_SAMPLES = 48_000
_MARK_S = 0.04


def numbered_clip(
    path: Path,
    seconds: float,
    *,
    begin: int = 0,
    size: tuple[int, int] = SIZE,
    options: dict[str, str] | None = None,
) -> Path:
    """A clip at 25 frames/s with frame numbers from `begin` on and a tone at the beginning of each second."""
    rng = np.random.default_rng(5)
    texture = rng.integers(60, 190, (size[1], size[0] * 2)).astype(np.float64)
    texture = ((texture + np.roll(texture, 1, 0) + np.roll(texture, 1, 1)) / 3).astype(np.uint8)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "g": "25", **(options or {})})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = out.add_stream("aac", rate=_SAMPLES)
        sound.layout = "mono"
        fifo = av.AudioFifo()
        for index in range(round(seconds * RATE)):
            number = begin + index
            luma = np.roll(texture, 2 * number, axis=1)[:, : size[0]].copy()
            for bit in range(_BITS):
                luma[:_SQUARE, bit * _SQUARE : (bit + 1) * _SQUARE] = 235 if number >> bit & 1 else 16
            frame = _grey(luma)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
            at = np.arange(index * _SAMPLES // RATE, (index + 1) * _SAMPLES // RATE)
            on = (at % _SAMPLES) < _MARK_S * _SAMPLES
            wave = (np.sin(at * 2 * np.pi * 1000 / _SAMPLES) * 0.8 * on).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            tone.sample_rate, tone.pts, tone.time_base = _SAMPLES, int(at[0]), Fraction(1, _SAMPLES)
            fifo.write(tone)
            while (chunk := fifo.read(1024)) is not None:
                out.mux(sound.encode(chunk))
        out.mux(video.encode())
        out.mux(sound.encode())
    return path


def _grey(luma: np.ndarray) -> av.VideoFrame:
    """A frame of grey chroma."""
    frame = av.VideoFrame(luma.shape[1], luma.shape[0], "yuv420p")
    for plane, samples in zip(frame.planes, (luma, None, None), strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[:, : plane.width] = 128 if samples is None else samples
    return frame


@dataclass(frozen=True)
class Seen:
    """What an output shows.

    Attributes:
        numbers, times: of its frames, the latter in seconds.
        lumas: of them.
        marks: when the tones begin, in seconds.
    """

    numbers: list[int]
    times: list[float]
    lumas: list[np.ndarray]
    marks: list[float]

    def out_of_step(self) -> list[float]:
        """For each tone, by how many seconds it comes after the picture that it belongs to."""
        starts = [t for t, n in zip(self.times, self.numbers, strict=True) if n % RATE == 0]
        return [min((mark - start for start in starts), key=abs) for mark in self.marks]


def watch(data: Path | bytes) -> Seen:
    """Decodes a file, or what a playlist's segments are together."""
    times: list[float] = []
    lumas: list[np.ndarray] = []
    with av.open(str(data) if isinstance(data, Path) else io.BytesIO(data)) as file:
        for frame in file.decode(video=0):
            times.append(float(frame.pts * frame.time_base))
            lumas.append(luma_of(frame))
    return Seen([number_of(luma) for luma in lumas], times, lumas, watch_sound(data))


def watch_sound(data: Path | bytes) -> list[float]:
    """When the tones of a file begin, in seconds."""
    marks: list[float] = []
    with av.open(str(data) if isinstance(data, Path) else io.BytesIO(data)) as file:
        for frame in file.decode(audio=0) if file.streams.audio else ():
            at = float(frame.pts * frame.time_base)
            for index in np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.3):
                when = at + index / _SAMPLES
                if not marks or when - marks[-1] > 0.2:
                    marks.append(when)
    return marks


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    """The luma plane of a frame of eight bits, in memory of its own."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : frame.width].copy()


def number_of(luma: np.ndarray) -> int:
    """The number that a frame of `numbered_clip` shows."""
    middle = luma[_SQUARE // 2, _SQUARE // 2 : _BITS * _SQUARE : _SQUARE]
    return int(sum(int(value > 128) << bit for bit, value in enumerate(middle)))


def segments(playlist: Path) -> list[str]:
    """Names of the segments that a playlist lists."""
    return [line for line in playlist.read_text().splitlines() if line and not line.startswith("#")]


def runs(playlist: Path) -> list[bytes]:
    """For each header of a playlist, it and its segments as one file."""
    made: list[bytes] = []
    for line in playlist.read_text().splitlines():
        header = re.fullmatch(r'#EXT-X-MAP:URI="(.+)"', line)
        if header:
            made.append((playlist.parent / header[1]).read_bytes())
        elif line and not line.startswith("#"):
            made[-1] += (playlist.parent / line).read_bytes()
    return made


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def call(port: int, data: bytes, patience: float = 20) -> None:
    """Calls a listener, once there is one, sends it bytes and hangs up without a farewell."""
    end = time.monotonic() + patience
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    with connection:
        connection.sendall(data)
        time.sleep(0.5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Receiver:
    """Listens, and takes what each caller sends; `hang_up` leaves the one who is there."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.received: list[bytearray] = []
        self._caller: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            self._caller = caller
            data = bytearray()
            self.received.append(data)
            try:
                while block := caller.recv(65536):
                    data += block
            except OSError:
                pass
            finally:
                caller.close()

    def hang_up(self) -> None:
        """Leaves the caller."""
        assert self._caller is not None
        self._caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._caller.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Takes no more calls, and the rest of what a caller that has left did send."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._server.close()
