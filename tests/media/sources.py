"""Source files that need the ffmpeg program to be made: other codecs, covers, time codes, interlacing."""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
from making import make_video

from scene.video.ffmpeg import find_ffmpeg

PICTURES = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.6")
SOUND = ("-f", "lavfi", "-i", "sine=f=440:r=48000:d=0.7", "-ac", "2")
ALL = (".mp4", ".mov", ".mkv", ".webm", ".ts", ".m2ts")


@cache
def _program() -> str:
    return str(find_ffmpeg().path)


def ffmpeg(*arguments: object) -> None:
    """Runs the program; what it says appears if it fails."""
    subprocess.run([_program(), "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def for_suffix(suffix: str) -> tuple[str, ...]:
    """Arguments of `scene encode` for a quick encode into a container."""
    return ("--model", "none", *(("--codec", "svtav1", "--preset", "12") if suffix == ".webm" else ()))


def picture_subtitles(path: Path, times: list[tuple[float, float]]) -> Path:
    """A .sup file (Presentation Graphics) that shows a bar of 8x2 pixels from each time to another, in seconds."""
    code = b"\x01" * 8 + b"\0\0"  # a line of run-length code: eight pixels of colour 1
    window = struct.pack(">BBHHHH", 1, 0, 4, 4, 8, 2)
    palette = bytes((0, 0, 1, 235, 128, 128, 255))
    bitmap = (
        struct.pack(">HBB", 0, 0, 0xC0) + (2 * len(code) + 4).to_bytes(3, "big") + struct.pack(">HH", 8, 2) + 2 * code
    )
    shown = struct.pack(">HBBHH", 0, 0, 0, 4, 4)

    def composition(number: int, objects: int) -> bytes:
        return struct.pack(">HHBHBBBB", 64, 48, 0x10, number, 0x80 * objects, 0, 0, objects) + shown * objects

    def segments(time: float, *parts: tuple[int, bytes]) -> bytes:
        ticks = round(time * 90000)
        return b"".join(b"PG" + struct.pack(">IIBH", ticks, 0, kind, len(body)) + body for kind, body in parts)

    data = b""
    for number, (start, end) in enumerate(times):
        data += segments(
            start, (0x16, composition(2 * number, 1)), (0x17, window), (0x14, palette), (0x15, bitmap), (0x80, b"")
        )
        data += segments(end, (0x16, composition(2 * number + 1, 0)), (0x17, window), (0x80, b""))
    path.write_bytes(data)
    return path


def with_second_stream(path: Path, kind: str, packets: list[tuple[int, bytes]], plain: Path | None = None) -> Path:
    """A short video with a track of data beside it; its packets are (time in ms, content), each 100 ms long."""
    plain = plain or make_video(path.with_name("plain.mp4"), codec="libx264", frames=15)
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        video = new.add_stream_from_template(old.streams.video[0])
        data = new.add_data_stream(kind)
        data.time_base = Fraction(1, 1000)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = video
                new.mux(packet)
        for time, content in packets:
            packet = av.Packet(content)
            packet.stream, packet.time_base = data, Fraction(1, 1000)
            packet.pts = packet.dts = time
            packet.duration = 100
            new.mux(packet)
    return path


def contents(path: Path, kind: str, nth: int = 0) -> list[bytes]:
    """The packets of the nth stream of a kind that shows something."""
    with av.open(str(path)) as file:
        stream = [s for s in file.streams if s.type == kind][nth]
        return [bytes(p) for p in file.demux(stream) if p.size and bytes(p) != b"\0\0"]


def streams(path: Path) -> list[tuple[str, str | None]]:
    """Kind and language of each stream."""
    with av.open(str(path)) as file:
        return [(s.type, s.metadata.get("language")) for s in file.streams]


def global_tags(path: Path) -> dict[str, str]:
    """A file's tags, their keys in lower case."""
    with av.open(str(path)) as file:
        return {key.lower(): value for key, value in file.metadata.items()}
