"""`scene calibrate`."""

from __future__ import annotations

import logging
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scene.calibration.objective import AimName
from scene.cli.console import LogFormat, progress_display, setup_logging
from scene.video.encoders import DEFAULT_ENCODER

if TYPE_CHECKING:
    from scene.calibration.run import CalibrationResult


def calibrate(
    model: str = "none",
    *,
    out: Path,
    codec: str = DEFAULT_ENCODER,
    preset: str | None = None,
    encoder_args: str | None = None,
    videos: Path | None = None,
    photographs: Path | None = None,
    held_out_videos: Path | None = None,
    held_out_photographs: Path | None = None,
    aim: AimName = "perceptual",
    neighbours: Literal[1, 2] | None = None,
    pans: int = 4,
    frames: int = 16,
    generations: int = 20,
    population: int = 10,
    clips_a_generation: int = 4,
    seed: int = 0,
    jobs: int | None = None,
    log_format: LogFormat = "text",
) -> None:
    """Fit a model's few free numbers to an encoder and its settings, by real encodes of your own footage.

    Evolves the temporal filter, the gains of the bank, and a network's strength and step; writes the model with the
    numbers that save most on the held-out clips. The same command resumes where it was ended.

    Parameters
    ----------
    model:
        Name of a shipped model, a .safetensors file, or none for a bank behind a temporal filter, without a network.
    out:
        The calibrated model's file, which also gives its name; its log is beside it, with the suffix .jsonl.
    codec:
        Of the encoder.
    preset:
        Of the encoder.
    encoder_args:
        Of the encoder, key=value:key=value.
    videos:
        Folder of videos to calibrate on, of 512x256 or more and at least --frames frames.
    photographs:
        Folder of photographs to calibrate on, panned or held still, three of four with noise.
    held_out_videos:
        Folder of other videos, to choose by.
    held_out_photographs:
        Folder of other photographs, to choose by.
    aim:
        What counts: perceptual, metrics of how it looks first; or faithful, where no metric and no clip may lose.
    neighbours:
        Frames on either side that the temporal filter looks at: one takes half the time of two. By default as the model
        has it.
    pans:
        Photographs that are taken of each folder.
    frames:
        Length of each clip. Encoders that look far ahead, such as SVT-AV1, need more.
    generations:
        Steps of the evolution.
    population:
        Candidates in each generation.
    clips_a_generation:
        Clips on which the candidates of a generation are encoded; generations take them in turns.
    seed:
        Of the evolution.
    jobs:
        Encodes side by side; the number of cores.
    log_format:
        json writes one object a line on stderr.
    """
    setup_logging(log_format)
    from scene.calibration.run import CalibrationRequest
    from scene.calibration.run import calibrate as run_calibration

    request = CalibrationRequest(
        destination=out,
        model=model,
        codec=codec,
        preset=preset,
        encoder_args=encoder_args,
        videos=videos,
        photographs=photographs,
        held_out_videos=held_out_videos,
        held_out_photographs=held_out_photographs,
        aim=aim,
        neighbours=neighbours,
        pans=pans,
        frames=frames,
        generations=generations,
        population=population,
        clips_a_generation=clips_a_generation,
        seed=seed,
        jobs=jobs,
    )
    with progress_display("calibrate", "candidates", log_format) as on_progress:
        result = run_calibration(request, on_progress)
    logging.getLogger("scene").info(
        "held-out clips, rate at equal score: at the start %s; now %s",
        _means(result, "start"),
        _means(result, "savings"),
    )
    print(out)


def _means(result: CalibrationResult, field: str) -> str:
    savings = getattr(result, field)
    return ", ".join(f"{metric} {-statistics.fmean(values):+.1f} %" for metric, values in savings.items())
