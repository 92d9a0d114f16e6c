"""How long the networks take on this processor in each runtime, beside a large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from scene.errors import MissingError, UsageError
from scene.model import Network, load_model
from scene.options import RuntimeName
from scene.progress import OnProgress, Progress, silent
from scene.runtimes import RUNTIMES, Compute, open_runtime, remember_fastest

# Of the matrices, in each direction: large enough for the processor's best, small enough for a fraction of a second.
_SIDE = 2048
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# In 8-bit codes: what is further from torch in float32 is no runtime for this network.
_MOST_APART = 1.0
# Another runtime must be so much faster than torch in float32 to be preferred.
_LEAST_GAIN = 1.1


@dataclass(frozen=True, slots=True)
class RuntimeSpeed:
    """One network in one runtime.

    Attributes:
        model: identity.
        ms: a picture, the best of some turns.
        flops: operations of its convolutions and products, a multiply-add counting as two.
        peak_share: of those a second, in those of a matrix product of the same precision.
        apart: largest difference from torch in float32, in 8-bit codes.
    """

    model: str
    runtime: RuntimeName
    ms: float
    flops: int
    peak_share: float
    apart: float


@dataclass(frozen=True, slots=True)
class RuntimeBenchmark:
    """What was measured.

    Attributes:
        width, height: of the picture.
        threads: of torch and OpenVINO alike.
        peaks: operations a second of a matrix product by precision, float32 and bfloat16.
        speeds: network by network.
        missing: why a runtime is not among them, by its name; empty where all are.
        fastest: runtime by identity of the model, among those within a code.
        remembered: the file that `scene.runtimes.fastest_runtime` reads.
    """

    width: int
    height: int
    threads: int
    peaks: dict[str, float]
    speeds: tuple[RuntimeSpeed, ...]
    missing: dict[str, str]
    fastest: dict[str, RuntimeName]
    remembered: Path


def bench_runtimes(
    models: Sequence[str], size: tuple[int, int] = (1280, 720), *, turns: int = 5, on_progress: OnProgress = silent
) -> RuntimeBenchmark:
    """Measures each network in each runtime, by turns, and remembers the fastest for `runtime` auto.

    Args:
        models: shipped names or files, of networks.
        size: width and height of the picture, in samples.
        turns: of each runtime.

    Raises:
        UsageError: a model without a network, or a size or count that makes no sense.
        InputError, CheckpointError: a model cannot be read.
        SceneError: the outcome cannot be written.
    """
    if min(size) < 64 or turns < 1:
        raise UsageError("give `size` of at least 64x64 and at least one of `turns`.")
    networks = [load_model(model) for model in models]
    for network in networks:
        if not network.config.body:
            raise UsageError(f"model {network.identity} has no network; give one that has.")
    products = {name: tuple(torch.randn(2, _SIDE, _SIDE).to(dtype)) for name, dtype in _PRECISIONS.items()}
    peaks = dict.fromkeys(products, 0.0)
    speeds: list[RuntimeSpeed] = []
    missing: dict[str, str] = {}
    fastest: dict[Network, RuntimeName] = {}
    for number, network in enumerate(networks, 1):
        measured = _measured(network, size, turns, products, peaks, missing)
        speeds += measured
        fastest[network] = _fastest(measured)
        on_progress(Progress(number, len(networks), {"model": network.identity}))
    return RuntimeBenchmark(
        *size,
        threads=torch.get_num_threads(),
        peaks=peaks,
        speeds=tuple(speeds),
        missing=missing,
        fastest={network.identity: name for network, name in fastest.items()},
        remembered=remember_fastest(fastest),
    )


def _measured(
    network: Network,
    size: tuple[int, int],
    turns: int,
    products: Mapping[str, tuple[Tensor, ...]],
    peaks: dict[str, float],
    missing: dict[str, str],
) -> list[RuntimeSpeed]:
    """One network; what is found of peaks and of what is missing is added to those."""
    given = _example(network, size)
    able: dict[RuntimeName, Compute] = {}
    apart: dict[RuntimeName, float] = {}
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            reference = network(*given).clamp(0, 1)
        for name in RUNTIMES:
            if name.endswith("-bf16") and not network.config.global_skip:
                continue
            try:
                able[name] = open_runtime(network, name, torch.device("cpu"))
            except (MissingError, UsageError) as error:
                missing[name] = str(error)
                continue
            apart[name] = 255 * float((able[name](*given).clamp(0, 1) - reference).abs().max())
        # By turns, and each by its best: other work on the machine comes and goes.
        seconds: dict[RuntimeName, list[float]] = {name: [] for name in able}
        for _ in range(turns):
            for name, compute in able.items():
                seconds[name].append(_seconds(partial(compute, *given)))
            for precision, (one, other) in products.items():
                rate = 2 * _SIDE**3 / _seconds(partial(torch.matmul, one, other))
                peaks[precision] = max(peaks[precision], rate)
    flops = counter.get_total_flops()
    return [
        RuntimeSpeed(
            network.identity,
            name,
            1000 * min(turns_of),
            flops,
            flops / min(turns_of) / peaks["bfloat16" if name.endswith("-bf16") else "float32"],
            apart[name],
        )
        for name, turns_of in seconds.items()
    ]


def _fastest(speeds: Sequence[RuntimeSpeed]) -> RuntimeName:
    usual = next(speed for speed in speeds if speed.runtime == "torch")
    best = min((speed for speed in speeds if speed.apart <= _MOST_APART), key=lambda speed: speed.ms)
    return best.runtime if usual.ms >= _LEAST_GAIN * best.ms else "torch"


def _seconds(work: Callable[[], Tensor]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _example(network: Network, size: tuple[int, int]) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Smooth noise, with an embedding and a step of the network's training."""
    config = network.config
    width, height = size
    random = torch.rand(1, network.in_channels, height // 4, width // 4, generator=torch.Generator().manual_seed(0))
    picture = F.interpolate(random, (height, width), mode="bicubic").clamp(0, 1)
    embedding = network.references[:1] if config.guidance == "embedding" else None
    step = None
    if config.quantiser is not None:
        low, high = config.quantiser
        step = torch.tensor([(low * high) ** 0.5])
    return picture, embedding, step
