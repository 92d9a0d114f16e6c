"""Training runs so small that one takes about a second, in this process or as a command."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from skimage import data as photographs

from scene.metrics.loss_metrics import LOSS_METRICS
from scene.model import NetworkConfig
from scene.model.semantics.student import StudentConfig, StudentEncoder, save_student
from scene.training import TrainingConfig
from scene.training.config import DataConfig, LossConfig, ProxyConfig, RunConfig, config_as_dict

TINY = TrainingConfig(
    network=NetworkConfig(guidance="features", planes="luma", channels=8),
    data=DataConfig(layout="images", crop=64, pan=4),
    proxy=ProxyConfig(tables="flat", rounding=1 / 3, steps=(10.0, 40.0)),
    loss=LossConfig(rate_unit="relative", bitrate=0.15, before=1.0, gain_limits=(100.0, 1.0)),
    run=RunConfig(steps=6, batch=2, seed=3, validate_every=2),
)

# The command line, with a log of every step.
DRIVER = """
import scene.training.loop
from scene.cli import main

scene.training.loop._LOG_EVERY = 1
if __name__ == "__main__":
    main()
"""


def changed(config: TrainingConfig, **sections: dict[str, Any]) -> TrainingConfig:
    """A configuration with other values in some sections; weights of loss metrics by their names, as in a file."""
    new = {}
    for name, values in sections.items():
        section = getattr(config, name)
        if name == "loss":
            weights = {key: values[key] for key in values if key in LOSS_METRICS}
            values = {key: value for key, value in values.items() if key not in weights}
            values["weights"] = {**section.weights, **weights}
        new[name] = dataclasses.replace(section, **values)
    return dataclasses.replace(config, **new)


def write_photos(folder: Path, names: Iterable[str] = ("astronaut", "coffee", "cat")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(getattr(photographs, name)()[:200, :240]).save(folder / f"{name}.png")
    return folder


def write_student(path: Path, width: int = 16, seed: int = 0) -> Path:
    """An untrained student encoder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = StudentEncoder(StudentConfig(width, side=64, channels=(4, 8, 8, 8), blocks=(1, 0, 0), hidden=8))
    save_student(student, path)
    return path


def write_config(path: Path, config: TrainingConfig) -> Path:
    # JSON's strings, numbers and lists are TOML's; what is None is left out.
    tables = [
        f"[{section}]\n"
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items() if value is not None)
        for section, values in config_as_dict(config).items()
    ]
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


def start(*arguments: object, threads: int = 1, **options: Any) -> subprocess.Popen[str]:
    """Python as a process group of its own, for which signals are as a terminal's shell leaves them.

    What is compared bit for bit with a run in this process needs as many threads as this one: sums in another order
    have other bits. Otherwise one: several processes of several threads are slow on two cores.
    """
    limits = options.pop("preexec_fn", None)

    def prepare() -> None:
        # The suite itself may run in the background or under nohup, which leave these to be ignored.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if limits is not None:
            limits()

    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""},
        start_new_session=True,
        preexec_fn=prepare,
        **options,
    )


def read_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def outcome(out: Path) -> dict[str, Any]:
    """Everything that a run leaves and that two equal runs must agree on, bit for bit."""
    files = {name: load_file(out / name) for name in ("last.safetensors", "best.safetensors", "last.state")}
    tensors = {f"{name}/{key}": tensor for name, parts in files.items() for key, tensor in parts.items()}
    return {"log": read_log(out), **{name: tensor.numpy().tobytes() for name, tensor in tensors.items()}}


def assert_same(ours: Path, theirs: Path) -> None:
    one, two = outcome(ours), outcome(theirs)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
