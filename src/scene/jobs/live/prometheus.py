"""Figures in Prometheus' text format, version 0.0.4, which is a few lines for each: no library is needed for it."""

from __future__ import annotations

from scene.jobs.live.figures import Figures

_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


def exposition(figures: Figures) -> str:
    """All of them."""
    reading = figures.reading()
    lines: list[str] = []

    def add(name: str, kind: str, about: str, *samples: tuple[str, float]) -> None:
        lines.append(f"# HELP scene_live_{name} {about}")
        lines.append(f"# TYPE scene_live_{name} {kind}")
        lines.extend(f"scene_live_{name}{label} {value:g}" for label, value in samples)

    add("frames_read_total", "counter", "Frames read and decoded.", ("", reading.frames))
    add(
        *("frames_total", "counter", "Frames by what was done to them."),
        *(
            (f'{{done="{done}"}}', getattr(reading, done))
            for done in ("enhanced", "passed", "bypassed", "delivered", "undelivered")
        ),
    )
    add("frames_damaged_total", "counter", "Frames that came damaged.", ("", reading.damaged))
    add("sound_packets_total", "counter", "Packets of sound that went out.", ("", reading.sound))
    add("bytes_total", "counter", "Bytes that went out.", ("", reading.bytes))
    add("connections_total", "counter", "Connections to the source.", ("", reading.connections))
    add("clock_joins_total", "counter", "Jumps of the source's clock.", ("", reading.joins))
    add("waiting_frames", "gauge", "Frames that wait.", ("", reading.waiting))
    add("strength", "gauge", "Strength of the enhancement.", ("", reading.strength))
    add("bitrate_kbps", "gauge", "Bitrate asked for, 0 for a constant rate factor.", ("", reading.bitrate))
    latencies = figures.latencies
    add(
        *("latency_seconds", "histogram", "From a packet's arrival to that of its picture at the output."),
        *((f'_bucket{{le="{bucket:g}"}}', latencies.up_to(bucket)) for bucket in _BUCKETS_S),
        ('_bucket{le="+Inf"}', latencies.count),
        ("_sum", latencies.total),
        ("_count", latencies.count),
    )
    return "\n".join(lines) + "\n"
