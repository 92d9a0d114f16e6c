"""MobileNetV2, an ImageNet classifier: a stand-in teacher where no vision-language model can be had.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2, at width 1.0, without the
classifier, batch normalisation folded into the convolutions, padded as TensorFlow pads ("SAME").
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scene.model.semantics.encoder import SemanticEncoder, unit_mean_square
from scene.model.semantics.student import squash
from scene.model.tensors import TensorFile

_SIDE = 224
_WIDTH = 1280
# Expansion, output channels, repeats, stride of the first.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_CLASSIFIER = "fc."


class _SameConv(nn.Module):
    """A convolution whose output has ceil(input / stride) samples, with the odd padding sample below and right."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        # The name is the weights file's.
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.c.kernel_size[0], self.c.stride[0]
        # All sizes here are multiples of their stride.
        total = max(kernel - stride, 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        y: Tensor = self.c(x)
        return y


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        widen = [_SameConv(inputs, wide, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [_SameConv(wide, wide, 3, stride, wide), nn.ReLU6()]
        self.layers = nn.Sequential(*widen, *depthwise, _SameConv(wide, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNetEncoder(SemanticEncoder):
    """Embeddings are the 1280 channels before the classifier, averaged over the frame or for each of 7 x 7 regions."""

    def __init__(self, file: TensorFile) -> None:
        """
        Args:
            file: weights of MobileNetV2 1.0 224 in the layout of `is_mobilenet`.

        Raises:
            CheckpointError: tensors are missing, misshapen or not finite.
        """
        super().__init__()
        self.width = _WIDTH
        blocks = []
        channels = 32
        for expansion, outputs, repeats, stride in _STAGES:
            for index in range(repeats):
                blocks.append(_Bottleneck(channels, outputs, expansion, stride if index == 0 else 1))
                channels = outputs
        self.stem = nn.Sequential(_SameConv(3, 32, 3, 2), nn.ReLU6())
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(_SameConv(channels, _WIDTH, 1), nn.ReLU6())
        kept = {_own_name(name): tensor for name, tensor in file.tensors.items() if not name.startswith(_CLASSIFIER)}
        weights = TensorFile(file.path, kept, file.metadata, file.content_hash)
        self.load_state_dict(weights.require(self.state_dict()))
        self.identity = f"mobilenetv2-imagenet@{file.content_hash[:12]}"
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor, *, spatial: bool = False) -> Tensor:
        return self.both(pictures)[1 if spatial else 0]

    def shares(self, pictures: Tensor) -> Tensor:
        """As `SemanticEncoder` has it, of channels as they are: where much is seen, they are large."""
        features = self._features(pictures)
        return (features * features.mean(dim=(2, 3), keepdim=True)).sum(dim=1)

    def _features(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.last(self.blocks(self.stem(squash(pictures, _SIDE) * 2.0 - 1.0)))
        return features

    @torch.no_grad()
    def both(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        regions = self._features(pictures)
        return unit_mean_square(regions.mean(dim=(2, 3), keepdim=True)), unit_mean_square(regions)


def is_mobilenet(file: TensorFile) -> bool:
    """Whether a file holds MobileNetV2 as `stem.c`, `blocks.N.f.M.c`, `last.c` and `fc`."""
    return {"stem.c.weight", "last.c.weight", "blocks.0.f.0.c.weight"} <= set(file.tensors)


def _own_name(name: str) -> str:
    """The file numbers convolutions alone, a Sequential here also counts the activations between them."""
    parts = name.split(".")
    if parts[0] in {"stem", "last"}:
        return f"{parts[0]}.0.{'.'.join(parts[1:])}"
    return f"blocks.{parts[1]}.layers.{2 * int(parts[3])}.{'.'.join(parts[4:])}" if parts[0] == "blocks" else name
