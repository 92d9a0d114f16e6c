"""`scene train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from scene.cli.console import LogFormat, progress_display, setup_logging


def train(
    config: Path,
    /,
    *,
    data: Path,
    validation: Path | None = None,
    out: Path = Path("runs/train"),
    resume: Annotated[bool, Parameter(negative=())] = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    log_format: LogFormat = "text",
) -> None:
    """Train a network on a folder of photographs.

    Writes last.safetensors, best.safetensors, log.jsonl and TensorBoard event files into OUT.

    Parameters
    ----------
    config:
        TOML file; configs/ holds one for each published result.
    data:
        Folder of photographs to train on.
    validation:
        Folder of held-out photographs; without it no best.safetensors is chosen.
    out:
        Folder for weights and logs.
    resume:
        Go on with the run that OUT holds.
    device:
        Where to train; auto takes a GPU where there is one.
    log_format:
        json writes one object a line on stderr.
    """
    from scene.enhance import resolve_device
    from scene.training import read_config
    from scene.training import train as run_training

    setup_logging(log_format)
    with progress_display("train", "steps", log_format) as on_progress:
        result = run_training(
            read_config(config),
            data,
            out,
            validation=validation,
            resume=resume,
            device=str(resolve_device(device)),
            on_progress=on_progress,
        )
    print(result.best or result.weights)
