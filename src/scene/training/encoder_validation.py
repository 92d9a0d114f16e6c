"""Validation by what counts: held-out photographs, panned into short clips, through real x264, as BD-rates.

Needs the ffmpeg program beside PyAV.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from scene.enhance.colour import rgb_to_pictures
from scene.errors import MissingError
from scene.measure.cache import Measurement
from scene.measure.encode import (
    CodecRun,
    codec_run,
    key_frame_interval,
)
from scene.measure.point import measure_point
from scene.measure.raw_video import RawVideo, write_raw_video
from scene.measure.score import require_ffmpeg
from scene.metrics.bjontegaard import bd_rate
from scene.metrics.scores import FRAME_METRICS
from scene.picture import Picture, PictureFormat
from scene.progress import OnProgress, Progress, silent
from scene.training.config import ValidationConfig
from scene.training.data.frames import FrameSource, Image
from scene.training.data.pan import pan, spread
from scene.video.encoders import DEFAULT_ENCODER, ENCODERS
from scene.video.ffmpeg import FFmpeg
from scene.video.rawvideo.y4m import Y4MHeader

# Pictures, and the quantiser step of the encode to come in 8-bit code values, None for a network that is not told it.
Enhance = Callable[[list[Picture], float | None], list[Picture]]

METRICS = ("vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y")

_RATE = Fraction(24)
_MAX_UNDEFINED = Fraction(1, 3)
_PREFIX = "scene-validation-"


@dataclass(frozen=True, slots=True)
class MetricBdRates:
    """BD-rates of one metric over the clips, in percent; negative is a saving.

    Attributes:
        mean: over all clips. One without a BD-rate (see `scene.metrics.bjontegaard`) counts as the worst of the
            others, and at least as 0, so that ruining a clip never pays. None where more than a third have none.
        worst: of any clip; None where none has a BD-rate.
        undefined: clips without a BD-rate.
    """

    mean: float | None
    worst: float | None
    undefined: int


@dataclass(frozen=True, slots=True)
class EncoderValidation:
    """What a network does to x264's rate at equal quality.

    Attributes:
        objective: mean over the configuration's metrics of their mean BD-rates, in percent, the lower the better;
            infinite where one of them is None, so that such weights are never the best.
        metrics: BD-rates for each of `METRICS`.
        clips: how many were measured.
    """

    objective: float
    metrics: dict[str, MetricBdRates]
    clips: int

    def figures(self) -> dict[str, float]:
        """Finite numbers for a log, by name; what has no value is left out."""
        figures = {"objective": self.objective} if math.isfinite(self.objective) else {}
        for name, rates in self.metrics.items():
            if rates.mean is not None:
                figures[f"bd_rate_{name}"] = rates.mean
            if rates.worst is not None:
                figures[f"bd_rate_{name}_worst"] = rates.worst
            figures[f"bd_rate_{name}_undefined"] = float(rates.undefined)
        return figures


_Curve = list[Measurement]


class EncoderValidator:
    """Clips made of held-out photographs, and x264's rate-distortion curves without a network.

    Photographs are taken evenly over the sorted names, all of them where there are fewer than asked for. Encoder and
    metrics are those of `scene evaluate`: preset medium, one thread each, every libvmaf metric. The same pictures give
    the same figures whatever runs beside.

    Args:
        source: held-out frames; of a sequence the middle one is taken.
        config: clips, size, CRFs, and the metrics that count.
        jobs: encodes and comparisons side by side; by default one for each core.

    Raises:
        MissingError: no PyAV, no ffmpeg with libvmaf, or no Pillow.
        InputError: a frame that cannot be read.
    """

    def __init__(self, source: FrameSource, config: ValidationConfig, *, jobs: int | None = None) -> None:
        width, height = config.size
        fmt = PictureFormat(width, height)
        self.config = config
        self._run = codec_run(DEFAULT_ENCODER, crfs=config.crf)
        self._jobs = jobs or os.cpu_count() or 1
        self._clips = [
            rgb_to_pictures(list(pan(_middle(source, index), config.frames, width, height, seed=index)), fmt)
            for index in spread(len(source), config.clips)
        ]
        self._ffmpeg = _require_ffmpeg(self._run, self._clips[0][:2])
        self._anchors: list[_Curve] | None = None

    def __call__(
        self, enhance: Enhance, conditioned: bool = False, *, on_progress: OnProgress = silent
    ) -> EncoderValidation:
        """Measures a network; the first call also measures the unprocessed clips.

        On an error or interruption running encoders are killed and raw video is deleted; the next call starts afresh.

        Args:
            enhance: gives as many pictures as it takes, in order and of the same format; called once for each clip,
                or for each clip and CRF.
            told: whether `enhance` shall be told x264's quantiser step, and so be called for each CRF.
            on_progress: told in encodes.

        Raises:
            ProcessError: ffmpeg failed.
            VerificationError: frames were lost, or libvmaf gave no scores.
            InputError: libvmaf's log cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
            anchors, tests = self._measure(enhance, conditioned, Path(folder), on_progress)
        self._anchors = anchors
        metrics = {name: _bd_rates(anchors, tests, name) for name in METRICS}
        means = [metrics[name].mean for name in self.config.metrics]
        defined = [mean for mean in means if mean is not None]
        objective = statistics.fmean(defined) if len(defined) == len(means) else math.inf
        return EncoderValidation(objective, metrics, len(tests))

    def _measure(
        self, enhance: Enhance, conditioned: bool, folder: Path, on_progress: OnProgress
    ) -> tuple[list[_Curve], list[_Curve]]:
        """The curves of all clips, unprocessed and enhanced; the former measured only where they are not known."""
        ffmpeg = replace(self._ffmpeg, stop=threading.Event())
        pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="validation")
        anchors: list[list[Future[Measurement]]] = []
        tests: list[list[Future[Measurement]]] = []

        crfs = self._run.crfs
        # What is encoded at each step, and the CRFs that it is encoded at.
        shares = (
            [(ENCODERS[DEFAULT_ENCODER].quantiser_step(crf), (crf,)) for crf in crfs] if conditioned else [(None, crfs)]
        )

        def submit(processed: RawVideo, reference: RawVideo, crfs: Sequence[float]) -> list[Future[Measurement]]:
            return [pool.submit(_measure_point, ffmpeg, processed, reference, self._run, crf, folder) for crf in crfs]

        try:
            for number, clip in enumerate(self._clips):
                reference = _write(folder / f"{number}.y4m", clip)
                if self._anchors is None:
                    anchors.append(submit(reference, reference, crfs))
                tests.append([])
                for step, share in shares:
                    enhanced = enhance(list(clip), step)
                    if [picture.format for picture in enhanced] != [picture.format for picture in clip]:
                        raise ValueError("enhance must give as many pictures as it takes, of the same format")
                    video = _write(folder / f"{number}-{len(tests[-1])}.y4m", enhanced)
                    tests[-1] += submit(video, reference, share)
            futures = [future for curve in anchors + tests for future in curve]
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                on_progress(Progress(done, len(futures)))
        finally:
            # On the way out of an error or an interruption: kill what runs, start nothing more.
            ffmpeg.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        return self._anchors or _results(anchors), _results(tests)


def _middle(source: FrameSource, sequence: int) -> Image:
    return source.read(sequence, source.length(sequence) // 2)


def _results(curves: list[list[Future[Measurement]]]) -> list[_Curve]:
    return [[future.result() for future in curve] for curve in curves]


def _bd_rates(anchors: Sequence[_Curve], tests: Sequence[_Curve], metric: str) -> MetricBdRates:
    """One metric's BD-rates, clip by clip."""
    curves = [
        [[(point.bytes, getattr(point.scores, metric)) for point in curve] for curve in pair]
        for pair in zip(anchors, tests, strict=True)
    ]
    return _summarise([bd_rate(anchor, test).percent for anchor, test in curves])


def _summarise(percents: Sequence[float | None]) -> MetricBdRates:
    """Mean, worst and number of the undefined, by the rule that `MetricBdRates` states."""
    defined = [percent for percent in percents if percent is not None]
    undefined = len(percents) - len(defined)
    worst = max(defined, default=None)
    if worst is None or undefined > _MAX_UNDEFINED * len(percents):
        return MetricBdRates(None, worst, undefined)
    return MetricBdRates(statistics.fmean(defined + [max(worst, 0.0)] * undefined), worst, undefined)


def _require_ffmpeg(run: CodecRun, trial: Sequence[Picture]) -> FFmpeg:
    """The ffmpeg program, after two pictures or more have been encoded and scored, so that training can rely on it.

    Raises:
        MissingError: there is none that can score, or no PyAV.
        SceneError: the encoder failed.
    """
    ffmpeg = require_ffmpeg(FRAME_METRICS, "validation by an encoder")
    try:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
            clip = _write(Path(name) / "trial.y4m", trial)
            _measure_point(ffmpeg, clip, clip, run, run.crfs[0], Path(name))
    except ImportError as error:
        raise MissingError("validation by an encoder needs PyAV: pip install av") from error
    return ffmpeg


def _write(path: Path, pictures: Sequence[Picture]) -> RawVideo:
    return write_raw_video(path, Y4MHeader(pictures[0].format, _RATE), pictures)


def _measure_point(
    ffmpeg: FFmpeg, processed: RawVideo, reference: RawVideo, run: CodecRun, crf: float, folder: Path
) -> Measurement:
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as private:
        return measure_point(ffmpeg, reference, processed, run, crf, key_frame_interval(_RATE), folder=Path(private))
