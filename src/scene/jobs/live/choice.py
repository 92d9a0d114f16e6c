"""Which model keeps up with a live source here: what `model` auto comes to."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scene.jobs.model_choice import CANDIDATES
from scene.options import AUTO_MODEL, EnhanceOptions
from scene.picture import Picture
from scene.video.encoding.plan import EncodePlan
from scene.video.encoding.trial import stream_trial

if TYPE_CHECKING:
    from scene.enhance import Enhancer

log = logging.getLogger(__name__)

# Of a frame's time: what is left is for the decoder and for everything else on the machine.
_MOST = 0.8
_FRAMES, _WARM = 12, 4


def with_live_model(plan: EncodePlan, options: EnhanceOptions, picture: Picture) -> EnhanceOptions:
    """The options with a model's name in place of `auto`, and a line in the log that says why; others as they are.

    Enhancement and encoding of some pictures are timed, which are made of the source's first one.

    Args:
        picture: the first of the source.
    """
    if options.model != AUTO_MODEL or options.changes_nothing:
        return options
    from scene.enhance import open_enhancer

    frame_s = float(1 / plan.info.rate)
    pictures = _moving(picture)
    encoding = _encoding(plan, pictures)
    shares: dict[str, float] = {}
    for name in CANDIDATES:
        enhancer = open_enhancer(replace(options, model=name), codec=plan.encoder.name, crf=plan.conditioning_crf)
        enhancer.batch = 1
        shares[name] = (_enhancing(enhancer, pictures) + encoding) / frame_s
        if shares[name] <= _MOST:
            break
    kept_up = shares[name] <= _MOST
    tried = " and ".join(f"{share:.0%} with {one}" for one, share in shares.items())
    log.info(
        "model %s, %s: enhancing and encoding a frame take %s of the time that it is shown (%d frames were tried).",
        *(name, "the best that keeps up" if kept_up else "the fastest there is", tried, _FRAMES),
    )
    return replace(options, model=name)


def _moving(picture: Picture) -> list[Picture]:
    """Pictures like one that moves, with noise of their own, so that a filter along the motion has its work."""
    random = np.random.default_rng(0)
    made = []
    for index in range(_WARM + _FRAMES):
        luma = np.roll(picture.planes[0], 2 * index, axis=1)
        noise = random.integers(-2, 3, luma.shape)
        noisy = np.clip(luma + noise, 0, (1 << picture.format.bit_depth) - 1).astype(luma.dtype)
        made.append(Picture(picture.format, (noisy, *(plane.copy() for plane in picture.planes[1:]))))
    return made


def _enhancing(enhancer: Enhancer, pictures: list[Picture]) -> float:
    began = time.monotonic()
    for index, _ in enumerate(enhancer.stream(iter(pictures))):
        if index == _WARM - 1:
            began = time.monotonic()
    return (time.monotonic() - began) / _FRAMES


def _encoding(plan: EncodePlan, pictures: list[Picture]) -> float:
    if not plan.encoder.has_trials:
        return 0.0
    step = round(1 / plan.info.rate / plan.info.time_base)
    stamped = [(picture, index * step) for index, picture in enumerate(pictures)]
    began = time.monotonic()
    for _ in stream_trial(iter(stamped), plan.settings, plan.info, [], one_thread=False):
        pass
    return (time.monotonic() - began) / len(pictures)
