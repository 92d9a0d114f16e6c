"""A calibration from start to file: clips, evolution, choice on held-out clips, checkpoint."""

from __future__ import annotations

import hashlib
import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scene.calibration.clips import FRAMES, CalibrationClip, photograph_clips, video_clips
from scene.calibration.evolution import Encoding, evolve
from scene.calibration.judge import Judge, Savings
from scene.calibration.objective import AIMS, AimName, objective
from scene.enhance.calibrated import borrowed_calibration, calibration_for
from scene.errors import InputError, UsageError
from scene.measure.encode import CodecRun, codec_run
from scene.measure.score import require_ffmpeg
from scene.model import Calibration, Network, NetworkConfig, build_network, load_model, save_network
from scene.model.calibration import Bank
from scene.options import BYPASS
from scene.progress import OnProgress, Progress, silent
from scene.video.encoders import DEFAULT_ENCODER
from scene.video.encoders.base import Encoder

log = logging.getLogger(__name__)

# The widest steps that any encoder here has: a model without a network has no range of a training.
_STEPS = (0.5, 1000.0)
# Where an evolution begins without a calibration: about where others have ended.
_START_BANK = Bank(
    gain=(0.0, 0.06, 0.0, 0.0, 0.015),
    gain_slope=(0.0, 0.03, 0.0, 0.0, 0.01),
    faint=(-0.2, 0.25, 0.2, 0.0, 0.08),
    faint_slope=(0.0, 0.05, 0.06, -0.08, 0.0),
    reach=(0.35, 0.35, 0.25, 0.4, 0.35),
)
_START_TEMPORAL = (10.0, 0.4)
# Of the encoder's measuring ladder, for candidates: from good to poor quality, without the ends.
_CANDIDATE_CRFS = 3


@dataclass(frozen=True, slots=True)
class CalibrationRequest:
    """A model to be fitted to an encoder.

    Attributes:
        destination: the new checkpoint; beside it, with the suffix .jsonl, the log from which a run resumes.
        model: a shipped name or a file; "none" for a model without a network: a bank behind a temporal filter.
        codec: of the encoder.
        preset, encoder_args: of the encoder; None for those that are measured with.
        videos: folder of videos to calibrate on.
        photographs: folder of photographs to calibrate on, panned or held still.
        held_out_videos, held_out_photographs: folders to choose by; none of them may be among the former.
        aim: what counts, see `scene.calibration.objective.AIMS`.
        neighbours: of the temporal filter, see `Calibration`; None for those of the start.
        pans: photographs that are taken of each folder.
        frames: length of each clip; encoders that look far ahead need more.
        generations, population, clips_a_generation: of the evolution.
        seed: of the evolution.
        jobs: encodes side by side; the number of cores.
    """

    destination: Path
    model: str = BYPASS
    codec: str = DEFAULT_ENCODER
    preset: str | None = None
    encoder_args: str | None = None
    videos: Path | None = None
    photographs: Path | None = None
    held_out_videos: Path | None = None
    held_out_photographs: Path | None = None
    aim: AimName = "perceptual"
    neighbours: int | None = None
    pans: int = 4
    frames: int = FRAMES
    generations: int = 20
    population: int = 10
    clips_a_generation: int = 4
    seed: int = 0
    jobs: int | None = None


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What was found.

    Attributes:
        calibration: that was chosen.
        savings: on the held-out clips, by metric in percent of the rate, one value a clip.
        start: the same of the calibration that the evolution began with.
        clips: the held-out clips' names.
    """

    calibration: Calibration
    savings: Savings
    start: Savings
    clips: tuple[str, ...]


def calibrate(request: CalibrationRequest, on_progress: OnProgress = silent) -> CalibrationResult:
    """Evolves a model's free numbers by a real encoder, and writes the model with them.

    Candidates are judged on the clips to calibrate on; of the start and the evolution's last centres the one is written
    that saves most on the held-out clips. The start is the model's calibration for this encoder, or else one for
    another if it has any, with the share of its bank that the aim begins with. The same request resumes from the log;
    counted in candidates.

    Raises:
        UsageError: no clips, or arguments that make no sense.
        InputError, CheckpointError: a clip or the model cannot be read, or the log is of another request.
        MissingError: the encoder, ffmpeg with libvmaf, or the package cma is missing.
        SceneError: an encode or a comparison failed.
    """
    if request.destination.suffix != ".safetensors":
        raise UsageError(f"{request.destination}: give the model a name that ends with .safetensors.")
    if request.frames < 2:
        raise UsageError("`frames` must be at least 2.")
    if not request.destination.parent.is_dir():
        raise UsageError(f"the folder {request.destination.parent} does not exist.")
    network = _open_model(request.model)
    run = codec_run(request.codec, preset=request.preset, encoder_args=request.encoder_args)
    aim = AIMS[request.aim]
    ffmpeg = require_ffmpeg(aim.metrics, "a calibration")

    def clips(videos: Path | None, photographs: Path | None) -> list[CalibrationClip]:
        frames = request.frames
        found = video_clips(ffmpeg, videos, frames=frames) if videos is not None else []
        return found + (photograph_clips(photographs, request.pans, frames=frames) if photographs is not None else [])

    fitting = clips(request.videos, request.photographs)
    held_out = clips(request.held_out_videos, request.held_out_photographs)
    if not fitting or not held_out:
        raise UsageError("give `videos` or `photographs` to calibrate on, and others that are held out.")
    same = {clip.digest for clip in fitting} & {clip.digest for clip in held_out}
    if same:
        names = ", ".join(clip.name for clip in held_out if clip.digest in same)
        raise InputError(f"{names} cannot both be calibrated on and be held out.")
    start = _start(network, run.codec)
    start = replace(start, bank=start.bank.scaled(aim.start), neighbours=request.neighbours or start.neighbours)
    encoding = Encoding(start, network=network.config.body)
    judge = Judge(ffmpeg, network, fitting, run, _middle(run), aim.metrics, jobs=request.jobs)
    try:
        centres = _evolve(request, encoding, judge, fitting, run, on_progress)
    finally:
        judge.close()
    final = Judge(ffmpeg, network, held_out, run, _middle(run), aim.metrics, jobs=request.jobs)
    try:
        everything = range(len(held_out))
        candidates = [start, *(encoding.calibration(centre) for centre in centres)]
        readings = [final.savings(candidate, everything) for candidate in candidates]
    finally:
        final.close()
    best = max(range(len(candidates)), key=lambda index: objective(readings[index], aim))
    network.calibrations[run.codec.name] = candidates[best]
    means = {metric: round(statistics.fmean(values), 2) for metric, values in readings[best].items()}
    # A model calibrated for several encoders has an account of each.
    accounts = network.record.get("calibrations")
    history = {
        **(accounts if isinstance(accounts, dict) else {}),
        run.codec.name: _account(request, run, fitting, held_out, means),
    }
    save_network(network, request.destination, {**network.record, "calibrations": history})
    return CalibrationResult(candidates[best], readings[best], readings[0], tuple(clip.name for clip in held_out))


def _open_model(name: str) -> Network:
    if name == BYPASS:
        return build_network(NetworkConfig(guidance="features", planes="luma", body=False, quantiser=_STEPS))
    return load_model(name)


def _start(network: Network, encoder: Encoder) -> Calibration:
    """Where the evolution begins: at the model's calibration for this encoder, or else at one for another."""
    found = network.calibrations.get(encoder.name) or borrowed_calibration(network, encoder)
    if found is not None:
        return found
    temporal = _START_TEMPORAL if encoder.fit.temporal else None
    if network.config.body:
        return replace(calibration_for(network, encoder), temporal=temporal)
    bank = _START_BANK.scaled(encoder.fit.strength)
    return Calibration(temporal, bank, step=encoder.fit.step)


def _middle(run: CodecRun) -> tuple[float, ...]:
    inner = run.crfs[1:-1]
    if len(inner) < _CANDIDATE_CRFS:
        raise UsageError("a calibration needs an encoder with at least five measured CRFs.")
    last = len(inner) - 1
    return tuple(inner[round(position * last / (_CANDIDATE_CRFS - 1))] for position in range(_CANDIDATE_CRFS))


def _evolve(
    request: CalibrationRequest,
    encoding: Encoding,
    judge: Judge,
    clips: Sequence[CalibrationClip],
    run: CodecRun,
    on_progress: OnProgress,
) -> list[list[float]]:
    """The centres to choose from: of the last generation, and of those at two thirds and half of the way."""
    done, total = 0, request.generations * request.population

    def measure(vector: Sequence[float], chosen: Sequence[int]) -> float:
        nonlocal done
        value = objective(judge.savings(encoding.calibration(vector), chosen), AIMS[request.aim])
        done += 1
        on_progress(Progress(done, total, {"objective": round(value, 2)}))
        return value

    centres = []
    for generation in evolve(
        measure,
        encoding.width,
        len(clips),
        generations=request.generations,
        population=request.population,
        clips_a_generation=min(request.clips_a_generation, len(clips)),
        seed=request.seed,
        log=request.destination.with_suffix(".jsonl"),
        subject=_subject(request, encoding, clips, run),
    ):
        done = max(done, (generation.number + 1) * request.population)
        centres.append(generation.mean)
        log.info(
            "generation %d: best %.2f, median %.2f",
            generation.number,
            max(generation.objectives),
            statistics.median(generation.objectives),
        )
    count = len(centres)
    return [centres[index] for index in sorted({count // 2, 2 * count // 3, count - 1})]


def _subject(request: CalibrationRequest, encoding: Encoding, clips: Sequence[CalibrationClip], run: CodecRun) -> str:
    """All that an objective depends on beside its vector."""
    settings = (run.codec.name, run.preset, run.crfs, run.encoder_args)
    parts = (request.model, encoding, request.aim, request.frames, settings, [clip.digest for clip in clips])
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _account(
    request: CalibrationRequest,
    run: CodecRun,
    fitting: Sequence[CalibrationClip],
    held_out: Sequence[CalibrationClip],
    means: dict[str, float],
) -> dict[str, object]:
    """What a checkpoint says of how its numbers came about; savings in percent of the rate."""
    return {
        "preset": run.preset,
        "encoder_args": run.encoder_args,
        "clips": [clip.name for clip in fitting],
        "held_out": [clip.name for clip in held_out],
        "aim": request.aim,
        "frames": request.frames,
        "generations": request.generations,
        "population": request.population,
        "seed": request.seed,
        "held_out_savings": means,
    }
