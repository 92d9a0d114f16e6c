"""The SCENE network and its ablation AsConvSR (paper sections 2 and 3.4, Fig. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene.errors import UsageError
from scene.model.assembled import AssembledConv2d
from scene.model.bank import bank_change, cut
from scene.model.calibration import MIDDLE_STEP, Bank, Calibration, bank_from_json
from scene.model.control import ControlModule, Normalisation
from scene.model.controls import Control

Planes = Literal["rgb", "luma", "yuv420"]
Guidance = Literal["embedding", "features"]
Activation = Literal["relu", "none"]

_UNSHUFFLES = (2, 4)
# Training pictures whose embeddings a network carries; fewer where each is a grid.
_REFERENCES = 64
# Channels that go in and come out; of "yuv420" at half resolution, four luma phases beside U and V.
_CHANNELS: dict[Planes, int] = {"rgb": 3, "luma": 1, "yuv420": 6}
_WIDEST_STEPS = (0.01, 10_000.0)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Everything that decides a network's shape; a checkpoint carries it.

    Attributes:
        guidance: what conditions the first block: "embedding" is SCENE, "features" is AsConvSR.
        planes: what goes in and comes out; see `Network.forward`.
        unshuffle: side of the squares of samples that become channels, 2 (the paper) or 4, which takes a quarter of the
            time; "yuv420" comes unshuffled by 2.
        channels: width of the features.
        kernels: number E of base kernels.
        embedding_width: width of the semantic embedding; unused with guidance "features".
        semantic_grid: 1 conditions the first block on one embedding of the frame (the paper); G above 1 by G x G
            embeddings of its regions, which give coefficient maps (beyond the paper).
        semantic_hidden: hidden width of the control module that an embedding drives.
        feature_reduction: features over hidden width in a control module that features drive.
        activation: after the first and second assembled convolution of a block.
        normalisation: of the coefficients.
        block_skip: add a block's input to its output.
        global_skip: the network predicts the change to its input; it is then the identity before training.
        body: False for a model that is only the numbers of `Network.calibrations`: it has no convolutions and gives
            back what it is given.
        quantiser: lowest and highest quantiser step, in 8-bit code values, that the network is trained for and
            given as one more plane of its input (beyond the paper); None for one that is not quantiser-conditioned.
        bank: fixed filters before the convolutions (beyond the paper), which learn what is left to be changed; of a
            quantiser-conditioned network on luma. None for none.
    """

    guidance: Guidance = "embedding"
    planes: Planes = "rgb"
    unshuffle: int = 2
    channels: int = 64
    kernels: int = 4
    embedding_width: int = 1152
    semantic_grid: int = 1
    semantic_hidden: int = 256
    feature_reduction: int = 4
    activation: Activation = "relu"
    normalisation: Normalisation = "none"
    block_skip: bool = True
    global_skip: bool = True
    body: bool = True
    quantiser: tuple[float, float] | None = None
    bank: Bank | None = None

    def __post_init__(self) -> None:
        choices = {
            "guidance": ("embedding", "features"),
            "planes": tuple(_CHANNELS),
            "activation": ("relu", "none"),
            "normalisation": ("none", "softmax"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} = {getattr(self, name)!r} must be one of {', '.join(allowed)}")
        if not isinstance(self.semantic_grid, int) or not 1 <= self.semantic_grid <= 64:
            raise UsageError(f"semantic_grid = {self.semantic_grid!r} must be a whole number from 1 to 64")
        for name in ("channels", "kernels", "embedding_width", "semantic_hidden", "feature_reduction"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 8192:
                raise UsageError(f"{name} = {value!r} must be a whole number from 1 to 8192")
        for name in ("block_skip", "global_skip", "body"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} = {getattr(self, name)!r} must be true or false")
        if self.unshuffle not in _UNSHUFFLES or (self.planes == "yuv420" and self.unshuffle != 2):
            raise UsageError(f"unshuffle = {self.unshuffle!r} must be 2 or 4, and 2 with planes = yuv420")
        if not self.body and (self.guidance != "features" or self.planes != "luma"):
            raise UsageError('a model without body has guidance = "features" and planes = "luma"')
        if self.quantiser is not None:
            # JSON and TOML give lists and whole numbers.
            object.__setattr__(self, "quantiser", _checked_steps(self.quantiser))
        if self.bank is not None:
            object.__setattr__(self, "bank", _checked_bank(self.bank))
            if self.quantiser is None or self.planes != "luma":
                raise UsageError('a network with a bank has planes = "luma" and a quantiser')


def _checked_steps(given: object) -> tuple[float, float]:
    numbers = list(given) if isinstance(given, list | tuple) else []
    if len(numbers) == 2 and all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        low, high = map(float, numbers)
        if _WIDEST_STEPS[0] <= low < high <= _WIDEST_STEPS[1]:
            return low, high
    raise UsageError(f"quantiser = {given!r} must be the lowest and the highest step, such as [6, 60]")


def _checked_bank(given: object) -> Bank:
    try:
        return given if isinstance(given, Bank) else bank_from_json(given)
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"bank = {given!r} must have rows of numbers: gain, faint, ...") from error


class AssembledBlock(nn.Module):
    """Three assembled convolutions that one control module conditions (paper Fig. 1a)."""

    convolutions = 3

    def __init__(self, config: NetworkConfig, guidance: Guidance) -> None:
        super().__init__()
        width = config.embedding_width if guidance == "embedding" else config.channels
        hidden = (
            config.semantic_hidden if guidance == "embedding" else max(1, config.channels // config.feature_reduction)
        )
        self.guidance = guidance
        self.skip = config.block_skip
        self.activation = nn.ReLU() if config.activation == "relu" else nn.Identity()
        self.control = ControlModule(
            width, hidden, self.convolutions, config.channels, config.kernels, config.normalisation
        )
        self.convs = nn.ModuleList(
            AssembledConv2d(config.channels, config.channels, config.kernels) for _ in range(self.convolutions)
        )

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """(B, channels, h, w) to the same shape; `embedding` is (B or 1, embedding_width, G, G) if used."""
        if self.guidance == "embedding":
            if embedding is None:
                raise UsageError("this network is guided by a semantic embedding and none was given")
            vectors = embedding
        else:
            vectors = x.mean(dim=(-2, -1), keepdim=True)
        coefficients = self.control(vectors)
        y = x
        for index, conv in enumerate(self.convs):
            y = conv(y, coefficients[:, index])
            if index < self.convolutions - 1:
                y = self.activation(y)
        return x + y if self.skip else y


@dataclass(frozen=True, slots=True)
class Semantics:
    """What conditioned a network's first block while it was trained.

    Attributes:
        encoder: as `scene.model.load_encoder` takes it.
        identity: of that encoder, with its weights' hash.
        control: the encoder's own embeddings, or the control that stood in for them.
    """

    encoder: str
    identity: str
    control: Control = "embedding"


class Network(nn.Module):
    """Pixel-unshuffle, 3x3 convolution, two assembled blocks, 3x3 convolution, pixel-shuffle (paper Fig. 1a).

    The first block follows `config.guidance`, the second is always conditioned on the features.

    Attributes:
        config: the shape, as given.
        identity: name and content hash of the checkpoint the weights came from, "untrained" before that.
        semantics: where the embeddings it was trained with came from; None with guidance "features".
        references: (R, embedding_width, G, G), embeddings of some training pictures. Their mean is subtracted from
            every embedding, for the conditioning of the first 1x1 convolution, whose bias could do the same; controls
            draw from them. No parameters; absent with guidance "features".
        calibrations: by name of an encoder, how the model is applied before it; empty before `scene calibrate`.
        record: how it was trained, as its file says; empty before that.
    """

    references: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.identity = "untrained"
        self.semantics: Semantics | None = None
        self.calibrations: dict[str, Calibration] = {}
        self.record: dict[str, Any] = {}
        if not config.body:
            return
        folded = _CHANNELS[config.planes] * (1 if config.planes == "yuv420" else config.unshuffle**2)
        conditioned = 0 if config.quantiser is None else 1
        self.head = nn.Conv2d(folded + conditioned, config.channels, 3, padding=1)
        self.blocks = nn.ModuleList([AssembledBlock(config, config.guidance), AssembledBlock(config, "features")])
        self.tail = nn.Conv2d(config.channels, folded, 3, padding=1)
        if config.guidance == "embedding":
            grid = config.semantic_grid
            shape = (max(_REFERENCES // grid, 8), config.embedding_width, grid, grid)
            self.register_buffer("references", torch.zeros(shape))
        if config.global_skip:
            nn.init.zeros_(self.tail.weight)
            assert self.tail.bias is not None
            nn.init.zeros_(self.tail.bias)

    @property
    def in_channels(self) -> int:
        """Channels that `forward` takes and returns."""
        return _CHANNELS[self.config.planes]

    def forward(self, x: Tensor, embedding: Tensor | None = None, step: Tensor | None = None) -> Tensor:
        """Enhances a batch.

        Args:
            x: (B, C, H, W), values in [0, 1]. With planes "rgb" C = 3, full range. With "luma" C = 1, 8-bit
                limited-range code values over 255. With "yuv420" C = 6 at half the picture's size: the four
                phases of the luma plane (`pixel_unshuffle` by 2), then U and V, all limited-range codes over 255.
                H and W are free with "rgb" and "luma": odd sizes are padded inside by repeating the last line.
            embedding: (B, embedding_width, h, w), or one (1, ...) for the whole batch; needed with guidance
                "embedding". Grids of another size than G x G are resampled to it.
            step: (B,), or (1,) for the whole batch; the quantiser step of the encoder to come, in 8-bit code values.
                Needed where `config.quantiser` is a range, into which it is clamped; else ignored.

        Returns:
            The same shape as `x`, not clipped.

        Raises:
            UsageError: guidance is "embedding" and no embedding was given, or no step where it is needed.
        """
        if not self.config.body:
            return x
        height, width = x.shape[-2:]
        if self.config.bank is not None:
            x = x + bank_change(x * 255, self.config.bank, self._required(step)) / 255
        if self.config.planes == "yuv420":
            folded = x
        else:
            side = self.config.unshuffle
            # Remainders of negative numbers are beyond torch.export.
            right, below = (side - width % side) % side, (side - height % side) % side
            padded = F.pad(x, (0, right, 0, below), mode="replicate")
            folded = F.pixel_unshuffle(padded, side)
        if embedding is not None and self.config.guidance == "embedding":
            embedding = self._centre(embedding)
        if self.config.quantiser is not None:
            folded = torch.cat([folded, self._step_plane(folded, step, self.config.quantiser)], dim=1)
        if not torch.compiler.is_exporting() and folded.shape[0] == 1 and folded.device.type == "cpu":
            # oneDNN takes 40 % off the time of a frame that way; batches go as groups, which it would slow down.
            folded = folded.contiguous(memory_format=torch.channels_last)
        features = self.head(folded)
        for block in self.blocks:
            features = block(features, embedding)
        change: Tensor = self.tail(features)
        if self.config.planes != "yuv420":
            change = cut(cut(F.pixel_shuffle(change, self.config.unshuffle), 2, height), 3, width)
        return x + change if self.config.global_skip else change

    def _step_plane(self, folded: Tensor, step: Tensor | None, steps: tuple[float, float]) -> Tensor:
        """(B, 1, h, w) beside `folded`, constant over each picture: log2(step / 20) / 2, about -1 to 1."""
        plane = torch.log2(self._required(step).clamp(*steps) / MIDDLE_STEP) / 2
        batch, _, height, width = folded.shape
        return plane.to(folded).view(-1, 1, 1, 1).expand(batch, 1, height, width)

    @staticmethod
    def _required(step: Tensor | None) -> Tensor:
        if step is None:
            raise UsageError("this network is conditioned on the encoder's quantiser step, and none was given")
        return step

    def _centre(self, embedding: Tensor) -> Tensor:
        grid = (self.config.semantic_grid, self.config.semantic_grid)
        if embedding.shape[-2:] != grid:
            embedding = F.interpolate(embedding, grid, mode="bilinear", align_corners=False, antialias=True)
        return embedding - self.references.mean(dim=(0, 2, 3), keepdim=True)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, *, revision: str | None = None) -> Network:
        """A network by a shipped name, a file, a folder or OWNER/NAME on the Hub; `scene.model.hub.from_pretrained`."""
        from scene.model.hub import from_pretrained

        return from_pretrained(name_or_path, revision=revision)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes weights and a model card into a folder; see `scene.model.hub.save_pretrained`."""
        from scene.model.hub import save_pretrained

        save_pretrained(self, folder)

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Puts both into a repository on the Hub; see `scene.model.hub.push_to_hub`."""
        from scene.model.hub import push_to_hub

        return push_to_hub(self, repo_id, private=private, token=token)

    def count_parameters(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def build_network(config: NetworkConfig, seed: int | None = None) -> Network:
    """An untrained network; with a seed the same one every time, without touching torch's global generator."""
    if seed is None:
        return Network(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config)
