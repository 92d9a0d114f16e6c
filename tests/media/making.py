"""Small video files made on the spot, and reading back what is in a file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from scene.cli import run
from scene.model import NetworkConfig, build_network, save_network
from scene.video.pixel_format import frame_picture, picture_format

MS = Fraction(1, 1000)


def textured(frame: av.VideoFrame, index: int) -> None:
    """Moving texture in every plane, over most of the code range."""
    rng = np.random.default_rng(7)
    for plane in frame.planes:
        wide = "p1" in frame.format.name or frame.format.name.startswith("gray1")
        dtype = np.uint16 if wide else np.uint8
        rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype().itemsize)
        top = int("".join(c for c in frame.format.name.split("p")[-1] if c.isdigit()) or 8) if wide else 8
        base = rng.integers(0, 2**top, (plane.height, plane.width))
        blurred = (base + np.roll(base, 1, 0) + np.roll(base, 1, 1) + np.roll(base, 2, 1)) // 4
        rows[: plane.height, : plane.width] = np.roll(blurred, index * 2, axis=1)


def make_video(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    frames: int = 8,
    stamps: list[int] | None = None,
    time_base: Fraction = MS,
    rate: int = 25,
    pix_fmt: str = "yuv420p",
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    colour: tuple[int, int, int, int] = (2, 2, 2, 0),
    sar: Fraction | None = None,
    rotation: int = 0,
    audio: str | None = None,
    subtitles: bool = False,
    chapters: bool = False,
) -> Path:
    """Writes a clip; `stamps` are in `time_base`, by default 40 ms apart. `colour` as in probe.ColourTags."""
    step = round(Fraction(1, 25) / time_base)
    stamps = stamps or [i * step for i in range(frames)]
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=rate, options=dict(options or {}))
        video.width, video.height = size
        video.pix_fmt = pix_fmt
        context = video.codec_context
        context.time_base = time_base
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = colour
        if sar:
            context.sample_aspect_ratio = sar
        if rotation:
            video.set_display_rotation(rotation)
        video.metadata["title"] = "the picture"
        sound = out.add_stream(audio, rate=48000) if audio else None
        if sound is not None:
            sound.metadata["language"] = "ces"
            sound.disposition = av.stream.Disposition.default
        words = None
        if subtitles:
            words = out.add_stream("subrip" if path.suffix == ".mkv" else "mov_text")
            words.metadata["language"] = "fin"
            words.codec_context.subtitle_header = b"[Script Info]\n"
        if chapters:
            out.set_chapters([{"id": 1, "start": 0, "end": 100, "time_base": MS, "metadata": {"title": "Beginning"}}])
        out.metadata["title"] = "A clip"
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame(*size, pix_fmt)
            textured(frame, index)
            frame.pts, frame.time_base = stamp, time_base
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if sound is not None:
            length = sound.codec_context.frame_size or 1024
            for index in range(8):
                tone = av.AudioFrame(sound.codec_context.format.name, "stereo", length)
                for plane in tone.planes:
                    np.frombuffer(plane, np.uint8)[:] = index
                tone.sample_rate, tone.pts, tone.time_base = 48000, index * length, Fraction(1, 48000)
                out.mux(sound.encode(tone))
            out.mux(sound.encode())
        if words is not None:
            packet = av.Packet(b"hello" if path.suffix == ".mkv" else b"\x00\x05hello")
            packet.stream, packet.pts, packet.dts, packet.duration = words, 40, 40, 100
            packet.time_base = MS
            out.mux(packet)
    return path


@dataclass(frozen=True)
class Shown:
    """A decoded frame: its time in seconds and its planes."""

    time: Fraction
    planes: tuple[np.ndarray, ...]


def decoded(path: Path) -> list[Shown]:
    """All frames of a file."""
    shown = []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            picture = frame_picture(frame, picture_format(frame))
            shown.append(Shown(frame.pts * frame.time_base, tuple(p.copy() for p in picture.planes)))
    return shown


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time and content of the packets of the first stream of a kind."""
    with av.open(str(path)) as file:
        stream = next(s for s in file.streams if s.type == kind)
        return [(p.pts * p.time_base, bytes(p)) for p in file.demux(stream) if p.size]


def assert_same_pictures(before: list[Shown], after: list[Shown]) -> None:
    """Equal numbers of frames, each bit-exact; FFmpeg decodes grey H.264 with two neutral planes beside luma."""
    assert len(before) == len(after)
    for a, b in zip(before, after, strict=True):
        for plane_a, plane_b in zip(a.planes, b.planes, strict=len(a.planes) == 3):
            assert np.array_equal(plane_a, plane_b)


def assert_same_times(before: list[Shown], after: list[Shown], tick: Fraction = MS) -> None:
    """Each time stamp within a tick."""
    assert len(before) == len(after)
    assert max(abs(a.time - b.time) for a, b in zip(before, after, strict=True)) <= tick


def make_network(
    path: Path, *, planes: str = "luma", identity: bool = False, quantiser: tuple[float, float] | None = None
) -> Path:
    """A small network's checkpoint; without `identity` it changes pictures visibly."""
    network = build_network(NetworkConfig(guidance="features", planes=planes, channels=8, quantiser=quantiser), seed=3)
    if not identity:
        with torch.no_grad():
            network.tail.weight.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    save_network(network, path)
    return path


def make_subtitled(path: Path, cues: list[tuple[int, int, str]], *, codec: str = "subrip", stamps: list[int]) -> Path:
    """A clip with a track of text; cues are (start, end, text), and all times are in milliseconds."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height, video.pix_fmt, video.codec_context.time_base = 64, 48, "yuv420p", MS
        words = out.add_stream(codec)
        words.codec_context.subtitle_header = b"[Script Info]\n"
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame(64, 48, "yuv420p")
            textured(frame, index)
            frame.pts, frame.time_base = stamp, MS
            out.mux(video.encode(frame))
        out.mux(video.encode())
        for start, end, text in cues:
            packet = av.Packet(text.encode())
            packet.stream, packet.time_base = words, MS
            packet.pts = packet.dts = start
            packet.duration = end - start
            out.mux(packet)
    return path


def hide_edges(path: Path, coded: tuple[int, int], crop: tuple[int, int, int, int]) -> None:
    """Gives the H.264 video of a mov or mp4 file whose index is at its end a clean aperture (ISO/IEC 14496-12, clap).

    Args:
        coded: width and height of its pictures.
        crop: columns and lines to hide: left, right, top, bottom.
    """
    (width, height), (left, right, top, bottom) = coded, crop
    # Size, and where its middle lies from that of the picture, as fractions.
    values = (width - left - right, 1, height - top - bottom, 1, left - right, 2, top - bottom, 2)
    box = struct.pack(">I4s8i", 40, b"clap", *values)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"avc1", 0, data.rindex(b"avcC")) - 4
    end = entry + int.from_bytes(data[entry : entry + 4], "big")
    data[end:end] = box
    for name in (b"avc1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = data.rindex(name, 0, entry + 8) - 4
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + len(box)).to_bytes(4, "big")
    path.write_bytes(data)


def encode(*arguments: object) -> int:
    """`scene encode` in this process; the exit code."""
    return run(["encode", *map(str, arguments)])
