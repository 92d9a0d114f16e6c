"""Control modules: from an embedding or from features to the coefficients of a block (paper section 2.1, Eq. 1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Normalisation = Literal["none", "softmax"]

# The temperature that public re-implementations of AsConvSR use.
_SOFTMAX_TEMPERATURE = 30.0


class ControlModule(nn.Module):
    """``Coeff = Conv1x1(ReLU(Conv1x1(F)))`` (paper Eq. 1), one coefficient a convolution, output channel and kernel.

    Coefficients start near 1/E, so that an untrained block convolves with the mean of its base kernels.

    Args:
        in_channels: width of the conditioning vector (1152 for SigLIP 2 So400M, or the block's feature width).
        hidden: width between the two 1x1 convolutions.
        convolutions: assembled convolutions in the block.
        channels: output channels of each of them.
        kernels: number E of base kernels.
        normalisation: "none" as in Eq. 1, or "softmax" over E with temperature 30.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        convolutions: int,
        channels: int,
        kernels: int,
        normalisation: Normalisation = "none",
    ) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.channels = channels
        self.kernels = kernels
        self.normalisation = normalisation
        self.squeeze = nn.Conv2d(in_channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, convolutions * channels * kernels, 1)
        nn.init.normal_(self.expand.weight, std=0.01)
        assert self.expand.bias is not None
        nn.init.constant_(self.expand.bias, 0.0 if normalisation == "softmax" else 1.0 / kernels)

    def forward(self, vectors: Tensor) -> Tensor:
        """
        Args:
            vectors: (B, in_channels, h, w): one vector for the frame (h = w = 1), or one for each region of it.

        Returns:
            Coefficients (B, convolutions, channels, E, h, w).
        """
        flat: Tensor = self.expand(torch.relu(self.squeeze(vectors)))
        coefficients = flat.reshape(-1, self.convolutions, self.channels, self.kernels, *vectors.shape[-2:])
        if self.normalisation == "softmax":
            return torch.softmax(coefficients / _SOFTMAX_TEMPERATURE, dim=3)
        return coefficients
