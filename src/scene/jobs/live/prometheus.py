"""Figures for Prometheus, in its text format."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from scene.jobs.live.figures import Figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_DONE = ("enhanced", "passed", "bypassed", "delivered", "undelivered")


def exposition(figures: Figures) -> str:
    """All of them, as they are now."""
    registry = CollectorRegistry()
    registry.register(_Collected(figures))
    return generate_latest(registry).decode("utf-8")


class _Collected(Collector):
    """One reading as families of metrics."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        reading = self._figures.reading()
        done = CounterMetricFamily("scene_live_frames", "Frames by what was done to them.", labels=["done"])
        for name in _DONE:
            done.add_metric([name], getattr(reading, name))
        yield done
        for name, about, value in (
            ("frames_read", "Frames read and decoded.", reading.frames),
            ("frames_damaged", "Frames that came damaged.", reading.damaged),
            ("sound_packets", "Packets of sound that went out.", reading.sound),
            ("bytes", "Bytes that went out.", reading.bytes),
            ("connections", "Connections to the source.", reading.connections),
            ("clock_joins", "Jumps of the source's clock.", reading.joins),
        ):
            yield CounterMetricFamily(f"scene_live_{name}", about, value)
        for name, about, gauge in (
            ("waiting_frames", "Frames that wait.", reading.waiting),
            ("strength", "Strength of the enhancement.", reading.strength),
            ("bitrate_kbps", "Bitrate asked for, 0 for a constant rate factor.", reading.bitrate),
        ):
            yield GaugeMetricFamily(f"scene_live_{name}", about, gauge)
        latencies = self._figures.latencies
        buckets = [(f"{bound:g}", float(latencies.up_to(bound))) for bound in _BUCKETS_S]
        yield HistogramMetricFamily(
            "scene_live_latency_seconds",
            "From a packet's arrival to that of its picture at the output.",
            buckets=[*buckets, ("+Inf", float(latencies.count))],
            sum_value=latencies.total,
        )
