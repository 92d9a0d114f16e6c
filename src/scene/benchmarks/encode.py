"""How fast files are enhanced and encoded here, beside the same encode without a model, and in how much memory."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from scene.benchmarks.made_clip import made_pictures
from scene.errors import UsageError
from scene.jobs.encode import EncodeRequest, encode
from scene.measure.raw_video import write_raw_video
from scene.measure.workspace import workspace
from scene.options import BYPASS, EnhanceOptions
from scene.picture import PictureFormat
from scene.progress import OnProgress, Progress, silent
from scene.video.encoders import ENCODERS
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.plan import check_settings
from scene.video.ffmpeg import run_external
from scene.video.rawvideo.y4m import Y4MHeader

SIZES = {"480p": (854, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
_RATE = Fraction(25)


@dataclass(frozen=True, slots=True)
class EncodeSpeed:
    """Encodes of one clip, each in a process of its own.

    Attributes:
        fps: frames a second from the first frame to the verified file; the median over the turns.
        start_s: seconds before the first frame is through, loading of torch and of the model included; the median.
        memory: the most main memory that the process had at once, in bytes; the largest over the turns.
    """

    fps: float
    start_s: float
    memory: int


@dataclass(frozen=True, slots=True)
class SizeBenchmark:
    """One size of picture.

    Attributes:
        width, height: in samples.
        plain: without a model.
        enhanced: with it.
        ratio: of the frames a second with the model to those without.
    """

    width: int
    height: int
    plain: EncodeSpeed
    enhanced: EncodeSpeed
    ratio: float


@dataclass(frozen=True, slots=True)
class EncodeBenchmark:
    """What was measured.

    Attributes:
        model: its identity.
        codec, preset, crf: of the encoder, as `scene.encode` resolves them.
        frames: of each clip.
        turns: encodes with the model of each size, and as many without.
        device: of the model.
        threads: of torch on the CPU.
        sizes: in the order that was asked for.
    """

    model: str
    codec: str
    preset: str
    crf: float
    frames: int
    turns: int
    device: str
    threads: int
    sizes: tuple[SizeBenchmark, ...]


def bench_encode(
    settings: EncoderSettings,
    options: EnhanceOptions,
    *,
    sizes: Sequence[tuple[int, int]] = tuple(SIZES.values()),
    frames: int = 48,
    turns: int = 3,
    on_progress: OnProgress = silent,
) -> EncodeBenchmark:
    """Encodes a made clip of each size with the model and without, by turns, as `scene.encode` does it.

    The source is uncompressed, so that next to nothing of the time goes into decoding it.

    Args:
        settings: of an encoder that runs in this process, at a CRF.
        options: of the model.
        sizes: width and height in samples, even.
        frames: of each clip.
        turns: encodes with the model, and as many without.

    Raises:
        UsageError: no model, an encoder of another program, or a size or count that makes no sense.
        InputError, CheckpointError, MissingError: the model, its device or the encoder is missing.
        ProcessError: an encode failed.
        OSError: there is no room for a clip.
    """
    if options.changes_nothing:
        raise UsageError("`model` none and `strength` 0 leave nothing to compare with an encode; give a model.")
    encoder = ENCODERS[check_settings(settings).name]
    if encoder.is_external:
        raise UsageError(f"{encoder.name} runs in a program of its own, whose memory is not measured; use another.")
    if frames < 2 or turns < 1:
        raise UsageError(f"`frames` {frames} and `turns` {turns} must be at least 2 and 1.")
    for width, height in sizes:
        if width % 2 or height % 2:
            raise UsageError(f"`sizes` {width}x{height} must be even.")
    import torch

    from scene.enhance import open_enhancer

    # What is wrong with the model is said here, in this process.
    enhancer = open_enhancer(options, codec=encoder.name, crf=encoder.crf_of(settings))
    count, total = 0, 2 * turns * len(sizes)
    done = []
    for width, height in sizes:
        runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        with workspace() as folder:
            write_clip(folder / "clip.y4m", width, height, frames)
            for _ in range(turns):
                for enhanced in (False, True):
                    wanted = options if enhanced else EnhanceOptions(model=BYPASS)
                    runs[enhanced].append(encode_apart(folder, settings, wanted))
                    count += 1
                    on_progress(Progress(count, total, {"size": f"{width}x{height}"}))
        plain, made = (_speed(runs[enhanced]) for enhanced in (False, True))
        done.append(SizeBenchmark(width, height, plain, made, made.fps / plain.fps))
    return EncodeBenchmark(
        model=enhancer.identity,
        codec=encoder.name,
        preset=settings.preset or encoder.default_preset,
        crf=encoder.crf_of(settings),
        frames=frames,
        turns=turns,
        device=torch.cuda.get_device_name(enhancer.device) if enhancer.device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        sizes=tuple(done),
    )


def measure_one(began: float) -> None:
    """In the other process: one encode as a line of JSON on standard input says, its figures on standard output.

    Args:
        began: of `time.perf_counter`, before anything was imported.
    """
    request = json.load(sys.stdin)
    options = EnhanceOptions(**request["options"])
    readings: list[float] = []
    source = Path(request["source"])
    settings = EncoderSettings(**request["settings"])
    if not options.changes_nothing:
        # Torch is loaded before processor time is counted. That of frames cannot be counted from the first one on, as
        # frames are enhanced ahead of it.
        import scene.enhance  # noqa: F401
    used = time.process_time()
    result = encode(
        EncodeRequest(source, source.with_name("encoded.mkv"), settings, enhancement=options, overwrite=True),
        lambda _: readings.append(time.perf_counter()),
    )
    ended, used = time.perf_counter(), time.process_time() - used
    figures = {
        "fps": (result.frames - 1) / (ended - readings[0]),
        "cpu_s": used / result.frames,
        "start_s": readings[0] - began,
        "memory": _peak_memory(),
    }
    json.dump(figures, sys.stdout)


def encode_apart(folder: Path, settings: EncoderSettings, options: EnhanceOptions) -> dict[str, Any]:
    """One encode of `clip.y4m` in a folder, in a process of its own.

    Returns:
        "fps" and "start_s" as for `EncodeSpeed`; "cpu_s", the seconds of processor time of a frame, all threads added,
        of all that the encode takes but loading torch; "memory" in bytes.

    Raises:
        ProcessError: the encode failed.
    """
    asked, answered = folder / "asked.json", folder / "answered.json"
    request = {"source": str(folder / "clip.y4m"), "settings": asdict(settings), "options": asdict(options)}
    asked.write_text(json.dumps(request), encoding="utf-8")
    code = (
        f"import time; began = time.perf_counter(); import sys; sys.path[:] = {sys.path!r}; "
        f"from {__name__} import measure_one; measure_one(began)"
    )
    run_external([sys.executable, "-c", code], asked, answered, threading.Event())
    figures: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
    return figures


def _speed(runs: Sequence[dict[str, Any]]) -> EncodeSpeed:
    fps, start = (statistics.median(run[name] for run in runs) for name in ("fps", "start_s"))
    return EncodeSpeed(fps, start, max(run["memory"] for run in runs))


def _peak_memory() -> int:
    """The most main memory that this process had at once, in bytes."""
    try:
        # What `getrusage` says begins with the memory of the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def write_clip(path: Path, width: int, height: int, frames: int) -> None:
    """The made clip, as YUV4MPEG2 of 25 frames a second.

    Raises:
        OSError: there is no room.
    """
    write_raw_video(path, Y4MHeader(PictureFormat(width, height), _RATE), made_pictures(width, height, frames))
