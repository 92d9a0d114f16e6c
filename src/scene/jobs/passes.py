"""How many passes a bitrate takes, and what the first one gives to the second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from scene.errors import UsageError
from scene.progress import OnProgress, Progress
from scene.video.encoders.codecs import CODECS, Codec, StatisticsPass
from scene.video.encoders.first_pass import encode_first_pass
from scene.video.encoders.params import constant_quantiser, parse_encoder_args
from scene.video.encoders.settings import EncoderSettings
from scene.video.source.probe import SourceInfo


@dataclass(frozen=True, slots=True)
class FirstPass:
    """What a first pass found.

    Attributes:
        turn: the second pass; None where the encoder makes one, and the first only looked for the quantiser.
        step: what a network that is told the quantiser is told; None without one, or where the encoder tells none.
    """

    turn: StatisticsPass | None
    step: float | None


def conditioning_crf(codec: Codec, settings: EncoderSettings, bit_depth: int) -> float:
    """The CRF whose step a network is told: of the parameters' constant quantiser, else of the settings."""
    fixed = constant_quantiser(codec.name, parse_encoder_args(settings.encoder_args), bit_depth)
    if fixed is not None:
        return min(fixed, codec.max_crf)
    return codec.default_crf if settings.crf is None else settings.crf


def wants_first_pass(codec: Codec, settings: EncoderSettings, *, conditioned: bool) -> bool:
    """Whether the source is encoded once before: for x264's and x265's statistics, or for a network's quantiser.

    Args:
        told: whether the network is told the quantiser.

    Raises:
        UsageError: passes that this encoder does not make, or too few for the network.
    """
    if settings.bitrate is None:
        return False
    if conditioned and (settings.passes == 1 or not codec.has_trials):
        raise UsageError(
            "this model is told the encoder's quantiser, which one pass with `bitrate` cannot know; "
            + ("give `crf`" if not codec.has_trials else "leave `passes` out, give `crf`")
            + " or use a model that is not told, such as `model` asconvsr."
        )
    if codec.has_statistics:
        return settings.passes != 1
    if settings.passes == 2 and not conditioned:
        raise UsageError(f"{codec.name} makes one pass here; leave `passes` out.")
    return conditioned


def run_first_pass(
    info: SourceInfo,
    settings: EncoderSettings,
    folder: Path,
    tolerant: bool,
    on_progress: OnProgress,
    *,
    conditioned: bool,
) -> FirstPass:
    """Encodes the source as it is, without the network; errors as of `encode_first_pass`.

    Args:
        folder: for the encoder's statistics.
        told: whether a network is to be told the quantiser.
    """
    started = time.monotonic()
    statistics = folder / "statistics"

    def report(frames: int, size: int) -> None:
        fps = frames / max(time.monotonic() - started, 1e-3)
        bound = None if info.frames is None else max(info.frames, frames)
        on_progress(Progress(frames, bound, {"pass": "1/2", "fps": round(fps, 2), "bytes": size}))

    crf = encode_first_pass(info, settings, statistics, tolerant=tolerant, on_frame=report)
    step = None
    if conditioned and crf is not None:
        from scene.video.encoders.quantiser import conditioning_step  # loads torch, which takes seconds

        step = conditioning_step(settings.codec, crf)
    return FirstPass(StatisticsPass(2, statistics) if CODECS[settings.codec].has_statistics else None, step)
