"""How long enhancement and encoding of a source take here, tried on samples of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from scene.errors import SceneError
from scene.jobs.samples.sample_encode import expected_bytes, key_frame_spacing
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.trial import check_part, stream_trial
from scene.video.source.open import open_input
from scene.video.source.probe import best_video
from scene.video.source.samples import Sample, plan_spans, read_samples, video_seconds

if TYPE_CHECKING:
    from scene.enhance import Enhancer


def untried(plan: EncodePlan, *, whole: bool) -> str:
    """Why no samples of a source can be tried, empty if they can.

    Args:
        whole: whether its frames are not those of its file alone, as of one that is deinterlaced or a playlist.
    """
    if plan.settings.bitrate is not None:
        return "a bitrate is not tried on parts"
    if whole or not plan.encoder.has_trials:
        return "parts of it cannot be tried"
    with open_input(plan.info.path) as opened:
        if plan.info.stream_index != best_video(opened, plan.info.path).index:
            return "parts of it cannot be tried"
    try:
        check_part(plan.settings)
    except SceneError:
        return "parts of it cannot be tried"
    return ""


def together(enhancing: float, encoding: float, enhancer: Enhancer | None) -> float:
    """Seconds of an encode with enhancement: of both where they share the processor, else of what takes longer."""
    beside = enhancer is not None and enhancer.device.type != "cpu"
    return max(enhancing, encoding) if beside else enhancing + encoding


@dataclass(frozen=True, slots=True)
class SpeedTrial:
    """Samples of a source, and how it is encoded.

    Attributes:
        seconds: that the source lasts.
        samples: each of consecutive pictures.
        interval: seconds between two key frames of the encode, 0 where the samples are all of the source.
        folder: private.
    """

    plan: EncodePlan
    seconds: Fraction
    samples: tuple[Sample, ...]
    interval: float
    folder: Path

    @property
    def frames(self) -> int:
        """In all samples."""
        return sum(len(sample.stamps) for sample in self.samples)

    def warm_up(self, enhancer: Enhancer) -> None:
        """Before the first sample: the first picture of all takes longer than any other."""
        next(enhancer.stream(islice(self.samples[0].pictures(), 4)))

    def enhance(self, sample: Sample, enhancer: Enhancer) -> tuple[Sample, float]:
        """A sample after enhancement, and the seconds that this took; the next call writes over its pictures."""
        enhancer.start_shot()
        began = time.monotonic()
        enhanced = sample.with_pictures(self.folder / "enhanced.raw", enhancer.stream(sample.pictures()))
        return enhanced, time.monotonic() - began

    def encode(self, sample: Sample) -> tuple[float, float]:
        """A sample encoded with as many threads as the whole source has: the bytes of such a part, and the seconds."""
        sizes: list[int] = []
        began = time.monotonic()
        pictures = zip(sample.pictures(), sample.stamps, strict=True)
        for _ in stream_trial(pictures, self.plan.settings, self.plan.info, sizes, one_thread=False):
            pass
        return expected_bytes(sizes, self.interval), time.monotonic() - began


@contextmanager
def open_speed_trial(plan: EncodePlan, samples: int, frames: int) -> Iterator[SpeedTrial]:
    """Samples of a source that `untried` has nothing against; all of one that is hardly longer.

    Args:
        samples: how many, spread over it.
        frames: of each.

    Raises:
        InputError: the source cannot be read where it is sampled.
        OSError: there is no room.
    """
    info = plan.info
    seconds = video_seconds(info)
    spans = plan_spans(seconds, info.rate, samples, frames / info.rate)
    interval = 0.0 if spans[0].frames is None else key_frame_spacing(plan.settings, info.rate, seconds)
    with TemporaryDirectory(prefix="scene-trial-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        yield SpeedTrial(plan, seconds, tuple(read_samples(info, spans, folder)), interval, folder)
