"""Distillation of a semantic encoder: a small student learns the embeddings of a large teacher."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scene import __version__
from scene.errors import InputError, SceneError, UsageError
from scene.model.semantics import SemanticEncoder
from scene.model.semantics.student import StudentConfig, StudentEncoder, save_student
from scene.progress import OnProgress, Progress, silent
from scene.training.data import list_images, read_image
from scene.training.frames import Image

_LOG = logging.getLogger("scene.training")

# Views are kept at this size: enough for a student of 128 pixels, and a teacher sees what the student sees.
_VIEW_SIDE = 256
# Regions of the teacher are learned as averages over this grid, which every teacher's and student's grid covers.
_GRID = 4
_CHUNK = 16
# Beside the loss on the frame's embedding.
_REGION_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """How a student is distilled.

    Attributes:
        views: random views of each photograph; the teacher embeds each once.
        steps: optimiser steps.
        batch: views a step.
        learning_rate: at its peak; it rises linearly over the first twentieth and falls as a cosine to zero.
        seed: of the initial weights, the views and their order.
    """

    views: int = 16
    steps: int = 2000
    batch: int = 32
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("views", "steps", "batch"):
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
    held_out: Path,
    out: Path,
    config: DistillConfig | None = None,
    *,
    device: str = "cpu",
    on_progress: OnProgress = silent,
) -> DistillResult:
    """Distils a teacher into a student of the same embedding width and writes it to `out`.

    Args:
        teacher: any encoder; it is moved to the device.
        data: folder of photographs to learn on.
        held_out: folder of other photographs, to measure on.
        out: the student's .safetensors file; its name is the student's.
        config: see there.
        device: a torch device.

    Raises:
        UsageError: `out` is not a .safetensors file, or its folder does not exist.
        InputError, MissingError: no photographs, or Pillow is missing.
        SceneError: the loss is no longer finite.
    """
    config = config or DistillConfig()
    if out.suffix != ".safetensors" or not out.parent.is_dir():
        raise UsageError(f"{out} must be a .safetensors file in a folder that exists")
    began = time.monotonic()
    photographs = [read_image(path) for path in list_images(held_out)]
    teacher = teacher.to(device)
    views = _Views.make(teacher, list_images(data), config, device, on_progress)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        student = StudentEncoder(StudentConfig(width=teacher.width)).to(device)
    student.teacher = teacher.identity
    _train(student, views, config, device, on_progress)
    student.eval()
    agreement = measure_agreement(student, teacher, photographs, device)
    seconds = time.monotonic() - began
    record: dict[str, Any] = {
        "config": asdict(config),
        "photographs": views.photographs,
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


@dataclass(frozen=True, slots=True)
class _Views:
    """Views (N, 3, side, side) uint8, and the teacher's embeddings of them, (N, D) and (N, D, grid, grid), float16."""

    pictures: Tensor
    frames: Tensor
    regions: Tensor
    photographs: int

    @classmethod
    def make(
        cls, teacher: SemanticEncoder, files: Sequence[Path], config: DistillConfig, device: str, report: OnProgress
    ) -> _Views:
        random = np.random.default_rng((config.seed, 1))
        pictures: list[Tensor] = []
        photographs = 0
        for path in files:
            try:
                image = _to_tensor(read_image(path))
            except InputError as error:
                _LOG.warning("left out: %s", error)
                continue
            photographs += 1
            pictures += [_view(image, random) for _ in range(config.views)]
        if not pictures:
            raise InputError("none of the photographs to learn from can be read")
        frames, regions = [], []
        for start in range(0, len(pictures), _CHUNK):
            batch = torch.stack(pictures[start : start + _CHUNK]).to(device).float() / 255.0
            frames.append(teacher(batch)[:, :, 0, 0].half().cpu())
            spatial = F.adaptive_avg_pool2d(teacher(batch, spatial=True), _GRID)
            regions.append(spatial.half().cpu())
            report(Progress(start + len(batch), len(pictures), {"teacher": teacher.identity}))
        return cls(torch.stack(pictures), torch.cat(frames), torch.cat(regions), photographs)


def _train(student: StudentEncoder, views: _Views, config: DistillConfig, device: str, report: OnProgress) -> None:
    # The mean is the best guess before anything is learned.
    frame_mean = views.frames.float().mean(dim=0)
    region_mean = views.regions.float().mean(dim=(0, 2, 3))
    spread = float((views.frames.float() - frame_mean).square().mean())
    with torch.no_grad():
        for head, mean in ((student.frame_head, frame_mean), (student.region_head, region_mean)):
            assert head.bias is not None
            head.bias.copy_(mean)
    optimiser = torch.optim.AdamW(student.parameters(), lr=config.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config.steps))
    student.train()
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.empty(0, dtype=torch.long)
    frame_mean = frame_mean.to(device)
    for step in range(config.steps):
        while len(order) < config.batch:
            order = torch.cat([order, torch.randperm(len(views.pictures), generator=generator)])
        picks, order = order[: config.batch], order[config.batch :]
        features = student.features(views.pictures[picks].to(device).float() / 255.0)
        frame = student.frame(features)[:, :, 0, 0]
        taught = views.frames[picks].to(device).float()
        error = (frame - taught).square().mean() / spread
        angle = 1 - F.cosine_similarity(frame - frame_mean, taught - frame_mean).mean()
        taught_regions = views.regions[picks].to(device).float()
        pooled = F.adaptive_avg_pool2d(student.regions(features), _GRID)
        region_error = 1 - F.cosine_similarity(pooled, taught_regions).mean()
        loss = error + angle + _REGION_WEIGHT * region_error
        if not math.isfinite(float(loss.detach())):
            raise SceneError(f"the loss is no longer finite at step {step}: lower the learning rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        report(
            Progress(
                step + 1, config.steps, {"loss": float(loss.detach()), "centred cosine": 1 - float(angle.detach())}
            )
        )


def _rate(step: int, steps: int) -> float:
    warmup = max(steps // 20, 1)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def _to_tensor(image: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _view(image: Tensor, random: np.random.Generator) -> Tensor:
    """A rectangle of between a fifth and all of the picture's area, squashed to a square: (3, side, side) uint8."""
    height, width = image.shape[-2:]
    share = math.sqrt(random.uniform(0.2, 1.0))
    shape = 2.0 ** random.uniform(-0.4, 0.4)
    rows, columns = (
        max(min(round(side), limit), 1)
        for side, limit in ((height * share * shape, height), (width * share / shape, width))
    )
    top, left = int(random.integers(0, height - rows + 1)), int(random.integers(0, width - columns + 1))
    window = image[None, :, top : top + rows, left : left + columns].float()
    if random.random() < 0.5:
        window = window.flip(-1)
    view = F.interpolate(window, (_VIEW_SIDE, _VIEW_SIDE), mode="bilinear", align_corners=False, antialias=True)
    return view[0].round().clamp(0, 255).to(torch.uint8)
