"""One training step, as training takes it and as the benchmark times it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from scene.errors import MissingError
from scene.model import Network
from scene.training.config import TrainingConfig
from scene.training.data.crops import Sample
from scene.training.losses import LossTerms, TrainingLoss
from scene.training.processes import Processes


class Draw(NamedTuple):
    """What is random in a step beside the crops.

    Attributes:
        step: (B,) quantiser steps, log-uniform in the configured range.
        gain_limit: (B,) the configured gain limits, one a sample in turn.
        shifts: (B, 2) even numbers of pixels by which windows move.
    """

    step: Tensor
    gain_limit: Tensor
    shifts: Tensor


class OnPhase(Protocol):
    """Called where a part of a step begins."""

    def __call__(self, part: str, *, backward: bool = False) -> None: ...


def unobserved(part: str, *, backward: bool = False) -> None:
    """The callback of a step that nobody times."""


def draw(config: TrainingConfig, number: int, processes: int) -> Draw:
    """What step `number` draws for the joint batch of all processes; depends on the seed and the number alone."""
    joint = config.run.batch * processes
    generator = torch.Generator().manual_seed(config.run.seed * 1_000_003 + number)
    low, high = config.proxy.steps
    steps = low * (high / low) ** torch.rand(joint, generator=generator)
    limits = torch.tensor(config.loss.gain_limits)
    return Draw(
        steps,
        limits.repeat(-(-joint // len(limits)))[:joint],
        draw_shifts(joint, config.proxy.shift, generator),
    )


def draw_shifts(count: int, reach: int, generator: torch.Generator) -> Tensor:
    """Even numbers of pixels from -reach to reach, (count, 2)."""
    return 2 * torch.randint(-(reach // 2), reach // 2 + 1, (count, 2), generator=generator)


class TrainingStep:
    """A network with its loss and optimiser.

    Attributes:
        network: in training mode.
        loss: see there.
        optimiser: schedule-free AdamW.

    Raises:
        MissingError: a package of the extra `train` is not installed.
    """

    def __init__(self, config: TrainingConfig, network: Network, loss: TrainingLoss, processes: Processes) -> None:
        try:
            import schedulefree
        except ImportError as error:
            raise MissingError(f"training needs {error.name}: pip install '.[train]' in a checkout") from error
        self.network = network.train()
        self.loss = loss
        self.optimiser: Any = schedulefree.AdamWScheduleFree(
            network.parameters(),
            lr=config.optimiser.learning_rate,
            warmup_steps=config.optimiser.warmup_steps,
            weight_decay=config.optimiser.weight_decay,
        )
        self.optimiser.train()
        self._config = config
        self._processes = processes
        self._model: nn.Module | None = None

    def autocast(self) -> torch.autocast:
        """The precision of the network's convolutions."""
        bfloat16 = self._config.run.precision == "bfloat16"
        return torch.autocast(self._processes.device.type, torch.bfloat16, enabled=bfloat16)

    def compute_gradients(
        self, number: int, batch: Sample, embedding: Tensor | None, on_phase: OnPhase = unobserved
    ) -> LossTerms:
        """Draws, runs the network, the loss, and both backward.

        Args:
            number: of the step, which decides what is drawn.
            batch: crops, anywhere.
            embedding: (B, D, G, G) anywhere, for a network that takes embeddings.
            on_phase: called where "prepare", "rest" (network and loss) and "optimiser" begin.
        """
        processes, device = self._processes, self._processes.device
        on_phase("prepare")
        on_device = Sample(*(x.to(device, non_blocking=True) for x in batch))
        joint = draw(self._config, number, processes.count)
        drawn = Draw(*(x.chunk(processes.count)[processes.rank].to(device) for x in joint))
        inputs = self.loss.prepare(on_device, *drawn)
        embedding = None if embedding is None else embedding.to(device)
        on_phase("rest")
        if self._model is None:
            # Only now: weights of a resumed run were loaded in between.
            self._model = processes.wrap(self.network)
        with self.autocast():
            enhanced = self._model(inputs.source, embedding, drawn.step)
        terms = self.loss(inputs, enhanced.float())
        on_phase("optimiser")
        self.optimiser.zero_grad(set_to_none=True)
        on_phase("rest", backward=True)
        terms.total.backward()  # type: ignore[no-untyped-call]
        on_phase("optimiser")
        return terms

    def gradient_norm(self) -> float:
        """Over all weights, before `update`."""
        norms = [p.grad.norm() for p in self.network.parameters() if p.grad is not None]
        return float(torch.stack(norms).norm()) if norms else 0.0

    def update(self) -> None:
        """Clips the gradients where the configuration says so, and moves the weights."""
        if self._config.optimiser.gradient_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._config.optimiser.gradient_norm)
        self.optimiser.step()
