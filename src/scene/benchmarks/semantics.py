"""How much time semantics take beside the network that they condition."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scene.enhance.device import synchronise
from scene.enhance.enhancer import Enhancer
from scene.enhance.semantics import embed_picture, open_conditioner
from scene.errors import UsageError
from scene.picture import Picture, PictureFormat

if TYPE_CHECKING:
    from scene.model import Network


# Frames that an embedding is taken to serve; shots are seldom shorter.
SHOT_FRAMES = 30


@dataclass(frozen=True, slots=True)
class SemanticsBenchmark:
    """Medians for one frame, in seconds.

    Attributes:
        model, encoder: identities.
        parameters: of the encoder.
        width, height: of the frame.
        encoder_s: the encoder alone, from full-size float RGB on the device to an embedding.
        embedding_s: the same from the frame's 8-bit 4:2:0 planes in memory.
        frame_s: a frame that needs no new embedding, from planes to planes.
        interval: frames between two embeddings.
        share: of the whole time that embeddings take at that interval.
        threads: of torch on the CPU.
        device: of all of it.
    """

    model: str
    encoder: str
    parameters: int
    width: int
    height: int
    encoder_s: float
    embedding_s: float
    frame_s: float
    interval: int
    share: float
    threads: int
    device: str


def bench_semantics(
    network: Network, *, width: int, height: int, semantics: str = "auto", device: str = "auto", repeats: int = 10
) -> SemanticsBenchmark:
    """Times encoder and network on one frame of noise, after two runs to warm up.

    Raises:
        UsageError: the network takes no embedding, or a control stands in for its encoder.
        InputError, CheckpointError, MissingError: see `open_conditioner`.
    """
    if network.config.guidance != "embedding":
        raise UsageError(f"model {network.identity} takes no semantic embedding, so there is nothing to time.")
    conditioner = open_conditioner(network, semantics, device=device)
    if conditioner.encoder is None:
        raise UsageError(
            f"model {network.identity} is conditioned by the control {conditioner.control!r}, which costs nothing."
        )
    # Any step of the range will do: the time does not depend on it.
    step = None if network.config.quantiser is None else network.config.quantiser[0]
    enhancer = Enhancer(network, device=device, semantics=conditioner, interval=0, step=step)
    fmt = PictureFormat(width, height)
    random = np.random.default_rng(0)
    picture = Picture(fmt, tuple(random.integers(16, 236, shape, dtype=np.uint8) for shape in fmt.plane_shapes))
    rgb = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(enhancer.device)
    encoder_s = _median(lambda: conditioner.encoder(rgb), enhancer.device, repeats)  # type: ignore[misc]
    embedding_s = _median(
        lambda: embed_picture(conditioner, network, picture, enhancer.device), enhancer.device, repeats
    )
    # The first call takes the one embedding of the shot.
    frame_s = _median(lambda: enhancer([picture]), enhancer.device, repeats)
    each = embedding_s / SHOT_FRAMES
    return SemanticsBenchmark(
        network.identity,
        conditioner.identity,
        sum(p.numel() for p in conditioner.encoder.parameters()),
        width,
        height,
        encoder_s,
        embedding_s,
        frame_s,
        SHOT_FRAMES,
        each / (each + frame_s),
        torch.get_num_threads(),
        torch.cuda.get_device_name() if enhancer.device.type == "cuda" else "cpu",
    )


def _median(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    times = []
    for index in range(repeats + 2):
        began = time.perf_counter()
        with torch.inference_mode():
            work()
        synchronise(device)
        if index >= 2:
            times.append(time.perf_counter() - began)
    return statistics.median(times)
