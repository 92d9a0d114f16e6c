"""How long the whole way of a picture takes: to the device, colour, network, filter along the motion, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scene.benchmarks.gpu.record import Figures, LeftOut
from scene.benchmarks.gpu.timing import Arithmetic, arithmetic, time_whole
from scene.enhance.calibrated import calibration_for, conditioning_step
from scene.enhance.enhancer import Enhancer
from scene.model import Network
from scene.options import RuntimeName
from scene.picture import Picture
from scene.temporal.motion import serves
from scene.video.encoders import DEFAULT_ENCODER, find_encoder

PLAIN, TEMPORAL = "plain", "temporal filter"


def enhancer_precisions(network: Network) -> tuple[Arithmetic, ...]:
    """Those that make a difference to this network."""
    return ("float32", "bfloat16") if network.config.body and network.config.global_skip else ("float32",)


def bench_enhancer(
    network: Network, pictures: Sequence[Picture], device: str, *, runtime: RuntimeName, form: str
) -> Figures:
    """Times `Enhancer.stream` over a shot, its embedding included, before the default encoder at its default CRF.

    Args:
        network: that works on luma.
        pictures: the shot, 8-bit 4:2:0.
        device: as `Enhancer` takes it.
        runtime: as `Enhancer` takes it; in float32 torch's own defaults hold, which on a GPU allow TF32.
        form: `PLAIN` or `TEMPORAL`.

    Returns:
        Among others milliseconds a frame, and the largest difference from the same pictures one by one in float32,
        without TF32, in 8-bit codes.

    Raises:
        LeftOut: the model, or a size of picture, has no temporal filter.
    """
    encoder = find_encoder(DEFAULT_ENCODER)
    calibration = calibration_for(network, encoder)
    step = conditioning_step(network, encoder, encoder.default_crf)
    if form == TEMPORAL and calibration.temporal is None:
        raise LeftOut("the model is not calibrated with a temporal filter")
    fmt = pictures[0].format
    if form == TEMPORAL and not serves(fmt.height, fmt.width):
        raise LeftOut("the pictures are too small for the temporal filter")

    def opened(wanted: RuntimeName) -> Enhancer:
        return Enhancer(
            network,
            calibration=calibration,
            temporal="auto" if form == TEMPORAL else "off",
            device=device,
            step=step,
            runtime=wanted,
        )

    def run(enhancer: Enhancer) -> list[Picture]:
        enhancer.start_shot()
        return list(enhancer.stream(pictures))

    strict, enhancer = opened("torch"), opened(runtime)
    strict.batch = 1
    with arithmetic(tf32=False):
        expected = run(strict)
    furthest = max(_difference(*pair) for pair in zip(run(enhancer), expected, strict=True))
    timing = time_whole(lambda: run(enhancer))
    frames = len(pictures)
    return {"ms": timing.ms / frames, "repeats": timing.repeats, "frames": frames, "furthest": furthest}


def _difference(one: Picture, other: Picture) -> float:
    """The largest of any sample, in codes."""
    planes = zip(one.planes, other.planes, strict=True)
    return float(max(np.abs(ours.astype(np.int32) - theirs.astype(np.int32)).max() for ours, theirs in planes))
