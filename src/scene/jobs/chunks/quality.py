"""A quality for every chunk: the CRF at which its pictures, enhanced, reach it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from scene.errors import TargetError
from scene.jobs.encode import EncodeRequest
from scene.jobs.samples.quality_search import FAR, Constraints, QualitySearch
from scene.jobs.samples.sample_encode import CrfScores, open_samples
from scene.jobs.search import (
    DEFAULT_SAMPLE_SECONDS,
    SearchRequest,
    check_as_it_is,
    check_pictures,
    check_search,
    load_enhancer,
)
from scene.measure.score import require_ffmpeg
from scene.metrics.targets import Target
from scene.video.encoders.params import joined_items
from scene.video.encoding.plan import EncodePlan
from scene.video.source.samples import Span

# Of a chunk, unless more are asked for: a chunk is a few shots, or a part of one.
_SAMPLES = 2
# x264 codes without loss at 0, which its headers say, and a file has one of them.
_FINEST = 1.0
# Measured whatever the targets are.
_SHOWN = ("vmaf_neg",)


@dataclass(frozen=True, slots=True)
class ChunkQuality:
    """What each chunk is to reach.

    Attributes:
        targets: at least one; all must hold.
        samples: of a chunk, None for two.
        sample_seconds: length of each.
        best_effort: encode with the nearest CRF where none meets all.
    """

    targets: tuple[Target, ...]
    samples: int | None = None
    sample_seconds: float = DEFAULT_SAMPLE_SECONDS
    best_effort: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured."""
        return tuple(dict.fromkeys((*_SHOWN, *(target.metric for target in self.targets))))

    def search_of(self, request: EncodeRequest) -> SearchRequest:
        """The search that a request asks for."""
        return SearchRequest(
            source=request.source,
            targets=self.targets,
            settings=request.settings,
            enhancement=request.enhancement,
            samples=self.samples,
            sample_seconds=self.sample_seconds,
            best_effort=self.best_effort,
        )


def with_quality(request: EncodeRequest, plan: EncodePlan, quality: ChunkQuality) -> EncodeRequest:
    """The request for chunks of several CRFs, once nothing stands against them.

    Raises:
        UsageError, InputError: settings or pictures for which no CRF can be searched.
        MissingError: there is no ffmpeg with libvmaf.
    """
    search = quality.search_of(request)
    check_search(search)
    check_as_it_is(request)
    metrics = quality.metrics
    check_pictures(plan.info, metrics)
    require_ffmpeg(metrics, "measuring")
    args = request.settings.encoder_args
    for name, value in plan.encoder.any_crf_args.items():
        # All chunks share the headers of the file.
        if name not in dict(joined_items(args)):
            args = f"{args}:{name}={value}".lstrip(":")
    return replace(request, settings=replace(request.settings, encoder_args=args))


def chunk_crf(
    request: EncodeRequest,
    plan: EncodePlan,
    quality: ChunkQuality,
    start: Fraction,
    frames: int,
    on_sample: Callable[[float | None], None],
) -> CrfScores:
    """The coarsest CRF at which a chunk meets all targets, with what is expected of it.

    Args:
        plan: of the whole video.
        start: of the chunk, in seconds from the video's first frame.
        frames: of the chunk.
        on_sample: is called after each sample, with the CRF, None while they are decoded.

    Raises:
        TargetError: there is none, and `best_effort` is off.
        SceneError: an encode or a measurement failed.
    """
    search, info = quality.search_of(request), plan.info
    with open_samples(
        info,
        request.settings,
        require_ffmpeg(quality.metrics, "measuring"),
        quality.metrics,
        quality.samples or _SAMPLES,
        Fraction(quality.sample_seconds).limit_denominator(1000),
        lambda: on_sample(None),
        part=Span(start, frames),
    ) as samples:
        bypass = request.enhancement.changes_nothing
        enhanced = None if bypass else partial(load_enhancer, search, plan.encoder, info)
        searching = QualitySearch(
            samples,
            plan.encoder,
            Constraints(quality.targets, None),
            enhanced,
            lambda _, crf: on_sample(crf),
            max(_FINEST, plan.encoder.finest_search_crf),
        )
        answer = searching.answer(plan.encoder.default_crf, FAR)
    if answer.missed and not quality.best_effort:
        raise TargetError(
            f"{request.source} from {float(start):.1f} s on: {answer.missed}; ask for less, or give `best_effort`."
        )
    return answer.measured
