"""What a CRF gives, with enhancement or without: the samples of a search, encoded and measured."""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import SceneError
from scene.measure.libvmaf import pool
from scene.measure.score import limited_luma, score, scored_depth, write_lumas
from scene.picture import Picture, PictureFormat
from scene.video.encoders import find_encoder
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.trial import stream_trial
from scene.video.ffmpeg import FFmpeg, StoppedError, input_name
from scene.video.source.probe import SourceInfo
from scene.video.source.samples import Sample, Span, plan_spans, read_samples, video_seconds

if TYPE_CHECKING:
    from scene.enhance import Enhancer

log = logging.getLogger(__name__)

# A sample for each of so many seconds, but no fewer than these.
LEAST_SAMPLES = 8
_SECONDS_A_SAMPLE = 300
# Of larger pictures two encoders side by side, or two threads of libvmaf, need gigabytes.
_LARGEST_SHARED = 1920 * 1088
_PREFIX = "scene-search-"
# As most players enlarge.
_ENLARGING = "bicubic"

# The enhancer for a CRF, at the beginning of a video; None for none.
EnhancerFor = Callable[[float], "Enhancer | None"]


@dataclass(frozen=True, slots=True)
class SampleScore:
    """A sample after encoding.

    Attributes:
        packets: coded bytes of each, in coding order; the first holds the key frame with which a sample begins.
        frames: every frame's own scores, by name of metric.
    """

    packets: tuple[int, ...]
    frames: Mapping[str, tuple[float, ...]]


class SampleScorer:
    """Encodes samples and compares them with the source. Calls may overlap, from any thread.

    Args:
        ffmpeg: of `require_ffmpeg`, with its own `stop`, which ends encodes too.
        metrics: by name of `scene.metrics.scores.Scores`, at least one of the VMAF models among them.
        info: of the source. Where it is scaled, what was encoded is scaled back and compared at the source's own size.
        folder: private.
        threads: of libvmaf.
    """

    def __init__(self, ffmpeg: FFmpeg, metrics: Sequence[str], info: SourceInfo, folder: Path, threads: int) -> None:
        self._ffmpeg = ffmpeg
        self._metrics = metrics
        self._info = info
        self._folder = folder
        self._threads = threads

    def __call__(self, sample: Sample, source: Sample, settings: EncoderSettings) -> SampleScore:
        """Encodes a sample on one thread and measures it.

        Args:
            sample: the pictures to encode.
            source: those of the same frames before any change, scaling included.

        Raises:
            SceneError: the encoder or libvmaf failed, or `stop` was set.
            OSError: there is no room.
        """
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            distorted, reference = folder / "distorted.y4m", folder / "reference.y4m"
            sizes: list[int] = []
            given = zip(sample.pictures(), sample.stamps, strict=True)
            decoded = stream_trial(given, settings, self._info, sizes)
            self._write(distorted, decoded, self._info.format)
            self._write(reference, source.pictures(), source.format)
            if source.format != self._info.format:
                distorted = self._enlarged(distorted, source.format, folder)
            frames = score(
                self._ffmpeg, distorted, reference, self._metrics, folder=folder, threads=self._threads
            ).frames
        if len(frames[self._metrics[0]]) != len(sample.stamps):
            raise SceneError(f"libvmaf compared {len(frames[self._metrics[0]])} of {len(sample.stamps)} frames")
        return SampleScore(tuple(sizes), frames)

    def _enlarged(self, path: Path, wanted: PictureFormat, folder: Path) -> Path:
        """What a player shows of smaller pictures."""
        width, height = wanted.width - wanted.width % 2, wanted.height - wanted.height % 2
        enlarged = folder / "enlarged.y4m"
        words = ["-i", input_name(path), "-vf", f"scale={width}:{height}:flags={_ENLARGING}", "-strict", "-1"]
        self._ffmpeg.run([*words, input_name(enlarged)])
        return enlarged

    def _write(self, path: Path, pictures: Iterable[Picture], fmt: PictureFormat) -> None:
        lumas = (limited_luma(picture, fmt) for picture in self._unless_stopped(pictures))
        write_lumas(path, lumas, scored_depth(fmt.bit_depth))

    def _unless_stopped(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        for picture in pictures:
            if self._ffmpeg.stop.is_set():
                raise StoppedError("stopped")
            yield picture


@dataclass(frozen=True, slots=True)
class WorstSample:
    """The sample with the lowest score.

    Attributes:
        score: the mean over its frames.
        start: of the sample, in seconds from the video's first frame.
    """

    score: float
    start: float


@dataclass(frozen=True, slots=True)
class CrfScores:
    """What a CRF gives.

    Attributes:
        kbps: of the whole video's pictures, as the samples predict it; kilobits (1000 bits) per second.
        scores: over the frames of all samples, by name of metric.
        worst: of the samples, for each metric.
    """

    crf: float
    kbps: float
    scores: Mapping[str, float]
    worst: Mapping[str, WorstSample]


class SampleSet:
    """Samples of a source, ready to be encoded at any CRF.

    Args:
        references: those of the samples' frames at the source's own size, None where the samples have it.

    Attributes:
        seconds: that the video lasts.
        samples: with the source's own pictures.
        whole: whether they are all of the video.
    """

    def __init__(
        self,
        info: SourceInfo,
        settings: EncoderSettings,
        samples: Sequence[Sample],
        seconds: Fraction,
        whole: bool,
        scorer: SampleScorer,
        executor: ThreadPoolExecutor,
        folder: Path,
        workers: int,
        references: Sequence[Sample] | None = None,
    ) -> None:
        self.seconds = seconds
        self.samples = samples
        self.whole = whole
        self._references = samples if references is None else references
        self._settings = settings
        self._interval = key_frame_spacing(settings, info.rate, seconds)
        self._scorer = scorer
        self._executor = executor
        self._folder = folder
        self._workers = workers

    @property
    def frames(self) -> int:
        """Of all samples."""
        return sum(len(sample.stamps) for sample in self.samples)

    def measure(self, crf: float, enhancer: Enhancer | None, on_sample: Callable[[], None]) -> CrfScores:
        """Encodes all samples at a CRF.

        Raises:
            SceneError: the network, the encoder or libvmaf failed.
        """
        settings = replace(self._settings, crf=crf)
        futures: list[Future[SampleScore]] = []
        for index, sample in enumerate(self.samples):
            if index > self._workers:
                # Enhanced pictures must not pile up on the disk.
                futures[index - self._workers - 1].result()
            given = self._enhanced(index, sample, enhancer)
            futures.append(self._executor.submit(self._score, given, index, settings))
        scores = []
        for future in futures:
            scores.append(future.result())
            on_sample()
        return self._pooled(crf, scores)

    def _enhanced(self, index: int, sample: Sample, enhancer: Enhancer | None) -> Sample:
        if enhancer is None:
            return sample
        enhancer.start_shot()
        return sample.with_pictures(self._folder / f"enhanced-{index}.raw", enhancer.stream(sample.pictures()))

    def _score(self, given: Sample, index: int, settings: EncoderSettings) -> SampleScore:
        try:
            return self._scorer(given, self._references[index], settings)
        finally:
            if given is not self.samples[index]:
                given.path.unlink(missing_ok=True)

    def _pooled(self, crf: float, scores: Sequence[SampleScore]) -> CrfScores:
        interval = 0.0 if self.whole else self._interval
        coded = sum(expected_bytes(score.packets, interval) for score in scores)
        seconds = float(sum(sample.seconds for sample in self.samples))
        # libvmaf gives the first frame too little, since nothing moved before it: in a video that is one frame.
        skipped = 0 if self.whole else 1
        pooled: dict[str, float] = {}
        worst: dict[str, WorstSample] = {}
        for name in scores[0].frames:
            parts = [score.frames[name][skipped:] or score.frames[name] for score in scores]
            pooled[name] = pool(name, [value for part in parts for value in part])
            worst[name] = min(
                (WorstSample(pool(name, part), sample.start) for part, sample in zip(parts, self.samples, strict=True)),
                key=lambda one: one.score,
            )
        return CrfScores(crf, coded * 8 / seconds / 1000, pooled, worst)


def key_frame_spacing(settings: EncoderSettings, rate: Fraction, seconds: Fraction) -> float:
    """Frames between the key frames that an encoder forces in a video, on average."""
    frames = max(1.0, float(seconds * rate))
    # A video of 292 frames has a key frame in every 250 twice.
    interval = find_encoder(settings.codec).key_frame_interval(settings, rate)
    return frames / max(1, math.ceil(frames / interval))


def expected_bytes(packets: Sequence[int], interval: float) -> float:
    """What the frames of a sample take within a video, where few key frames are forced.

    A sample begins with a key frame whether the video has one there or not. It is counted once for every `interval`
    frames, in the place of a frame of the sample's average; key frames at cuts are counted as they are.

    Args:
        packets: bytes of each, the first one of the key frame.
        interval: between key frames in frames, infinite for none; 0 for a sample that is the whole video.
    """
    if interval == 0 or len(packets) == 1:
        return sum(packets)
    mean = sum(packets[1:]) / (len(packets) - 1)
    return len(packets) * (mean + (packets[0] - mean) / interval)


@contextmanager
def open_samples(
    info: SourceInfo,
    settings: EncoderSettings,
    ffmpeg: FFmpeg,
    metrics: Sequence[str],
    count: int | None,
    length: Fraction,
    on_sample: Callable[[], None],
    part: Span | None = None,
) -> Iterator[SampleSet]:
    """Decodes the samples; at the end what still runs is stopped, and all temporary files are removed.

    Args:
        ffmpeg: of `scene.measure.score.require_ffmpeg`.
        count: of samples, None for as many as the video's length asks for.
        length: of each in seconds.
        on_sample: is called after each that was decoded.
        part: of the video that samples are taken of, None for all of it.

    Raises:
        InputError: the source cannot be read.
        SceneError: there is no room for temporary files.
    """
    seconds = video_seconds(info) if part is None else part.length(info.rate)
    count = count or max(LEAST_SAMPLES, -(-int(seconds) // _SECONDS_A_SAMPLE))
    spans = plan_spans(seconds, info.rate, count, length)
    whole = spans[0].frames is None
    if part is not None:
        spans = tuple(Span(part.start + span.start, span.frames or part.frames) for span in spans)
    cores = os.cpu_count() or 1
    large = info.format.width * info.format.height > _LARGEST_SHARED
    workers, threads = (1, 1) if large or cores == 1 else (2, cores // 2)
    try:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            _require_room(folder, info, spans, seconds, workers)
            samples = read_samples(info, spans, folder, on_sample)
            references = None
            if info.unscaled is not None:
                (folder / "whole").mkdir()
                whole_size = replace(info, format=info.unscaled, unscaled=None)
                references = read_samples(whole_size, spans, folder / "whole")
            scorer = SampleScorer(ffmpeg, metrics, info, folder, threads)
            executor = ThreadPoolExecutor(workers, thread_name_prefix="search")
            try:
                made_with = scorer, executor, folder, workers
                yield SampleSet(info, settings, samples, seconds, whole, *made_with, references=references)
            finally:
                # After an error or an interruption: whatever still runs is given up.
                ffmpeg.stop.set()
                executor.shutdown(wait=True, cancel_futures=True)
    except OSError as error:
        raise SceneError(f"temporary files in {tempfile.gettempdir()} failed: {error.strerror or error}.") from error


def _require_room(folder: Path, info: SourceInfo, spans: Sequence[Span], seconds: Fraction, workers: int) -> None:
    # As if scaled pictures were as large as the source's: they come beside these.
    fmt, sets = (info.format, 1) if info.unscaled is None else (info.unscaled, 2)
    luma = fmt.width * fmt.height * (1 if fmt.bit_depth == 8 else 2)
    picture = sum(rows * columns for rows, columns in fmt.plane_shapes) * (1 if fmt.bit_depth == 8 else 2)
    longest = spans[0].frames or int(seconds * info.rate) + 1
    # The source's pictures; enhanced ones of a sample more than are encoded at once; the files for libvmaf, in each.
    needed = picture * longest * (sets * len(spans) + workers + 1) + luma * 3 // 2 * longest * (sets + 1) * workers
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SceneError(
            f"the samples need {needed / 1e9:.1f} GB in {folder.parent} and {free / 1e9:.1f} GB are free; set TMPDIR "
            "to a folder with more, or give fewer `samples` or `sample_seconds`."
        )
    count = "1 sample" if len(spans) == 1 else f"{len(spans)} samples"
    log.info("%s, %.2f GB of temporary files in %s", count, needed / 1e9, folder.parent)
