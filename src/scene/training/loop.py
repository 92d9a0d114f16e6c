"""The training loop, from top to bottom (paper section 3.2)."""

from __future__ import annotations

import json
import logging
import math
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from scene import __version__
from scene.errors import MissingError, SceneError, UsageError
from scene.model import Network, build_network, save_network
from scene.progress import OnProgress, Progress, silent
from scene.training.config import TrainingConfig, config_as_dict
from scene.training.data import ConsecutiveBatches, ImageFolder, Sample, collate
from scene.training.loss import CodecLoss, LossTerms
from scene.training.state import load_state, save_state
from scene.training.validation import Validation, Validator

_LOG = logging.getLogger("scene.training")
_LOG_EVERY = 10

WEIGHTS = "last.safetensors"
BEST_WEIGHTS = "best.safetensors"
STATE = "last.state"
LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Where a finished run left its weights.

    Attributes:
        weights: after the last step.
        best: lowest validation loss, or None when nothing was validated.
        steps: optimiser steps done in all.
        seconds: time spent training, resumed parts included.
    """

    weights: Path
    best: Path | None
    steps: int
    seconds: float


def train(
    config: TrainingConfig,
    data: Path,
    out: Path,
    *,
    validation: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    on_progress: OnProgress = silent,
) -> TrainingResult:
    """Trains a network on a folder of photographs.

    Writes into `out`: `last.safetensors` and, with validation, `best.safetensors` (weights for use), `last.state`
    (for resuming), `log.jsonl`, and event files that TensorBoard reads.

    Args:
        config: see `scene.training.config`.
        data: folder of photographs.
        out: folder for the results, created where it is missing.
        validation: folder of held-out photographs.
        resume: go on from `last.state`; the result equals that of a run that never stopped.
        device: a torch device.

    Raises:
        UsageError: `out` already holds a run and `resume` is off, or the state is of another configuration.
        InputError, MissingError: data or packages are missing.
        SceneError: the loss is no longer finite.
    """
    try:
        import schedulefree
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingError(f"training needs {error.name}: pip install 'scene-codec[train]'") from error
    if config.network.guidance == "embedding":
        raise UsageError("training with a semantic embedding is not available yet; use guidance = 'features'")
    state_path = out / STATE
    if state_path.exists() and not resume:
        raise UsageError(f"{out} already holds a training run: pass --resume to go on, or another --out")

    # Everything random is drawn from generators of its own, seeded by the step, so that a resumed run repeats them.
    network = build_network(config.network, seed=config.run.seed).to(device)
    loss = CodecLoss(config.loss, config.proxy, config.network.planes).to(device)
    optimiser = schedulefree.AdamWScheduleFree(
        network.parameters(),
        lr=config.optimiser.learning_rate,
        warmup_steps=config.optimiser.warmup_steps,
        weight_decay=config.optimiser.weight_decay,
    )
    dataset = ImageFolder(data, config.data.crop, config.data.pan, config.run.seed)
    validator = (
        Validator(validation, config.data.crop, config.data.pan, config.proxy.steps) if validation is not None else None
    )
    out.mkdir(parents=True, exist_ok=True)
    progress: dict[str, Any] = {"step": 0, "seconds": 0.0, "best_loss": None, "config": config_as_dict(config)}
    if resume:
        progress = load_state(state_path, network, optimiser)
        if progress["config"] != json.loads(json.dumps(config_as_dict(config))):
            raise UsageError(f"{state_path} was written by another configuration; resume with the one it began with")
    first = int(progress["step"])
    batches = DataLoader(
        dataset,
        batch_sampler=ConsecutiveBatches(first, config.run.steps, config.run.batch),
        collate_fn=collate,
        num_workers=config.data.workers,
        persistent_workers=config.data.workers > 0,
        pin_memory=device.startswith("cuda"),
    )
    writer = SummaryWriter(str(out))
    began = time.monotonic() - float(progress["seconds"])

    def checkpoint(step: int) -> None:
        """Saves the averaged weights for use and the stepped ones for resuming; validates before it does."""
        progress["step"] = step
        progress["seconds"] = time.monotonic() - began
        # Switching schedule-free to its averaged weights and back rounds; a copy puts the same bits back.
        stepped = [p.detach().clone() for p in network.parameters()]
        optimiser.eval()
        network.eval()
        if validator is not None:
            reading = validator(network, loss, torch.device(device))
            _log_validation(out, writer, step, reading, config)
            if progress["best_loss"] is None or reading.loss < progress["best_loss"]:
                progress["best_loss"] = reading.loss
                save_network(network, out / BEST_WEIGHTS, _record(config, progress, device))
        save_network(network, out / WEIGHTS, _record(config, progress, device))
        optimiser.train()
        network.train()
        with torch.no_grad():
            for parameter, saved in zip(network.parameters(), stepped, strict=True):
                parameter.copy_(saved)
        save_state(state_path, network, optimiser, progress)

    network.train()
    optimiser.train()
    done = first
    try:
        for step, batch in enumerate(batches, start=first):
            on_device = Sample(*(x.to(device, non_blocking=True) for x in batch))
            source, motion = loss.prepare(on_device)
            quantiser = _draw_steps(config, step, device)
            terms = loss(source, network(source), motion, quantiser, loss.gain_limits(len(quantiser)).to(device))
            total = float(terms.total.detach())
            if not math.isfinite(total):
                raise SceneError(f"the loss is no longer finite at step {step}: lower the learning rate")
            optimiser.zero_grad(set_to_none=True)
            terms.total.backward()
            if step % _LOG_EVERY == 0:
                # Before the step: schedule-free overwrites gradients.
                _log_step(out, writer, step, terms, _gradient_norm(network))
            optimiser.step()
            done = step + 1
            elapsed = time.monotonic() - began
            on_progress(
                Progress(
                    done,
                    config.run.steps,
                    {"loss": total, "steps/s": (done - first) / max(elapsed, 1e-9)},
                )
            )
            if done % config.run.validate_every == 0 and done < config.run.steps:
                checkpoint(done)
        checkpoint(done)
    except SceneError:
        # The last checkpoint is better than what diverged after it.
        raise
    except BaseException:
        # An interruption: what was learned so far is kept.
        checkpoint(done)
        raise
    finally:
        writer.close()
    best = out / BEST_WEIGHTS
    return TrainingResult(out / WEIGHTS, best if best.exists() else None, done, float(progress["seconds"]))


def _draw_steps(config: TrainingConfig, step: int, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(config.run.seed * 1_000_003 + step)
    low, high = config.proxy.steps
    exponents = torch.rand(config.run.batch, generator=generator)
    return (low * (high / low) ** exponents).to(device)


def _gradient_norm(network: Network) -> float:
    norms = [p.grad.norm() for p in network.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _score_names(config: TrainingConfig) -> list[str]:
    return [f"vmaf_gain_limit_{limit:g}" for limit in config.loss.gain_limits]


def _log_step(out: Path, writer: Any, step: int, terms: LossTerms, gradient_norm: float) -> None:
    figures = {
        "loss": float(terms.total.detach()),
        "bits_per_pixel": float(terms.bits_per_pixel),
        "rate_change": float(torch.expm1(terms.rate_change)),
        "structure": float(terms.structure),
        "l1_before": float(terms.before),
        "l1_after": float(terms.after),
        "gradient_norm": gradient_norm,
        "score": float(terms.scores.mean()),
    }
    _append(out, writer, step, "train", figures)


def _log_validation(out: Path, writer: Any, step: int, reading: Validation, config: TrainingConfig) -> None:
    figures = {
        "loss": reading.loss,
        "rate_change": reading.rate_change,
        "structure_change": reading.structure_change,
        "l1_before": reading.before,
        **{f"{n}_gain": g for n, g in zip(_score_names(config), reading.score_gains, strict=True)},
    }
    _append(out, writer, step, "validation", figures)
    _LOG.info("step %d, validation: %s", step, ", ".join(f"{k} {v:.4g}" for k, v in figures.items()))


def _append(out: Path, writer: Any, step: int, phase: str, figures: dict[str, float]) -> None:
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"phase": phase, "step": step, **figures}) + "\n")
    for name, value in figures.items():
        writer.add_scalar(f"{phase}/{name}", value, step)


def _record(config: TrainingConfig, progress: dict[str, Any], device: str) -> dict[str, Any]:
    """What a checkpoint says of how it came to be."""
    return {
        "config": config_as_dict(config),
        "steps": progress["step"],
        "seconds": round(float(progress["seconds"]), 1),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "scene": __version__,
    }
