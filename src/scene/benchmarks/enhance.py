"""How long enhancement alone takes, by its two stages, beside the copying of the same pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from scene.benchmarks.made_clip import made_pictures
from scene.enhance import Enhancer, open_enhancer
from scene.errors import UsageError
from scene.options import EnhanceOptions
from scene.picture import Picture, Plane
from scene.progress import OnProgress, Progress, silent
from scene.video.encoders import DEFAULT_ENCODER, find_encoder


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of enhancement, each figure the best of some turns.

    Attributes:
        fps: frames a second with as many threads as it likes.
        cpu_ms: milliseconds of processor time a frame, all threads added.
    """

    fps: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class EnhanceSpeed:
    """One model at one size.

    Attributes:
        model: identity.
        width, height: in samples.
        copy_ms: to copy a frame's planes on one thread: nothing that writes pictures is faster.
        temporal: the filter along the motion; None without one.
        model_alone: network and bank, without that filter.
        whole: both.
    """

    model: str
    width: int
    height: int
    copy_ms: float
    temporal: Stage | None
    model_alone: Stage
    whole: Stage


def bench_enhance(
    options: EnhanceOptions,
    models: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    *,
    codec: str = DEFAULT_ENCODER,
    frames: int = 24,
    turns: int = 3,
    on_progress: OnProgress = silent,
) -> tuple[EnhanceSpeed, ...]:
    """Enhances a made, noisy clip of each size with each model, without an encoder.

    Args:
        options: but for the model.
        models: names or files.
        sizes: width and height in samples, even.
        codec: the encoder for which the model is meant, at its default CRF.
        frames: of the clip.
        turns: of each stage.

    Raises:
        UsageError: no model, or a size or count that makes no sense.
        InputError, CheckpointError, MissingError: a model or the device is missing.
    """
    if frames < 2 or turns < 1:
        raise UsageError(f"`frames` {frames} and `turns` {turns} must be at least 2 and 1.")
    crf = find_encoder(codec).default_crf
    found = []
    for width, height in sizes:
        if width % 2 or height % 2:
            raise UsageError(f"`sizes` {width}x{height} must be even.")
        pictures = list(made_pictures(width, height, frames))
        spare = tuple(np.empty_like(plane) for plane in pictures[0].planes)
        copying = _stage(partial(_copy, pictures, spare), frames, turns)
        for name in models:
            wanted = replace(options, model=name)
            enhancer = open_enhancer(wanted, codec=codec, crf=crf)
            alone = open_enhancer(replace(wanted, temporal="off"), codec=codec, crf=crf)
            found.append(_speed(enhancer, alone, pictures, 1000 / copying.fps, turns))
            on_progress(Progress(len(found), len(sizes) * len(models), {"model": name, "size": f"{width}x{height}"}))
    return tuple(found)


def _speed(
    enhancer: Enhancer, alone: Enhancer, pictures: Sequence[Picture], copy_ms: float, turns: int
) -> EnhanceSpeed:
    frames, fmt = len(pictures), pictures[0].format

    def filter_all() -> None:
        enhancer.start_shot()
        for _ in enhancer.filter_in_time(pictures):
            pass

    def enhance_all(enhancer: Enhancer) -> None:
        enhancer.start_shot()
        for _ in enhancer.stream(pictures):
            pass

    return EnhanceSpeed(
        model=enhancer.identity,
        width=fmt.width,
        height=fmt.height,
        copy_ms=copy_ms,
        temporal=_stage(filter_all, frames, turns) if enhancer.filters_in_time else None,
        model_alone=_stage(lambda: enhance_all(alone), frames, turns),
        whole=_stage(lambda: enhance_all(enhancer), frames, turns),
    )


def _stage(work: Callable[[], None], frames: int, turns: int) -> Stage:
    # Once for what is only made once: memory, tables, an embedding.
    work()
    walls, processors = [], []
    for _ in range(turns):
        began, used = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - began)
        processors.append(time.process_time() - used)
    return Stage(frames / min(walls), 1000 * min(processors) / frames)


def _copy(pictures: Sequence[Picture], spare: Sequence[Plane]) -> None:
    for picture in pictures:
        for plane, target in zip(picture.planes, spare, strict=True):
            np.copyto(target, plane)
