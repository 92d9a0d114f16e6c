"""The training loop, from top to bottom (paper section 3.2)."""

from __future__ import annotations

import copy
import json
import logging
import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from scene import __version__
from scene.errors import MissingError, SceneError, UsageError
from scene.model import Network, save_network
from scene.progress import OnProgress, Progress, silent
from scene.training.conditioning import build_conditioned, open_lookups
from scene.training.config import TrainingConfig, config_as_dict
from scene.training.data.crops import ConsecutiveBatches, Crops, Sample, open_loader
from scene.training.data.sources import open_sources
from scene.training.losses import CodecLoss, LossTerms
from scene.training.processes import Processes, StopSignals, join_processes
from scene.training.rate_saving import draw_shifts, open_loss, savings
from scene.training.run import NAME as LOG
from scene.training.run import RunLog, load_state, rewind_log, save_state, writing
from scene.training.validation import Validator

_LOG = logging.getLogger("scene.training")
_LOG_EVERY = 10

WEIGHTS = "last.safetensors"
BEST_WEIGHTS = "best.safetensors"
STATE = "last.state"


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
    """Trains a network, in this process or in all that `torchrun` started.

    Writes into `out`: `last.safetensors` and, with validation, `best.safetensors` (weights for use), `last.state`
    (for resuming), `log.jsonl`, and event files that TensorBoard reads.

    SIGINT and SIGTERM are noted and acted upon after the step at hand, once a checkpoint is written. With several
    processes one that is to stop stops all of them, at the same step.

    Args:
        config: see `scene.training.config`.
        data: folder laid out as `config.data.layout` says.
        out: folder for the results, created where it is missing.
        validation: folder of held-out material in the same layout; without it a tenth of `data` is held out.
        resume: go on from `last.state`; the result equals that of a run that never stopped.
        device: a torch device.

    Raises:
        UsageError: `out` already holds a run and `resume` is off, or the state is of another configuration, of other
            data, of another semantic encoder or of another number of processes.
        InputError, CheckpointError, MissingError: data, weights or packages are missing or damaged.
        SceneError: the loss is no longer finite, a checkpoint or the log cannot be written, or another process of the
            run was stopped.
    """
    try:
        import schedulefree
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingError(f"training needs {error.name}: pip install 'scene-codec[train]'") from error
    state_path = out / STATE
    if state_path.exists() and not resume:
        raise UsageError(f"{out} already holds a training run: pass `resume` to go on, or another `out`")

    with ExitStack() as stack:
        # First in, last out: a signal finds its old handler only when everything else is closed.
        signals = stack.enter_context(StopSignals())
        processes = stack.enter_context(join_processes(device))
        here = processes.device
        with signals.interruptible():
            source, held_out = open_sources(data, validation, config.data.layout)
        steps = _count_steps(config, len(source), processes.count)

        # Everything random is drawn from generators of its own, seeded by the step, so that a resumed run repeats them.
        network, encoder = build_conditioned(config, here)
        loss = open_loss(config, processes).to(here)
        optimiser = schedulefree.AdamWScheduleFree(
            network.parameters(),
            lr=config.optimiser.learning_rate,
            warmup_steps=config.optimiser.warmup_steps,
            weight_decay=config.optimiser.weight_decay,
        )
        inputs = {
            "training data": source.identity,
            "validation data": held_out.identity if held_out is not None else None,
            "semantic encoder": encoder.identity if encoder is not None else None,
            "number of processes": processes.count,
        }
        # Before the long work, so that what does not belong together is refused at once.
        progress = _begin(config, inputs, out, network, optimiser, resume)
        first = int(progress["step"])
        if first > steps:
            raise UsageError(f"{state_path} is at step {first}, and the configuration ends at {steps}")
        validator = None
        with signals.interruptible():
            lookup, held_out_lookup = open_lookups(config, network, encoder, source, held_out, processes, on_progress)
            if held_out is not None and processes.rank == 0:
                validator = Validator(config, held_out, held_out_lookup, encoder, loss, here)
        batches = open_loader(
            Crops(source, config.crop_side, config.data.pan, config.run.seed),
            ConsecutiveBatches(first, steps, config.run.batch, processes.rank, processes.count),
            config.data.workers,
            pin_memory=here.type == "cuda",
        )
        # One process alone writes.
        writer = None
        if processes.rank == 0:
            validated = int(progress["validated"])
            with writing("the log"):
                out.mkdir(parents=True, exist_ok=True)
                rewind_log(out / LOG, first, validated)
                # What TensorBoard shows from this step on is logged again; a validation of the last one is not.
                again = max(first, validated + 1) if resume else None
                writer = SummaryWriter(str(out), purge_step=again)
            stack.callback(_close, writer)
        log = RunLog(out, writer, config)
        started = time.monotonic()
        began = started - float(progress["seconds"])

        def checkpoint(step: int, *, validate: bool) -> None:
            """Saves the averaged weights for use and the stepped ones for resuming; validates before where due."""
            reached = {**progress, "step": step, "seconds": time.monotonic() - began}
            if processes.rank == 0:
                averaged = _average(network, optimiser)
                if not all(bool(parameter.isfinite().all()) for parameter in averaged.parameters()):
                    # The loss would only show it after the next step.
                    raise SceneError(f"the weights are no longer finite after step {step}: lower the learning rate")
                due = step == steps or step % config.run.validate_every == 0
                if validator is not None and validate and due and int(progress["validated"]) < step:
                    with signals.interruptible():
                        reading = validator(averaged, step, last=step == steps)
                    log.validation(step, reading)
                    reached["validated"] = step
                    if reading.comparable and (reached["best_loss"] is None or reading.figure < reached["best_loss"]):
                        reached["best_loss"] = reading.figure
                        _write(save_network, averaged, out / BEST_WEIGHTS, _record(config, reached, here))
                _write(save_network, averaged, out / WEIGHTS, _record(config, reached, here))
                _write(save_state, state_path, network, optimiser, reached)
            # Only now: whatever breaks this off leaves the run where its files say it is.
            progress.update(reached)

        network.train()
        optimiser.train()
        model = processes.wrap(network)
        done = first
        whole = True
        stop = 0.0
        try:
            if resume:
                checkpoint(first, validate=True)
            for step, batch in enumerate(_read(batches), start=first):
                on_device = Sample(*(x.to(here, non_blocking=True) for x in batch))
                drawn = (_share(x, processes).to(here) for x in _draw(config, loss, step, processes.count))
                quantiser, limits, shifts = drawn
                source_planes, motion = loss.prepare(on_device, shifts)
                embedding = lookup(batch, here) if lookup else None
                with torch.autocast(here.type, torch.bfloat16, enabled=config.run.precision == "bfloat16"):
                    enhanced = model(source_planes, embedding, quantiser)
                terms = loss(source_planes, enhanced.float(), motion, quantiser, limits, shifts)
                optimiser.zero_grad(set_to_none=True)
                terms.total.backward()
                # One exchange a step: all processes learn the joint loss, and whether any of them is to stop.
                conditioned = torch.tensor(float(signals.received is not None), device=here)
                total, stop = processes.mean(torch.stack([terms.total.detach(), conditioned])).tolist()
                if not math.isfinite(total):
                    # The last checkpoint is better than what diverged after it.
                    whole = False
                    raise SceneError(f"the loss is no longer finite at step {step}: lower the learning rate")
                if step % _LOG_EVERY == 0:
                    # Before the step: schedule-free overwrites gradients.
                    log.step(step, _average_terms(config, terms, processes), _gradient_norm(network))
                whole = False
                if config.optimiser.gradient_norm > 0:
                    torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimiser.gradient_norm)
                optimiser.step()
                done = step + 1
                whole = True
                if processes.rank == 0:
                    speed = (done - first) / max(time.monotonic() - started, 1e-9)
                    on_progress(Progress(done, steps, {"loss": total, "steps/s": speed}))
                if stop or done == steps or done % config.run.validate_every == 0:
                    # Whoever wants it to stop does not wait for a validation; the resumed run makes up for it.
                    checkpoint(done, validate=not stop)
                if stop:
                    break
            processes.wait()
        except BaseException as error:
            # An interruption or a failure: what was learned so far is kept.
            if whole and int(progress["step"]) < done:
                checkpoint(done, validate=False)
            if processes.count > 1 and isinstance(error, RuntimeError):
                # Another process has left because of the same signal, and what failed here is the exchange with it.
                signals.deliver()
            raise
        signals.deliver()
        if stop:
            raise SceneError(f"another process was stopped, and this one after step {done}, go on with `resume`")
    best = out / BEST_WEIGHTS if progress["best_loss"] is not None else None
    return TrainingResult(out / WEIGHTS, best, done, float(progress["seconds"]))


def _count_steps(config: TrainingConfig, sequences: int, processes: int) -> int:
    if config.run.epochs == 0:
        return config.run.steps
    return math.ceil(config.run.epochs * sequences / (config.run.batch * processes))


def _begin(
    config: TrainingConfig,
    inputs: dict[str, Any],
    out: Path,
    network: Network,
    optimiser: torch.optim.Optimizer,
    resume: bool,
) -> dict[str, Any]:
    """How far a run is: at its start, or where its state says, which is loaded."""
    recorded = json.loads(json.dumps(config_as_dict(config)))
    default = json.loads(json.dumps(config_as_dict(TrainingConfig())))
    if not resume:
        begun = {"step": 0, "seconds": 0.0, "validated": 0, "best_loss": None}
        return {**begun, "config": recorded, "inputs": inputs}
    progress = load_state(out / STATE, network, optimiser)
    # Keys that came later had no other value than their default.
    begun_with = {section: {**default.get(section, {}), **values} for section, values in progress["config"].items()}
    # A run may go on for longer than it was meant to: no sample and no step depends on where it ends.
    length = {key: recorded["run"][key] for key in ("steps", "epochs")}
    if {**begun_with, "run": {**begun_with["run"], **length}} != recorded:
        raise UsageError(f"{out / STATE} was written by another configuration; resume with the one it began with")
    for what, identity in progress.setdefault("inputs", inputs).items():
        if inputs[what] != identity:
            raise UsageError(
                f"{out / STATE} was written with another {what} ({identity}, not {inputs[what]});"
                " resume with what it began with"
            )
    return {**progress, "config": recorded}


def _average(network: Network, optimiser: Any) -> Network:
    """A copy of the network with schedule-free's averaged weights, in eval mode.

    The optimiser's own `eval` and `train` change the weights in place, which rounds, and which a signal can break off.
    """
    averaged = copy.deepcopy(network).eval()
    beta = optimiser.param_groups[0]["betas"][0]
    with torch.no_grad():
        for stepped, mean in zip(network.parameters(), averaged.parameters(), strict=True):
            if "z" in optimiser.state[stepped]:
                mean.lerp_(optimiser.state[stepped]["z"], 1 - 1 / beta)
    return averaged


def _read(batches: DataLoader[Sample]) -> Iterator[Sample]:
    """The loader's batches, and its processes' errors in their own words."""
    try:
        yield from batches
    except SceneError as error:
        # A loader's process wraps the message in its traceback, whose last line it is.
        message = str(error).strip().splitlines()[-1]
        raise type(error)(message.removeprefix(f"scene.errors.{type(error).__name__}: ")) from error


def _write(save: Callable[..., None], *arguments: Any) -> None:
    """Saves a checkpoint whole or not at all.

    Raises:
        SceneError: the disk is full or refuses.
    """
    with writing("the checkpoint"):
        save(*arguments)


def _close(writer: Any) -> None:
    with writing("the log"):
        writer.close()


def _draw(config: TrainingConfig, loss: CodecLoss, step: int, processes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Quantiser steps, gain limits, and the windows' shifts (B, 2) of the joint batch."""
    joint = config.run.batch * processes
    generator = torch.Generator().manual_seed(config.run.seed * 1_000_003 + step)
    low, high = config.proxy.steps
    steps = low * (high / low) ** torch.rand(joint, generator=generator)
    return steps, loss.gain_limits(joint), draw_shifts(joint, config.proxy.shift, generator)


def _share(joint: Tensor, processes: Processes) -> Tensor:
    return joint.chunk(processes.count)[processes.rank]


def _average_terms(config: TrainingConfig, terms: LossTerms, processes: Processes) -> dict[str, float]:
    figures = {
        "loss": terms.total.detach(),
        "bits_per_pixel": terms.bits_per_pixel,
        "rate_change": terms.rate_change,
        "structure": terms.structure,
        "l1_before": terms.before,
        "l1_after": terms.after,
        "score": terms.scores.mean(),
        **{f"saving_{name}": s for name, s in zip(config.loss.saving_metrics, savings(terms.sums), strict=True)},
    }
    values = processes.mean(torch.stack(list(figures.values()))).tolist()
    return dict(zip(figures, values, strict=True))


def _gradient_norm(network: Network) -> float:
    norms = [p.grad.norm() for p in network.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _record(config: TrainingConfig, progress: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """What a checkpoint says of how it came to be."""
    return {
        "config": config_as_dict(config),
        "steps": progress["step"],
        "seconds": round(float(progress["seconds"]), 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "scene": __version__,
    }
