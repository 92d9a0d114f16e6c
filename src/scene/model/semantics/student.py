"""A compact semantic encoder, distilled from a large one: semantics at almost no cost."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from scene.errors import CheckpointError, UsageError
from scene.files import write_atomically
from scene.model.semantics.encoder import SemanticEncoder, stretched, unit_mean_square
from scene.model.tensors import read_tensors

FORMAT = "scene-student"
FORMAT_VERSION = "1"

_EXPANSION = 3
# Pixels to one place of the trunk's output, in both directions.
_STRIDE = 16


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """The shape of a student; a checkpoint carries it.

    Attributes:
        width: D, that of the teacher.
        side: frames are squashed to a square of this many pixels.
        channels: of the stem and of the three stages after it, each at half the resolution of the one before.
        blocks: inverted residuals in each of the three stages.
        hidden: channels between the last stage and the two heads.
    """

    width: int = 1152
    side: int = 128
    channels: tuple[int, int, int, int] = (24, 48, 96, 192)
    blocks: tuple[int, int, int] = (1, 2, 3)
    hidden: int = 320

    def __post_init__(self) -> None:
        numbers = (self.width, self.side, self.hidden, *self.channels)
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (*numbers, *self.blocks))
        if not whole or not all(1 <= n <= 8192 for n in numbers) or not all(0 <= n <= 64 for n in self.blocks):
            raise UsageError("a student's width, side, channels and blocks must be whole numbers of a sane size")
        if len(self.channels) != 4 or len(self.blocks) != 3 or self.side % 16:
            raise UsageError("a student has a stem and three stages, and its side is a multiple of 16")

    @property
    def grid(self) -> int:
        """Rows and columns of its spatial embedding."""
        return self.side // 16


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class _InvertedResidual(nn.Module):
    """1x1 to a wider space, 3x3 channel by channel, 1x1 back (MobileNetV2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = _EXPANSION * channels
        self.layers = nn.Sequential(
            _conv(channels, wide, 1), nn.ReLU(), _conv(wide, wide, 3, groups=wide), nn.ReLU(), _conv(wide, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y


class StudentEncoder(SemanticEncoder):
    """Strided convolutions and inverted residuals, with a head for the frame and one for its regions.

    Attributes:
        config: the shape.
        teacher: identity of the encoder it was distilled from, "nobody" before that.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.identity = "untrained"
        self.teacher = "nobody"
        layers: list[nn.Module] = [_conv(3, config.channels[0], 3, 2), nn.ReLU()]
        for inputs, outputs, blocks in zip(config.channels, config.channels[1:], config.blocks, strict=False):
            layers += [_conv(inputs, outputs, 3, 2), nn.ReLU(), *(_InvertedResidual(outputs) for _ in range(blocks))]
        layers += [_conv(config.channels[-1], config.hidden, 1), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.frame_head = nn.Conv2d(config.hidden, config.width, 1)
        self.region_head = nn.Conv2d(config.hidden, config.width, 1)

    def features(self, pictures: Tensor) -> Tensor:
        """What both heads share: (B, 3, H, W) RGB in [0, 1] to (B, hidden, grid, grid), with gradients."""
        features: Tensor = self.trunk(squash(pictures, self.config.side) * 2.0 - 1.0)
        return features

    def frame(self, features: Tensor) -> Tensor:
        """(B, D, 1, 1) of unit mean square."""
        return unit_mean_square(self.frame_head(features.mean(dim=(2, 3), keepdim=True)))

    def regions(self, features: Tensor) -> Tensor:
        """(B, D, grid, grid), each vector of unit mean square."""
        return unit_mean_square(self.region_head(features))

    def shares(self, pictures: Tensor) -> Tensor:
        """As `SemanticEncoder` has it, (B, h, w) of about 24x14 places, in the frame's own shape.

        The mean of two looks: at the square that the embeddings are of, and at a larger picture, whose trunk has places
        enough. Both are of the heads' outputs as they are, before their length is made one.
        """
        height, width = dense_size(*pictures.shape[-2:])
        looks = []
        for size in ((self.config.side, self.config.side), (height, width)):
            features = self.trunk(resized(pictures, size) * 2.0 - 1.0)
            pooled = self.frame_head(features.mean(dim=(2, 3), keepdim=True))
            look = stretched((self.region_head(features) * pooled).sum(dim=1))
            grid = (height // _STRIDE, width // _STRIDE)
            looks.append(F.interpolate(look[:, None], grid, mode="bilinear", align_corners=False)[:, 0])
        return looks[0] + looks[1]

    @torch.no_grad()
    def forward(self, pictures: Tensor, *, spatial: bool = False) -> Tensor:
        features = self.features(pictures)
        return self.regions(features) if spatial else self.frame(features)

    def count_parameters(self) -> int:
        """Weights and biases."""
        return sum(p.numel() for p in self.parameters())


def squash(pictures: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) of any size to (B, 3, side, side), aspect ratio not kept, without aliasing."""
    return resized(pictures, (side, side))


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) to a height and a width, without aliasing."""
    # Averaging whole blocks first takes most samples of a large frame off the slower filter after it.
    factor = min(given // (2 * wanted) for given, wanted in zip(pictures.shape[-2:], size, strict=True))
    if factor > 1:
        pictures = F.avg_pool2d(pictures, factor)
    if pictures.shape[-2:] == size:
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)


def dense_size(height: int, width: int) -> tuple[int, int]:
    """Height and width to which frames of a size are brought for a dense map: 224x384 for 16:9, as many for others."""
    shape = math.sqrt(width / height / (16 / 9))
    return tuple(max(_STRIDE, round(side / _STRIDE) * _STRIDE) for side in (224 / shape, 384 * shape))  # type: ignore[return-value]


def save_student(student: StudentEncoder, path: Path, record: Mapping[str, Any] | None = None) -> None:
    """Writes weights, shape, teacher and a JSON record (how it was distilled) to `path`, whole or not at all."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in student.state_dict().items()
        if tensor.is_floating_point()
    }
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "student": json.dumps(dataclasses.asdict(student.config), sort_keys=True),
        "teacher": student.teacher,
        "record": json.dumps(dict(record or {}), sort_keys=True),
    }
    write_atomically(path, save(tensors, metadata))


def read_student(path: Path) -> StudentEncoder:
    """Reads a student, frozen, in eval mode, on the CPU.

    Raises:
        InputError: the file is missing or cannot be read.
        CheckpointError: it is damaged, of another version or shape, or not finite.
    """
    file = read_tensors(path)
    if file.metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a student encoder")
    if file.metadata.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {file.metadata.get('format_version')!r} and this program reads"
            f" {FORMAT_VERSION!r}: update scene-codec"
        )
    try:
        shape = json.loads(file.metadata["student"])
        shape = {key: tuple(value) if isinstance(value, list) else value for key, value in shape.items()}
        student = StudentEncoder(StudentConfig(**shape))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UsageError) as error:
        raise CheckpointError(f"{path} describes a student that cannot be built ({error})") from error
    counters = {name: tensor for name, tensor in student.state_dict().items() if not tensor.is_floating_point()}
    expected = {name: tensor for name, tensor in student.state_dict().items() if tensor.is_floating_point()}
    student.load_state_dict({**file.require(expected), **counters})
    student.teacher = file.metadata.get("teacher", "nobody")
    student.identity = f"{path.stem}@{file.content_hash[:12]}"
    return student.eval().requires_grad_(False)
