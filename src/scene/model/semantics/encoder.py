"""What a semantic encoder is: pictures in, an embedding of their content out (paper section 2.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class SemanticEncoder(nn.Module, ABC):
    """A frozen image encoder that conditions a network's first block.

    Attributes:
        width: D, the width of its embeddings.
        identity: name and content hash or revision; part of every cache key and training record.
    """

    width: int
    identity: str

    @abstractmethod
    def forward(self, pictures: Tensor, *, spatial: bool = False) -> Tensor:
        """Embeds whole frames.

        Args:
            pictures: (B, 3, H, W) full-range RGB in [0, 1] of any size, on the encoder's device. Resizing and
                normalisation are the encoder's own and happen on the device.
            spatial: give one vector for each region of the frame rather than one for all of it.

        Returns:
            float32 (B, D, 1, 1), or with `spatial` (B, D, h, w), rows from the top. Each vector is of unit mean
            square, since only directions carry meaning in a contrastively trained space. No gradient flows.
        """

    def both(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings of the frames and of their regions; encoders that get the two in one pass do so here."""
        frame: Tensor = self(pictures)
        regions: Tensor = self(pictures, spatial=True)
        return frame, regions

    @torch.no_grad()
    def importance(self, pictures: Tensor) -> Tensor:
        """How much each place of whole frames matters to what their embeddings say.

        Args:
            pictures: as for a call.

        Returns:
            float32 (B, h, w), rows from the top: 0 at the place of a frame that matters least, 1 where it matters most.
        """
        return stretched(self.shares(pictures))

    def shares(self, pictures: Tensor) -> Tensor:
        """What `importance` is before it is stretched: each place's share in the pooled vector, (B, h, w)."""
        frame, regions = self.both(pictures)
        return (frame * regions).mean(dim=1)


def stretched(maps: Tensor) -> Tensor:
    """Maps, (B, h, w), each from 0 to 1, in float32; one that is the same everywhere becomes 0."""
    maps = maps.float()
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


def unit_mean_square(embedding: Tensor) -> Tensor:
    """Scales vectors along dimension 1 to a mean square of one, in float32; zero vectors stay zero."""
    embedding = embedding.float()
    scale = embedding.square().mean(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny).rsqrt()
    return embedding * scale
