"""What conditions a network's first block: an encoder's embeddings, or a control in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scene.model.controls import Control, control_embeddings
from scene.model.network import Network
from scene.model.semantics.encoder import SemanticEncoder


@dataclass(frozen=True, slots=True)
class Conditioner:
    """Embeddings for one network, the same for training and inference but for the keys that controls are drawn by.

    A control is drawn by the picture's content at inference, and by the sequence's number in training, where the frames
    of a sequence share one embedding.

    Attributes:
        encoder: frozen, on the device; None where a control makes it unnecessary, or embeddings are looked up.
        control: what stands in the place of the encoder's embeddings.
        identity: of encoder and control; part of every cache key.
    """

    encoder: SemanticEncoder | None
    control: Control
    identity: str

    def embed(self, network: Network, pictures: Tensor) -> Tensor:
        """The encoder's embeddings of pictures (B, 3, H, W), full-range RGB in [0, 1]: (B, D, h, w) on its device."""
        assert self.encoder is not None
        with torch.inference_mode():
            embeddings: Tensor = self.encoder(pictures, spatial=network.config.semantic_grid > 1)
            return embeddings

    def substitute(self, embeddings: Tensor, references: Tensor, keys: Sequence[int]) -> Tensor:
        """Embeddings (B, D, h, w), or the control in their place; see `control_embeddings`."""
        return control_embeddings(self.control, embeddings, references, keys)
