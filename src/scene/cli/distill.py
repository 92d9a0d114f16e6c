"""`scene distill`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from scene.cli.console import LogFormat, progress_display, setup_logging


def distill(
    *,
    teacher: str,
    data: Path,
    validation: Path | None = None,
    out: Path = Path("student.safetensors"),
    steps: int = 2000,
    batch: int = 32,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    log_format: LogFormat = "text",
) -> None:
    """Distil a semantic encoder into a small student, which every command then takes in its place.

    Prints how near the student comes to its teacher on held-out photographs.

    Parameters
    ----------
    teacher:
        A SigLIP 2 checkpoint by hub id or folder, or the .safetensors file of another encoder.
    data:
        Folder of photographs to learn on, searched recursively.
    validation:
        Folder of other photographs, to measure on; without it a tenth of DATA is held out.
    out:
        The student's file, which also gives its name.
    steps:
        Optimiser steps.
    batch:
        Random views a step, which teacher and student embed.
    seed:
        Of initial weights and views.
    device:
        Where teacher and student run; auto takes a GPU where there is one.
    log_format:
        json writes one object a line on stderr.
    """
    setup_logging(log_format)
    from scene.enhance import resolve_device
    from scene.model.semantics import load_encoder
    from scene.training.distill import DistillConfig
    from scene.training.distill import distill as run_distillation

    config = DistillConfig(steps=steps, batch=batch, seed=seed)
    chosen = str(resolve_device(device))
    with progress_display("distill", "steps", log_format) as on_progress:
        result = run_distillation(
            load_encoder(teacher, chosen),
            data,
            out,
            config,
            validation=validation,
            device=chosen,
            on_progress=on_progress,
        )
    agreement = result.agreement
    logging.getLogger("scene").info(
        "%s: %.2f M parameters, %.0f s; %d held-out photographs: cosine %.3f (centred %.3f), retrieval %.0f %% (chance"
        " %.0f %%)",
        result.student,
        result.parameters / 1e6,
        result.seconds,
        agreement.photographs,
        agreement.cosine,
        agreement.centred_cosine,
        100 * agreement.retrieval,
        100 * agreement.chance,
    )
    print(result.student)
