"""A run's log, and writing to a disk that may be full."""

from __future__ import annotations

import copy
import json
import logging
import math
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from scene import __version__
from scene.errors import CheckpointError, InputError, SceneError
from scene.files import write_atomically
from scene.model import Network, save_network
from scene.training.config import TrainingConfig, config_as_dict
from scene.training.processes import Processes, StopSignals
from scene.training.step import TrainingStep
from scene.training.validation import ValidationResult, Validator
from scene.video.encoders import DEFAULT_ENCODER

_LOG = logging.getLogger("scene.training")

LOG = "log.jsonl"
WEIGHTS = "last.safetensors"
BEST_WEIGHTS = "best.safetensors"
STATE = "last.state"


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turns a full disk, or one that refuses, into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise SceneError(
            f"{what} cannot be written ({error.strerror or error}); the last checkpoint is untouched:"
            " make room and go on with `resume`"
        ) from error


class RunLog:
    """Figures as JSON lines and as TensorBoard's events."""

    def __init__(self, out: Path, writer: Any, config: TrainingConfig) -> None:
        self._path = out / LOG
        self._writer = writer
        limits = config.loss.gain_limits if config.loss.objective == "weighted" else ()
        self._score_names = [f"vmaf_gain_limit_{limit:g}" for limit in limits]

    def step(self, step: int, figures: dict[str, float], gradient_norm: float) -> None:
        """Logs a training step: batch means by name, as `LossTerms.named` and `loss`."""
        rate_change = math.expm1(figures["rate_change"])
        self._append(step, "train", {**figures, "rate_change": rate_change, "gradient_norm": gradient_norm})

    def validation(self, step: int, reading: ValidationResult) -> None:
        """Logs a validation, and the one by x264 where there was one."""
        proxy = reading.proxy
        figures = {
            "loss": proxy.loss,
            "rate_change": proxy.rate_change,
            "structure_change": proxy.structure_change,
            "l1_before": proxy.before,
            **{f"{n}_gain": g for n, g in zip(self._score_names, proxy.score_gains, strict=True)},
        }
        for name, of_steps in proxy.savings.items():
            # From the finest step to the coarsest.
            figures |= {f"saving_{name}_{number}": value for number, value in enumerate(of_steps, start=1)}
            figures[f"saving_{name}"] = statistics.fmean(of_steps)
        self._append(step, "validation", figures)
        if reading.encoder is not None:
            figures |= reading.encoder.figures()
            self._append(step, DEFAULT_ENCODER, reading.encoder.figures())
        _LOG.info("step %d, validation: %s", step, ", ".join(f"{k} {v:.4g}" for k, v in figures.items()))

    def _append(self, step: int, phase: str, figures: dict[str, float]) -> None:
        if self._writer is None:
            return
        with writing("the log"):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"phase": phase, "step": step, **figures}) + "\n")
            for name, value in figures.items():
                self._writer.add_scalar(f"{phase}/{name}", value, step)


def rewind_log(path: Path, step: int, validated: int) -> None:
    """Takes out what a killed run logged after its last checkpoint, which will be done again.

    Args:
        path: of the log.
        step: that the run goes on with.
        validated: the last step whose validation is part of the checkpoint.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            # Cut off in the middle of a line.
            continue
        if entry["step"] < step if entry["phase"] == "train" else entry["step"] <= validated:
            kept.append(line + "\n")
    write_atomically(path, "".join(kept))


_FORMAT = "scene-training-state"
_VERSION = "1"


def save_state(path: Path, network: Network, optimiser: torch.optim.Optimizer, progress: dict[str, Any]) -> None:
    """Writes the weights as the optimiser steps them, its moments, and `progress` (plain JSON) into one file."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for name, parameter in network.named_parameters():
        tensors[f"weights/{name}"] = parameter.detach().cpu().contiguous()
        for key, value in optimiser.state[parameter].items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{key}/{name}"] = value.detach().cpu().contiguous()
    group = {key: value for key, value in optimiser.param_groups[0].items() if key != "params"}
    scalars = {"group": group, "progress": progress}
    metadata = {"format": _FORMAT, "format_version": _VERSION, "scalars": json.dumps(scalars)}
    write_atomically(path, save(tensors, metadata))


def load_state(path: Path, network: Network, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Puts weights and optimiser back as `save_state` found them; returns `progress`.

    Raises:
        InputError: no such file.
        CheckpointError: damaged, of another version, or of another network.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist, so there is nothing to resume")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT or metadata.get("format_version") != _VERSION:
                raise CheckpointError(f"{path} is no training state of this version")
            scalars = json.loads(metadata["scalars"])
            keys = list(file.keys())
            moments = {key.split("/")[1] for key in keys if key.startswith("optimiser/")}
            for name, parameter in network.named_parameters():
                with torch.no_grad():
                    parameter.copy_(file.get_tensor(f"weights/{name}"))
                optimiser.state[parameter] = {
                    moment: file.get_tensor(f"optimiser/{moment}/{name}").to(parameter.device) for moment in moments
                }
    except (SafetensorError, KeyError, json.JSONDecodeError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged or belongs to another network ({error})") from error
    optimiser.param_groups[0].update(
        {key: tuple(value) if isinstance(value, list) else value for key, value in scalars["group"].items()}
    )
    return dict(scalars["progress"])


class Checkpoints:
    """What a run leaves on the disk as it goes: averaged weights for use, the best of them, and the state to resume.

    Attributes:
        seconds: spent training up to the last checkpoint, resumed parts included.

    Args:
        config, out: of the run.
        step: whose weights are saved.
        validator: None where nothing is held out, and in all processes but the first, which alone writes.
        log: where validations go.
        signals: that may break a validation off.
        progress: how far the run is, as `load_state` gives it.
        last: step of the run.
        processes: of the run.
    """

    def __init__(
        self,
        config: TrainingConfig,
        out: Path,
        step: TrainingStep,
        validator: Validator | None,
        log: RunLog,
        signals: StopSignals,
        progress: dict[str, Any],
        last: int,
        processes: Processes,
    ) -> None:
        self._config = config
        self._out = out
        self._step = step
        self._validator = validator
        self._log = log
        self._signals = signals
        self._progress = progress
        self._last = last
        self._processes = processes
        self._began = time.monotonic() - float(progress["seconds"])

    @property
    def step(self) -> int:
        """The step of the last checkpoint."""
        return int(self._progress["step"])

    @property
    def seconds(self) -> float:
        return float(self._progress["seconds"])

    @property
    def best(self) -> Path | None:
        """The best weights, if any were validated."""
        return self._out / BEST_WEIGHTS if self._progress["best_loss"] is not None else None

    def save(self, step: int, *, validate: bool) -> None:
        """Saves the weights after a step; validates before where that is due and wanted.

        Raises:
            SceneError: the weights are no longer finite, or the disk is full or refuses.
        """
        reached = {**self._progress, "step": step, "seconds": time.monotonic() - self._began}
        if self._processes.rank == 0:
            averaged = average_weights(self._step.network, self._step.optimiser)
            if not all(bool(parameter.isfinite().all()) for parameter in averaged.parameters()):
                # The loss would only show it after the next step.
                raise SceneError(f"the weights are no longer finite after step {step}: lower the learning rate")
            if validate and self._validation_is_due(step):
                reached |= self._validate(step, averaged, reached)
            with writing("the checkpoint"):
                save_network(averaged, self._out / WEIGHTS, self._record(reached))
                save_state(self._out / STATE, self._step.network, self._step.optimiser, reached)
        # Only now: whatever breaks this off leaves the run where its files say it is.
        self._progress = reached

    def _validation_is_due(self, step: int) -> bool:
        due = step == self._last or step % self._config.run.validate_every == 0
        return self._validator is not None and due and int(self._progress["validated"]) < step

    def _validate(self, step: int, averaged: Network, reached: dict[str, Any]) -> dict[str, Any]:
        """Validates, logs, and saves the weights if they are the best; returns what changes in the progress."""
        assert self._validator is not None
        with self._signals.interruptible():
            reading = self._validator(averaged, step, last=step == self._last)
        self._log.validation(step, reading)
        changes: dict[str, Any] = {"validated": step}
        best = reached["best_loss"]
        if reading.comparable and (best is None or reading.figure < best):
            changes["best_loss"] = reading.figure
            with writing("the checkpoint"):
                save_network(averaged, self._out / BEST_WEIGHTS, self._record(reached))
        return changes

    def _record(self, progress: dict[str, Any]) -> dict[str, Any]:
        """What a weights file says of how it came to be."""
        device = self._processes.device
        return {
            "config": config_as_dict(self._config),
            "steps": progress["step"],
            "seconds": round(float(progress["seconds"]), 1),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "scene": __version__,
        }


def average_weights(network: Network, optimiser: Any) -> Network:
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
