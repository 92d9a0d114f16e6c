"""Counters and latencies of a live run, in memory that does not grow."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

# Latencies are counted in steps of 5 ms, up to two minutes.
_STEP_S = 0.005
_STEPS = 24_000
# Seconds over which the rates of now are taken.
_RECENT_S = 5.0


class Histogram:
    """Counts durations, exact to 5 ms."""

    def __init__(self) -> None:
        self._counts = [0] * _STEPS
        self.count = 0
        self.total = 0.0
        self.most = 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        self._counts[min(max(0, int(seconds / _STEP_S)), _STEPS - 1)] += 1
        self.count += 1
        self.total += seconds
        self.most = max(self.most, seconds)

    def percentile(self, share: float) -> float:
        """The duration that a share of all, from 0 to 1, does not exceed; 0 without any."""
        wanted, seen = math.ceil(share * self.count), 0
        for step, count in enumerate(self._counts):
            seen += count
            if seen >= wanted > 0:
                return min((step + 1) * _STEP_S, self.most)
        return 0.0

    def up_to(self, seconds: float) -> int:
        """How many were shorter."""
        return sum(self._counts[: round(seconds / _STEP_S)])


@dataclass(frozen=True, slots=True)
class Reading:
    """A moment of a live run; the README of its figures is docs/live.md.

    Attributes:
        frames: read and decoded.
        enhanced, passed, bypassed: of these what was enhanced; passed through since there was no time; and left as it
            is because nothing else was asked for.
        delivered, undelivered: pictures that went out, and that nobody was there to take.
        sound: packets of sound that went out.
        damaged: pictures that came damaged or could not be decoded.
        connections: to the source, made so far.
        joins: times that the source's clock had jumped.
        bytes: of video and sound that went out.
        fps, kbps: frames and kbit/s that went out over the last seconds.
        passed_share: of the frames that were to be enhanced, over the whole run.
        latency_p50, latency_p95, latency_p99, latency_max: seconds from when a frame's packet was read to when its
            picture was handed on.
        waiting: frames between the reader and the encoder.
        delay: the most frames that the encoder held back.
        strength, bitrate: as they are now; the latter in kbit/s, 0 with a constant rate factor.
    """

    frames: int
    enhanced: int
    passed: int
    bypassed: int
    delivered: int
    undelivered: int
    sound: int
    damaged: int
    connections: int
    joins: int
    bytes: int
    fps: float
    kbps: float
    passed_share: float
    latency_p50: float
    latency_p95: float
    latency_p99: float
    latency_max: float
    waiting: int
    delay: int
    strength: float
    bitrate: int


class Figures:
    """What the threads of a run count; `reading` may be asked for at any time."""

    def __init__(self, strength: float, bitrate: int | None) -> None:
        self._lock = threading.Lock()
        self.frames = self.enhanced = self.passed = self.bypassed = 0
        self.delivered = self.undelivered = self.sound = self.bytes = 0
        self.damaged = self.connections = self.joins = self.delay = 0
        self.strength = strength
        self.bitrate = bitrate or 0
        self.latencies = Histogram()
        self.delivered_at: float | None = None
        self._recent: list[tuple[float, int, int]] = []

    def picture_done(self, size: int, latency: float | None, delivered: bool) -> None:
        """A picture was handed on, so long after it was read, or there was nobody to take it."""
        with self._lock:
            if not delivered:
                self.undelivered += 1
                return
            self.delivered += 1
            self.bytes += size
            now = self.delivered_at = time.monotonic()
            if latency is not None:
                self.latencies.add(latency)
            if not self._recent or now - self._recent[-1][0] > _RECENT_S / 10:
                self._recent.append((now, self.delivered, self.bytes))
                while now - self._recent[0][0] > _RECENT_S:
                    del self._recent[0]

    def sound_done(self, size: int, delivered: bool) -> None:
        """The same of a packet of sound."""
        if delivered:
            with self._lock:
                self.sound += 1
                self.bytes += size

    def reading(self) -> Reading:
        """The figures of this moment."""
        with self._lock:
            fps = kbps = 0.0
            if self._recent and time.monotonic() - self._recent[-1][0] < _RECENT_S:
                began, frames, size = self._recent[0]
                seconds = max(time.monotonic() - began, 0.1)
                fps = (self.delivered - frames) / seconds
                kbps = (self.bytes - size) * 8 / 1000 / seconds
            tried = self.enhanced + self.passed
            latencies = self.latencies
            return Reading(
                frames=self.frames,
                enhanced=self.enhanced,
                passed=self.passed,
                bypassed=self.bypassed,
                delivered=self.delivered,
                undelivered=self.undelivered,
                sound=self.sound,
                damaged=self.damaged,
                connections=self.connections,
                joins=self.joins,
                bytes=self.bytes,
                fps=round(fps, 2),
                kbps=round(kbps, 1),
                passed_share=round(self.passed / tried, 4) if tried else 0.0,
                latency_p50=round(latencies.percentile(0.5), 3),
                latency_p95=round(latencies.percentile(0.95), 3),
                latency_p99=round(latencies.percentile(0.99), 3),
                latency_max=round(latencies.most, 3),
                waiting=max(0, self.frames - self.enhanced - self.passed - self.bypassed),
                delay=self.delay,
                strength=self.strength,
                bitrate=self.bitrate,
            )
