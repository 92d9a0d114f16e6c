"""Where the time of a training step goes, and what the machine would allow."""

from __future__ import annotations

import itertools
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from scene.benchmarks.phases import Part, PhaseClock, enclose
from scene.enhance.device import synchronise
from scene.errors import UsageError
from scene.model import Network, build_network
from scene.model.assembled import AssembledConv2d
from scene.progress import OnProgress, Progress, silent
from scene.training.config import TrainingConfig
from scene.training.data.crops import PREFETCH, ConsecutiveBatches, Crops, Sample, open_loader
from scene.training.data.sources import open_source
from scene.training.processes import Processes
from scene.training.rate_saving import open_loss
from scene.training.step import OnPhase, TrainingStep, unobserved

# Plain and instrumented steps take turns by so many, since the speed of a shared machine drifts.
_TURN = 5
# The first steps allocate memory and choose kernels.
_WARM_UP = 3
_LIMIT_REPEATS = 10


@dataclass(frozen=True, slots=True)
class Limit:
    """The network alone, beside plain convolutions of the same shapes, both forward and backward.

    Attributes:
        gmac_per_patch: multiply-adds of one forward pass, 10^9, control modules left out.
        network_s, convolutions_s: median of a batch, seconds.
        ratio: the first over the second.
        patches_per_second: of a step that consisted of these convolutions and nothing else.
    """

    gmac_per_patch: float
    network_s: float
    convolutions_s: float
    ratio: float
    patches_per_second: float


@dataclass(frozen=True, slots=True)
class LoaderSpeed:
    """The data loader with nothing else running.

    Attributes:
        samples_per_second: as fast as it can be emptied.
        first_seen: share of these samples whose sequence had not been read before, so that it was decoded.
    """

    samples_per_second: float
    first_seen: float


@dataclass(frozen=True, slots=True)
class TrainingBenchmark:
    """What `bench_training` measured.

    Attributes:
        device: name of the GPU, or the CPU's architecture.
        threads: of torch on the CPU.
        torch: its version.
        batch, crop, workers, precision: of the configuration.
        steps: measured plain, and as many instrumented; warm-up is not among them.
        patches_per_second: of the plain steps, over their total time.
        step_s, total_s: median and sum of the plain steps, seconds.
        first_seen: as in `LoaderSpeed`, in the plain steps.
        instrumented_step_s: median of the instrumented steps, seconds.
        overhead: time of all instrumented steps over that of all plain ones, minus one.
        parts: of the instrumented steps.
        loader, limit: see there.
    """

    device: str
    threads: int
    torch: str
    batch: int
    crop: int
    workers: int
    precision: str
    steps: int
    patches_per_second: float
    step_s: float
    total_s: float
    first_seen: float
    instrumented_step_s: float
    overhead: float
    parts: tuple[Part, ...]
    loader: LoaderSpeed
    limit: Limit


def bench_training(
    config: TrainingConfig, data: Path, *, steps: int = 30, device: str = "cpu", on_progress: OnProgress = silent
) -> TrainingBenchmark:
    """Measures training steps as `scene.training.train` takes them, in this process alone.

    The loader runs alone first. Plain and instrumented steps follow by turns, with the samples that come next, so that
    a small data set is in memory by then and a large one is still being decoded, as in training. Last, the network
    races plain convolutions.

    Nothing is logged, validated or saved. Where embeddings condition the network, random ones of unit mean square take
    their place: no encoder is loaded, and looking embeddings up is not measured.

    Args:
        config: see `scene.training.config`.
        data: folder laid out as `config.data.layout` says; all of it is used.
        steps: plain steps to measure, and as many instrumented ones.
        device: a torch device.

    Raises:
        UsageError: fewer than one step, or planes that cannot be trained.
        InputError, MissingError: data or packages are missing or damaged.
    """
    if steps < 1:
        raise UsageError(f"steps = {steps} must be at least 1")
    trainee = _Trainee(config, torch.device(device))
    # Full queues would hide a slow loader: as many steps empty them first.
    warm_up = max(_WARM_UP, PREFETCH * config.data.workers)
    turns = [min(_TURN, steps - done) for done in range(0, steps, _TURN)]
    loaded = warm_up + steps
    total = loaded + warm_up + 2 * steps
    loader = open_loader(
        Crops(open_source(data, config.data.layout), config.crop_side, config.data.pan, config.run.seed),
        ConsecutiveBatches(0, total, config.run.batch),
        config.data.workers,
        pin_memory=trainee.device.type == "cuda",
    )
    count = itertools.count(1)
    batches = _Tally(iter(loader), lambda: on_progress(Progress(next(count), total)))

    for _ in range(warm_up):
        next(batches)
    batches.restart()
    began = time.perf_counter()
    for _ in range(steps):
        next(batches)
    loading = LoaderSpeed(steps * config.run.batch / (time.perf_counter() - began), batches.first_seen)

    clock = PhaseClock(trainee.device)
    for _ in range(warm_up):
        trainee.step(batches, unobserved)
    plain: list[float] = []
    instrumented: list[float] = []
    seen: list[float] = []
    for turn in turns:
        batches.restart()
        plain += _time_steps(trainee, turn, lambda: trainee.step(batches, unobserved))
        seen += [batches.first_seen] * turn
        with trainee.instrumented(clock):
            instrumented += _time_steps(
                trainee, turn, lambda: clock.time_step(lambda on_phase: trainee.step(batches, on_phase))
            )
    return TrainingBenchmark(
        device=torch.cuda.get_device_name(trainee.device) if trainee.device.type == "cuda" else platform.machine(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        batch=config.run.batch,
        crop=config.data.crop,
        workers=config.data.workers,
        precision=config.run.precision,
        steps=steps,
        patches_per_second=steps * config.run.batch / sum(plain),
        step_s=statistics.median(plain),
        total_s=sum(plain),
        first_seen=statistics.fmean(seen),
        instrumented_step_s=statistics.median(instrumented),
        overhead=sum(instrumented) / sum(plain) - 1.0,
        parts=clock.parts(),
        loader=loading,
        limit=_measure_limit(trainee),
    )


class _Tally:
    """Batches as they come, counting those samples whose sequence is new."""

    def __init__(self, batches: Iterator[Sample], on_batch: Callable[[], None]) -> None:
        self._batches = batches
        self._on_batch = on_batch
        self._known: set[int] = set()
        self._taken: list[bool] = []

    def __iter__(self) -> Iterator[Sample]:
        return self

    def __next__(self) -> Sample:
        batch = next(self._batches)
        self._on_batch()
        for sequence in batch.sequence.tolist():
            self._taken.append(sequence not in self._known)
            self._known.add(sequence)
        return batch

    def restart(self) -> None:
        """Forgets the count, not what is known."""
        self._taken.clear()

    @property
    def first_seen(self) -> float:
        """Share of new ones since the restart."""
        return statistics.fmean(self._taken)


class _Trainee:
    """What `train` trains, and one step of it."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.network: Network = build_network(config.network, seed=config.run.seed).to(device)
        processes = Processes(0, 1, device)
        self.training = TrainingStep(config, self.network, open_loss(config, processes), processes)
        self.embedding = _random_embeddings(config) if config.network.guidance == "embedding" else None
        self.done = 0

    def step(self, batches: Iterator[Sample], on_phase: OnPhase) -> None:
        """One step of `scene.training.loop.train`, without its log."""
        on_phase("data")
        terms = self.training.compute_gradients(self.done, next(batches), self.embedding, on_phase)
        # The loop reads the loss in every step, which on a GPU waits for the backward pass.
        terms.total.item()
        self.training.update()
        self.done += 1

    @contextmanager
    def instrumented(self, on_phase: OnPhase) -> Iterator[None]:
        """Steps taken inside call `on_phase` also for the parts within the network and the loss."""
        loss = self.training.loss
        parts = {"network": self.network, "proxy": loss.proxy, **dict(loss.scorers.named_children())}
        with ExitStack() as stack:
            for name, module in parts.items():
                for handle in enclose(module, name, on_phase):
                    stack.callback(handle.remove)
            yield


def _random_embeddings(config: TrainingConfig) -> Tensor:
    """Embeddings of a batch with unit mean square, (B, D, G, G)."""
    grid = config.network.semantic_grid
    generator = torch.Generator().manual_seed(config.run.seed)
    drawn = torch.randn(config.run.batch, config.network.embedding_width, grid, grid, generator=generator)
    return drawn / drawn.square().mean(dim=1, keepdim=True).sqrt()


def _time_steps(trainee: _Trainee, count: int, step: Callable[[], None]) -> list[float]:
    """Seconds of each of some steps; together they last until the device has done the last."""
    synchronise(trainee.device)
    moments = [time.perf_counter()]
    for index in range(count):
        step()
        if index == count - 1:
            synchronise(trainee.device)
        moments.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(moments)]


def _measure_limit(trainee: _Trainee) -> Limit:
    network, config = trainee.network, trainee.config
    layers = [
        module
        for module in network.modules()
        if isinstance(module, AssembledConv2d) or (isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3))
    ]
    convolutions = nn.Sequential(*(nn.Conv2d(m.in_channels, m.out_channels, 3, padding=1) for m in layers))
    convolutions.to(trainee.device)
    side, batch = config.crop_side, config.run.batch
    frames = torch.rand(batch, network.in_channels, side, side, device=trainee.device)
    folded = torch.rand(batch, layers[0].in_channels, side // 2, side // 2, device=trainee.device)
    quantiser = torch.full((batch,), config.proxy.steps[0], device=trainee.device)
    embedding = None if trainee.embedding is None else trainee.embedding.to(trainee.device)

    def run(module: nn.Module, *inputs: Tensor | None) -> float:
        module.zero_grad(set_to_none=True)
        synchronise(trainee.device)
        began = time.perf_counter()
        with trainee.training.autocast():
            output = module(*inputs)
        output.backward(torch.ones_like(output))
        synchronise(trainee.device)
        return time.perf_counter() - began

    spent: list[tuple[float, float]] = []
    for _ in range(_WARM_UP + _LIMIT_REPEATS):
        spent.append((run(network, frames, embedding, quantiser), run(convolutions, folded)))
    of_network, of_convolutions = (statistics.median(column) for column in zip(*spent[_WARM_UP:], strict=True))
    positions = (side // 2) ** 2
    macs = sum(9 * m.in_channels * m.out_channels for m in layers) * positions
    return Limit(macs / 1e9, of_network, of_convolutions, of_network / of_convolutions, batch / of_convolutions)
