"""`scene train`."""

from __future__ import annotations

import os
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
    settings: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    log_format: LogFormat = "text",
) -> None:
    """Train a network on photographs or video frames, in this process or in all that torchrun starts.

    Writes last.safetensors, best.safetensors, log.jsonl and TensorBoard event files into OUT.

    Parameters
    ----------
    config:
        TOML file; configs/ holds one for each published result.
    data:
        Folder to train on, laid out as the file's data.layout says.
    validation:
        Folder of held-out material, laid out alike; without it a tenth of DATA is held out.
    out:
        Folder for weights and logs.
    settings:
        SECTION.KEY=VALUE in place of what the file says, as often as needed.
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
            read_config(config, settings or ()),
            data,
            out,
            validation=validation,
            resume=resume,
            device=str(resolve_device(device)),
            on_progress=on_progress,
        )
    # Of several processes, one prints.
    if os.environ.get("RANK", "0") == "0":
        print(result.best or result.weights)
