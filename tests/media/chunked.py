"""A clip of several shots, and an encode of it in chunks, one by one in this process."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import scene

SIZE = (128, 96)
LENGTHS = (23, 5, 17, 40)
FRAMES = sum(LENGTHS)
# Of a chunk at 25 frames/s: ten frames at least.
SECONDS = 0.4
MS = Fraction(1, 1000)


def make_shots(
    path: Path,
    *,
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    stamps: list[int] | None = None,
    audio: str | None = "flac",
    lengths: tuple[int, ...] = LENGTHS,
) -> Path:
    """Shots of noisy texture that moves, with a tone, subtitles and a chapter; `stamps` are in milliseconds."""
    random = np.random.default_rng(5)
    stamps = stamps or [40 * number for number in range(sum(lengths))]
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25, options=dict(options or {}))
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = MS
        sound = out.add_stream(audio, rate=48000) if audio else None
        number = 0
        for shot, length in enumerate(lengths):
            base = np.kron(random.integers(0, 2, (6, 8)) * 90, np.ones((SIZE[1] // 6, SIZE[0] // 8)))
            for index in range(length):
                noisy = np.roll(base, 2 * index, axis=1) + 40 + 60 * (shot % 2) + random.normal(0, 3, base.shape)
                planes = [noisy.round().clip(0, 255), *np.full((2, SIZE[1] // 2, SIZE[0] // 2), 100 + 20 * shot)]
                data = np.concatenate([plane.astype(np.uint8).ravel() for plane in planes]).reshape(-1, SIZE[0])
                frame = av.VideoFrame.from_ndarray(data, "yuv420p")
                frame.pts, frame.time_base = stamps[number], MS
                number += 1
                out.mux(video.encode(frame))
        out.mux(video.encode())
        if sound is not None:
            length = sound.codec_context.frame_size or 1024
            for index in range(stamps[-1] * 48 // length + 1):
                tone = av.AudioFrame(sound.codec_context.format.name, "stereo", length)
                for plane in tone.planes:
                    np.frombuffer(plane, np.uint8)[:] = index % 50
                tone.sample_rate, tone.pts, tone.time_base = 48000, index * length, Fraction(1, 48000)
                out.mux(sound.encode(tone))
            out.mux(sound.encode())
    return path


def encode_chunks(request: scene.EncodeRequest, work: Path, seconds: float = SECONDS) -> scene.EncodeResult:
    """Plans, runs every chunk, the last first, and joins."""
    plan = scene.plan_job(scene.JobRequest(request, work, seconds))
    assert plan.chunks > 2
    for index in reversed(range(plan.chunks)):
        scene.run_chunk(work, index)
    return scene.join_job(work)


def both(request: scene.EncodeRequest, folder: Path) -> tuple[Path, Path]:
    """The file of an encode in one go, and that of one in chunks, of the same name in two folders."""
    name = request.destination.name
    paths = []
    for way in ("one", "chunks"):
        (folder / way).mkdir()
        paths.append(folder / way / name)
    one = scene.encode(replace(request, destination=paths[0]))
    many = encode_chunks(replace(request, destination=paths[1]), folder / "work")
    assert (one.frames, one.source_bytes, one.model) == (many.frames, many.source_bytes, many.model)
    return paths[0], paths[1]


Times = tuple[str, list[tuple[int | None, int | None]], list[int | None]]


def times(path: Path) -> list[Times]:
    """Of every track its kind; each packet's presentation time, in Matroska with its duration; decoding times in order.

    Which frame is decoded when is the encoder's choice, which another key frame changes. Matroska has no decoding
    times, and durations in mp4 are no more than the steps between these.
    """
    is_matroska = path.suffix == ".mkv"
    with av.open(str(path)) as file:
        found: dict[int, Times] = {stream.index: (stream.type, [], []) for stream in file.streams}
        for packet in file.demux():
            if packet.size:
                _, shown, coded = found[packet.stream_index]
                shown.append((packet.pts, packet.duration if is_matroska else None))
                if not is_matroska:
                    coded.append(packet.dts)
    return [(kind, sorted(shown, key=str), coded) for kind, shown, coded in found.values()]
