"""How many passes a bitrate takes, and what the first one gives to the second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from scene.errors import UsageError
from scene.progress import OnProgress, Progress
from scene.video.encoders.base import Encoder, StatisticsPass
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.first_pass import encode_first_pass
from scene.video.encoding.plan import EncodePlan


@dataclass(frozen=True, slots=True)
class FirstPass:
    """What a first pass found.

    Attributes:
        second: the second pass; None where the encoder makes one, and the first only looked for the quantiser.
        crf: that the rate comes to, for a model that is conditioned on the quantiser; None without one, or where the
            encoder reports no quantiser.
    """

    second: StatisticsPass | None
    crf: float | None


def wants_first_pass(codec: Encoder, settings: EncoderSettings, *, conditioned: bool) -> bool:
    """Whether the source is encoded once before: for x264's and x265's statistics, or for a network's quantiser.

    Args:
        conditioned: whether the network is conditioned on the quantiser.

    Raises:
        UsageError: passes that this encoder does not make, or too few for the network.
    """
    if settings.bitrate is None:
        return False
    if conditioned and (settings.passes == 1 or not codec.has_trials):
        raise UsageError(
            "this model is conditioned on the encoder's quantiser, which one pass with `bitrate` cannot know; "
            + ("give `crf`" if not codec.has_trials else "leave `passes` out, give `crf`")
            + " or use a model that is not, such as `model` asconvsr."
        )
    if codec.has_statistics:
        return settings.passes != 1
    if settings.passes == 2 and not conditioned:
        raise UsageError(f"{codec.name} makes one pass here; leave `passes` out.")
    return conditioned


def run_first_pass(
    plan: EncodePlan,
    folder: Path,
    tolerant: bool,
    on_progress: OnProgress,
    *,
    conditioned: bool,
) -> FirstPass:
    """Encodes the source as it is, without the network; errors as of `encode_first_pass`.

    Args:
        folder: for the encoder's statistics.
        conditioned: whether a network wants the quantiser.
    """
    started = time.monotonic()
    statistics = folder / "statistics"

    def report(frames: int, size: int) -> None:
        fps = frames / max(time.monotonic() - started, 1e-3)
        bound = None if plan.info.frames is None else max(plan.info.frames, frames)
        on_progress(Progress(frames, bound, {"pass": "1/2", "fps": round(fps, 2), "bytes": size}))

    crf = encode_first_pass(plan, statistics, tolerant=tolerant, on_frame=report)
    second = StatisticsPass(2, statistics) if plan.encoder.has_statistics else None
    return FirstPass(second, crf if conditioned else None)
