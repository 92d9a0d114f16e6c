"""Candidates through the real encoder: pictures, encodes and scores of all clips, as savings."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from scene.calibration.clips import CalibrationClip
from scene.calibration.objective import saving_on_curve
from scene.enhance import Enhancer, open_conditioner
from scene.measure.encode import CodecRun, encoder_settings, key_frame_interval
from scene.measure.point import score_encode
from scene.measure.raw_video import RawVideo, write_raw_video
from scene.metrics.rate_saving import RatePoint, percent
from scene.model import Calibration, Network
from scene.picture import Picture
from scene.video.encoding.isolated import encode_isolated
from scene.video.ffmpeg import FFmpeg
from scene.video.rawvideo.y4m import Y4MHeader

# Clips' savings by metric, in percent of the rate, in the order of the clips.
Savings = dict[str, list[float]]


class Judge:
    """Measures what a model with a calibration saves on clips, before one encoder.

    Args:
        ffmpeg: of `scene.measure.score.require_ffmpeg`, for `metrics`.
        network: the model; its own calibrations are not looked at.
        clips: see `scene.calibration.clips`.
        run: the encoder with its settings; its CRFs give the unprocessed clips' curves.
        crfs: of the candidates' encodes, within those of `run`.
        metrics: to measure savings by.
        jobs: encodes side by side.
    """

    def __init__(
        self,
        ffmpeg: FFmpeg,
        network: Network,
        clips: Sequence[CalibrationClip],
        run: CodecRun,
        crfs: Sequence[float],
        metrics: Sequence[str],
        *,
        jobs: int | None = None,
    ) -> None:
        self._clips = tuple(clips)
        self._network = network
        self._run = run
        self._crfs = tuple(crfs)
        self._metrics = tuple(metrics)
        self._ffmpeg = replace(ffmpeg, stop=threading.Event())
        self._pool = ThreadPoolExecutor(jobs or os.cpu_count() or 1, thread_name_prefix="calibration")
        self._guide = open_conditioner(network) if network.config.guidance == "embedding" else None
        self._curves: dict[int, list[RatePoint]] = {}

    def close(self) -> None:
        """Ends running encodes and threads."""
        self._ffmpeg.stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def savings(self, calibration: Calibration, indices: Sequence[int]) -> Savings:
        """What it saves on some of the clips: for each the mean over the CRFs, at equal score.

        Raises:
            ProcessError, VerificationError, InputError: an encode or its comparison failed.
        """
        missing = [(index, crf) for index in indices if index not in self._curves for crf in self._run.crfs]
        for (index, _), point in zip(
            missing, self._pool.map(lambda pair: self._point(None, *pair), missing), strict=True
        ):
            self._curves.setdefault(index, []).append(point)
        wanted = [(index, crf) for index in indices for crf in self._crfs]
        points = list(self._pool.map(lambda pair: self._point(calibration, *pair), wanted))
        result: Savings = {metric: [] for metric in self._metrics}
        for number, index in enumerate(indices):
            own = points[number * len(self._crfs) : (number + 1) * len(self._crfs)]
            for metric in self._metrics:
                saved = [saving_on_curve(point, self._curves[index], metric) for point in own]
                result[metric].append(percent(sum(saved) / len(saved)))
        return result

    def _point(self, calibration: Calibration | None, index: int, crf: float) -> RatePoint:
        clip = self._clips[index]
        with tempfile.TemporaryDirectory(prefix="scene-calibrate-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            reference = _write(folder / "reference.y4m", clip, clip.pictures)
            changed = reference
            if calibration is not None:
                changed = _write(folder / "changed.y4m", clip, self._enhanced(calibration, clip, crf))
            stream = folder / f"encoded.{self._run.codec.raw_muxer}"
            settings = encoder_settings(self._run, crf, key_frame_interval(clip.rate))
            encode_isolated(changed.path, stream, settings, self._ffmpeg.stop)
            scores, _ = score_encode(self._ffmpeg, stream, reference, self._metrics, folder=folder)
            return RatePoint(stream.stat().st_size, scores.means)

    def _enhanced(self, calibration: Calibration, clip: CalibrationClip, crf: float) -> list[Picture]:
        step = self._run.codec.quantiser_step(crf) * calibration.step
        enhancer = Enhancer(self._network, calibration=calibration, semantics=self._guide, device="cpu", step=step)
        return list(enhancer.stream(clip.pictures))


def _write(path: Path, clip: CalibrationClip, pictures: Sequence[Picture]) -> RawVideo:
    return write_raw_video(path, Y4MHeader(pictures[0].format, clip.rate), pictures)
