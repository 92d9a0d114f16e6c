"""Distillation of a semantic encoder: a small student learns the embeddings of a large teacher."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scene import __version__
from scene.errors import InputError, SceneError, UsageError
from scene.model.semantics import SemanticEncoder, unit_mean_square
from scene.model.semantics.student import StudentConfig, StudentEncoder, save_student
from scene.progress import OnProgress, Progress, silent
from scene.training.data.frames import FrameSource, Image
from scene.training.data.sources import open_source

_LOG = logging.getLogger("scene.training")

# Photographs are kept with this short side, and views squashed to the other: what a teacher of 224 pixels needs.
_SHORT_SIDE = 384
_VIEW_SIDE = 224
# Views of the smallest share of a picture's area.
_LEAST_AREA = 0.1
# Share of batches in which views are blended with one another: with few photographs a student would otherwise learn
# them by heart. Whatever it is shown, the teacher says what it means.
_BLENDED = 0.5
# Batches that give the mean embedding, before the first step.
_MEAN_BATCHES = 8


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """How a student is distilled.

    Attributes:
        steps: optimiser steps.
        batch: random views a step, which teacher and student embed.
        learning_rate: at its peak; it rises linearly over the first twentieth and falls as a cosine to zero.
        seed: of the initial weights, the views and their order.
    """

    steps: int = 2000
    batch: int = 32
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)} must be at least 1")
        if not 0 < self.learning_rate < 1:
            raise UsageError(f"learning_rate = {self.learning_rate} must be above 0 and below 1")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near a student's embeddings of held-out photographs are to its teacher's.

    Attributes:
        photographs: how many.
        cosine: mean cosine of the two embeddings of a photograph.
        centred_cosine: the same after the teacher's mean over the photographs is taken off both, which removes what all
            pictures have in common.
        retrieval: share of photographs whose student embedding is nearest to the teacher's of the same photograph
            (centred cosine) among all.
        chance: that share for guessing.
    """

    photographs: int
    cosine: float
    centred_cosine: float
    retrieval: float
    chance: float


@dataclass(frozen=True, slots=True)
class DistillResult:
    """A finished distillation: the student's file and how well it agrees with the teacher on held-out photographs."""

    student: Path
    parameters: int
    seconds: float
    agreement: Agreement


def distill(
    teacher: SemanticEncoder,
    data: Path,
    out: Path,
    config: DistillConfig | None = None,
    *,
    validation: Path | None = None,
    device: str = "cpu",
    on_progress: OnProgress = silent,
) -> DistillResult:
    """Distils a teacher into a student of the same embedding width and writes it to `out`.

    Args:
        teacher: any encoder; it is moved to the device.
        data: folder of photographs to learn on.
        out: the student's .safetensors file; its name is the student's.
        config: see there.
        validation: folder of other photographs, to measure on; without it a tenth of `data` is held out.
        device: a torch device.

    Raises:
        UsageError: `out` is not a .safetensors file, or its folder does not exist.
        InputError, MissingError: too few photographs, or Pillow is missing.
        SceneError: the loss is no longer finite.
    """
    config = config or DistillConfig()
    if out.suffix != ".safetensors" or not out.parent.is_dir():
        raise UsageError(f"{out} must be a .safetensors file in a folder that exists")
    began = time.monotonic()
    source = open_source(data, "images", part="all" if validation else "train")
    held_out = open_source(validation, "images") if validation else open_source(data, "images", part="held-out")
    photographs = [held_out.read(index, 0) for index in range(len(held_out))]
    teacher = teacher.to(device)
    views = _Views(source, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        student = StudentEncoder(StudentConfig(width=teacher.width)).to(device)
    student.teacher = teacher.identity
    _train(student, teacher, views, config, device, on_progress)
    student.eval()
    agreement = measure_agreement(student, teacher, photographs, device)
    seconds = time.monotonic() - began
    record: dict[str, Any] = {
        "config": asdict(config),
        "photographs": len(views.photographs),
        "held_out": asdict(agreement),
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "scene": __version__,
    }
    save_student(student, out, record)
    return DistillResult(out, student.count_parameters(), seconds, agreement)


@torch.no_grad()
def measure_agreement(
    student: SemanticEncoder, teacher: SemanticEncoder, photographs: Sequence[Image], device: str = "cpu"
) -> Agreement:
    """Embeds whole photographs, (H, W, 3) uint8 RGB of any size, by both and compares; see `Agreement`.

    Raises:
        InputError: fewer than two photographs.
    """
    if len(photographs) < 2:
        raise InputError("agreement with the teacher needs at least two held-out photographs")
    pairs = []
    for photograph in photographs:
        picture = _to_tensor(photograph).to(device)[None] / 255.0
        pairs.append(torch.cat([encoder(picture)[:, :, 0, 0] for encoder in (student, teacher)]).cpu())
    learned, taught = torch.stack(pairs, dim=1)
    mean = taught.mean(dim=0)
    similarity = F.normalize(learned - mean) @ F.normalize(taught - mean).T
    numbers = torch.arange(len(photographs))
    return Agreement(
        len(photographs),
        float(F.cosine_similarity(learned, taught).mean()),
        float(similarity.diagonal().mean()),
        float((similarity.argmax(dim=1) == numbers).float().mean()),
        1 / len(photographs),
    )


class _Views:
    """Random views of photographs, which are kept in memory.

    Attributes:
        photographs: (3, H, W) uint8 RGB each.
    """

    def __init__(self, source: FrameSource, seed: int) -> None:
        self.photographs: list[Tensor] = []
        for sequence in range(len(source)):
            try:
                self.photographs.append(_shrink(_to_tensor(source.read(sequence, 0))))
            except InputError as error:
                _LOG.warning("left out: %s", error)
        if not self.photographs:
            raise InputError("none of the photographs to learn from can be read")
        self._random = np.random.default_rng((seed, 1))

    def draw(self, count: int) -> Tensor:
        """(count, 3, side, side) float RGB in [0, 1]: rectangles of any place, size and shape, squashed to squares."""
        random = self._random
        picks = random.integers(len(self.photographs), size=count)
        views = torch.stack([self._view(self.photographs[pick]) for pick in picks])
        contrast = torch.from_numpy(random.uniform(0.7, 1.3, (count, 3, 1, 1)).astype(np.float32))
        views = ((views - 0.5) * contrast + 0.5).clamp(0, 1)
        if random.random() < _BLENDED:
            share = torch.from_numpy(random.uniform(0, 0.5, (count, 1, 1, 1)).astype(np.float32))
            views = views + share * (views.roll(1, 0) - views)
        return views

    def _view(self, photograph: Tensor) -> Tensor:
        random = self._random
        height, width = photograph.shape[-2:]
        share = math.sqrt(random.uniform(_LEAST_AREA, 1.0))
        shape = 2.0 ** random.uniform(-0.4, 0.4)
        rows = max(min(round(height * share * shape), height), 1)
        columns = max(min(round(width * share / shape), width), 1)
        top, left = int(random.integers(0, height - rows + 1)), int(random.integers(0, width - columns + 1))
        window = photograph[:, top : top + rows, left : left + columns].float() / 255.0
        if random.random() < 0.5:
            window = window.flip(-1)
        return _resize(window, _VIEW_SIDE, _VIEW_SIDE)


def _train(
    student: StudentEncoder,
    teacher: SemanticEncoder,
    views: _Views,
    config: DistillConfig,
    device: str,
    report: OnProgress,
) -> None:
    kind = torch.device(device).type
    grid = student.config.grid

    def teach(pictures: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(kind, torch.bfloat16):
            frame, regions = teacher.both(pictures)
        regions = F.interpolate(regions, (grid, grid), mode="bilinear", align_corners=False, antialias=True)
        return frame, unit_mean_square(regions)

    # The means are the best guess before anything is learned, and what is common to all pictures teaches nothing.
    lessons = [teach(views.draw(config.batch).to(device)) for _ in range(_MEAN_BATCHES)]
    means = [torch.cat(part).mean(dim=(0, 2, 3)) for part in zip(*lessons, strict=True)]
    with torch.no_grad():
        for head, mean in zip((student.frame_head, student.region_head), means, strict=True):
            assert head.bias is not None
            head.bias.copy_(mean)
    means = [mean[None, :, None, None] for mean in means]
    optimiser = torch.optim.AdamW(student.parameters(), lr=config.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config.steps))
    student.train()
    for step, drawn in enumerate(_ahead(views, config)):
        pictures = drawn.to(device)
        taught = teach(pictures)
        with torch.autocast(kind, torch.bfloat16):
            features = student.features(pictures)
            learned = student.frame(features), student.regions(features)
        angles = [
            F.cosine_similarity(mine - mean, theirs - mean).mean()
            for mine, theirs, mean in zip(learned, taught, means, strict=True)
        ]
        errors = [(mine - theirs).square().mean() for mine, theirs in zip(learned, taught, strict=True)]
        loss = sum(errors) - sum(angles)
        assert isinstance(loss, Tensor)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise SceneError(f"the loss is no longer finite at step {step}: lower the learning rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        report(Progress(step + 1, config.steps, {"loss": value, "centred cosine": float(angles[0].detach())}))


def _ahead(views: _Views, config: DistillConfig) -> Iterator[Tensor]:
    """A batch of views for each step, drawn while the step before is at work."""
    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(views.draw, config.batch)
        for _ in range(config.steps):
            pictures = drawn.result()
            drawn = pool.submit(views.draw, config.batch)
            yield pictures


def _rate(step: int, steps: int) -> float:
    warmup = max(steps // 20, 1)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def _to_tensor(image: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _shrink(photograph: Tensor) -> Tensor:
    height, width = photograph.shape[-2:]
    scale = _SHORT_SIDE / min(height, width)
    if scale >= 1:
        return photograph
    shrunk = _resize(photograph.float(), round(height * scale), round(width * scale))
    return shrunk.round().clamp(0, 255).to(torch.uint8)


def _resize(picture: Tensor, height: int, width: int) -> Tensor:
    resized = F.interpolate(picture[None], (height, width), mode="bilinear", align_corners=False, antialias=True)
    return resized[0]
