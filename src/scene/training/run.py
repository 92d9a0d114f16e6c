"""A run's log, and writing to a disk that may be full."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from scene.errors import CheckpointError, InputError, SceneError
from scene.files import write_atomically
from scene.model import Network
from scene.training.config import TrainingConfig
from scene.training.validation import ValidationResult

_LOG = logging.getLogger("scene.training")

NAME = "log.jsonl"


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
        self._path = out / NAME
        self._writer = writer
        limits = config.loss.gain_limits if config.loss.objective == "weighted" else ()
        self._score_names = [f"vmaf_gain_limit_{limit:g}" for limit in limits]
        self._saving_names = [f"saving_{name}" for name in config.loss.saving_metrics]

    def step(self, step: int, figures: dict[str, float], gradient_norm: float) -> None:
        figures["rate_change"] = math.expm1(figures["rate_change"])
        self._append(step, "train", {**figures, "gradient_norm": gradient_norm})

    def validation(self, step: int, reading: ValidationResult) -> None:
        proxy = reading.proxy
        figures = {
            "loss": proxy.loss,
            "rate_change": proxy.rate_change,
            "structure_change": proxy.structure_change,
            "l1_before": proxy.before,
            **{f"{n}_gain": g for n, g in zip(self._score_names, proxy.score_gains, strict=True)},
        }
        for name, of_steps in zip(self._saving_names, proxy.savings, strict=True):
            # From the finest step to the coarsest.
            figures |= {f"{name}_{number}": value for number, value in enumerate(of_steps, start=1)}
            figures[name] = statistics.fmean(of_steps)
        self._append(step, "validation", figures)
        if reading.encoder is not None:
            figures |= reading.encoder.figures()
            self._append(step, "x264", reading.encoder.figures())
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
