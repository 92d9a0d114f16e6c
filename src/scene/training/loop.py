"""The training loop, from top to bottom (paper section 3.2)."""

from __future__ import annotations

import json
import logging
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from scene.errors import MissingError, SceneError, UsageError
from scene.progress import OnProgress, Progress, silent
from scene.training.conditioning import build_conditioned, open_lookups
from scene.training.config import TrainingConfig, config_as_dict
from scene.training.data.crops import ConsecutiveBatches, Crops, Sample, open_loader
from scene.training.data.sources import open_sources
from scene.training.losses import LossTerms
from scene.training.processes import Processes, StopSignals, join_processes, undisturbed
from scene.training.rate_saving import open_loss
from scene.training.run import LOG, STATE, WEIGHTS, Checkpoints, RunLog, load_state, rewind_log, writing
from scene.training.step import TrainingStep
from scene.training.validation import Validator

_LOG = logging.getLogger("scene.training")
_LOG_EVERY = 10


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

    SIGINT, SIGTERM, SIGHUP and their like are noted and acted upon after the step at hand, once a checkpoint is
    written. With several processes one that is to stop stops all of them, at the same step.

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
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingError(f"training needs {error.name}: pip install '.[train]' in a checkout") from error
    if (out / STATE).exists() and not resume:
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
        step = TrainingStep(config, network, open_loss(config, processes), processes)
        inputs = {
            "training data": source.identity,
            "validation data": held_out.identity if held_out is not None else None,
            "semantic encoder": encoder.identity if encoder is not None else None,
            "number of processes": processes.count,
        }
        # Before the long work, so that what does not belong together is refused at once.
        progress = _begin(config, inputs, out, step, resume)
        first = int(progress["step"])
        if first > steps:
            raise UsageError(f"{out / STATE} is at step {first}, and the configuration ends at {steps}")
        validator = None
        with signals.interruptible():
            lookup, held_out_lookup = open_lookups(config, network, encoder, source, held_out, processes, on_progress)
            if held_out is not None and processes.rank == 0:
                validator = Validator(config, held_out, held_out_lookup, encoder, step.loss, here)
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
        checkpoints = Checkpoints(config, out, step, validator, log, signals, progress, steps, processes)
        done = first
        whole = True
        stop = 0.0
        try:
            if resume:
                checkpoints.save(first, validate=True)
            for number, batch in enumerate(_read(batches), start=first):
                terms = step.compute_gradients(number, batch, lookup(batch, here) if lookup else None)
                # One exchange a step: all processes learn the joint loss, and whether any of them is to stop.
                stopped = torch.tensor(float(signals.received is not None), device=here)
                total, stop = processes.mean(torch.stack([terms.total.detach(), stopped])).tolist()
                if not math.isfinite(total):
                    # The last checkpoint is better than what diverged after it.
                    whole = False
                    raise SceneError(f"the loss is no longer finite at step {number}: lower the learning rate")
                if number % _LOG_EVERY == 0:
                    # Before the update: schedule-free overwrites gradients.
                    log.step(number, _average_terms(terms, processes), step.gradient_norm())
                with undisturbed():
                    whole = False
                    step.update()
                    done = number + 1
                    whole = True
                if processes.rank == 0:
                    speed = (done - first) / max(time.monotonic() - started, 1e-9)
                    on_progress(Progress(done, steps, {"loss": total, "steps/s": speed}))
                if stop or done == steps or done % config.run.validate_every == 0:
                    # Whoever wants it to stop does not wait for a validation; the resumed run makes up for it.
                    checkpoints.save(done, validate=not stop)
                if stop:
                    break
            processes.wait()
        except BaseException as error:
            loader_died = str(error).startswith("DataLoader worker")
            if loader_died and threading.current_thread() is threading.main_thread():
                # Torch would raise it again, wherever the end of another loading process is noticed.
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # An interruption or a failure: what was learned so far is kept.
            if whole and checkpoints.step < done:
                checkpoints.save(done, validate=False)
            if processes.count > 1 and isinstance(error, RuntimeError):
                # Another process has left because of the same signal, and what failed here is the exchange with it.
                signals.deliver()
            if loader_died:
                raise SceneError(
                    f"a process that loads data has died ({str(error).splitlines()[0]}): where memory is short, set a"
                    " smaller data.workers; what was learned is kept, go on with `resume`"
                ) from error
            raise
        signals.deliver()
        if stop:
            raise SceneError(f"another process was stopped, and this one after step {done}, go on with `resume`")
    return TrainingResult(out / WEIGHTS, checkpoints.best, done, checkpoints.seconds)


def _count_steps(config: TrainingConfig, sequences: int, processes: int) -> int:
    if config.run.epochs == 0:
        return config.run.steps
    return math.ceil(config.run.epochs * sequences / (config.run.batch * processes))


def _begin(
    config: TrainingConfig,
    inputs: dict[str, Any],
    out: Path,
    step: TrainingStep,
    resume: bool,
) -> dict[str, Any]:
    """How far a run is: at its start, or where its state says, which is loaded."""
    recorded = json.loads(json.dumps(config_as_dict(config)))
    default = json.loads(json.dumps(config_as_dict(TrainingConfig())))
    if not resume:
        begun = {"step": 0, "seconds": 0.0, "validated": 0, "best_loss": None}
        return {**begun, "config": recorded, "inputs": inputs}
    progress = load_state(out / STATE, step.network, step.optimiser)
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


def _read(batches: DataLoader[Sample]) -> Iterator[Sample]:
    """The loader's batches, and its processes' errors in their own words."""
    try:
        yield from batches
    except SceneError as error:
        # A loader's process wraps the message in its traceback, whose last line it is.
        message = str(error).strip().splitlines()[-1]
        raise type(error)(message.removeprefix(f"scene.errors.{type(error).__name__}: ")) from error


def _close(writer: Any) -> None:
    with writing("the log"):
        writer.close()


def _average_terms(terms: LossTerms, processes: Processes) -> dict[str, float]:
    named: dict[str, Tensor] = {"loss": terms.total.detach(), **terms.named}
    values = processes.mean(torch.stack(list(named.values()))).tolist()
    return dict(zip(named, values, strict=True))
