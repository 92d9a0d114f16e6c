"""Assembled convolution: a kernel per output channel, mixed from a bank of base kernels (paper section 2.2, Eq. 2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AssembledConv2d(nn.Module):
    """A convolution whose kernel for output channel c is ``K_c = sum_i coeff[c, i] * k_i[c]`` (paper Eq. 2).

    The bias is assembled the same way, from one bias vector a base kernel. Output has the size of the input
    (stride 1, zero padding).

    Args:
        in_channels, out_channels: width of input and output.
        kernels: number E of base kernels.
        kernel_size: odd side of the square kernels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernels: int = 4, kernel_size: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernels = kernels
        self.kernel_size = kernel_size
        taps = in_channels * kernel_size**2
        # Three dimensions, not five: a 5-D parameter breaks `.to(memory_format=torch.channels_last)`.
        self.bank = nn.Parameter(torch.empty(kernels, out_channels, taps))
        self.bias = nn.Parameter(torch.zeros(kernels, out_channels))
        # Coefficients start at 1/E, which divides the variance of the mean of E kernels by E: undo that here.
        nn.init.normal_(self.bank, std=math.sqrt(2.0 * kernels / taps))

    def assemble(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes the bank.

        Args:
            coefficients: (B, out_channels, E).

        Returns:
            Kernels (B, out_channels, in_channels, k, k) and biases (B, out_channels).
        """
        kernels = torch.einsum("bce,ect->bct", coefficients, self.bank)
        biases = torch.einsum("bce,ec->bc", coefficients, self.bias)
        shape = (
            coefficients.shape[0],
            self.out_channels,
            self.in_channels,
            self.kernel_size,
            self.kernel_size,
        )
        return kernels.reshape(shape), biases

    def forward(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Convolves each sample with its own kernels.

        Args:
            x: (B, in_channels, H, W).
            coefficients: (B, out_channels, E, h, w), or one set (1, ...) to share over the batch. Above h = w = 1 they
                are a map over the frame, interpolated to the size of `x`.

        Returns:
            (B, out_channels, H, W).
        """
        if coefficients.shape[-2:] != (1, 1):
            return self.mix_outputs(x, coefficients)
        kernels, biases = self.assemble(coefficients[..., 0, 0])
        padding = self.kernel_size // 2
        if kernels.shape[0] == 1:
            return F.conv2d(x, kernels[0], biases[0], padding=padding)
        batch, _, height, width = x.shape
        # The batch as groups: one call runs B different dense convolutions.
        y = F.conv2d(
            x.reshape(1, batch * self.in_channels, height, width),
            kernels.flatten(0, 1),
            biases.flatten(),
            padding=padding,
            groups=batch,
        )
        return y.reshape(batch, self.out_channels, height, width)

    def mix_outputs(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """``sum_i c_i (k_i * x)``, which equals mixing kernels and lets the coefficients vary over the frame.

        Arguments and result are those of `forward`.
        """
        shape = (self.kernels, self.out_channels, self.in_channels, self.kernel_size, self.kernel_size)
        y = x.new_zeros(())
        # One kernel after the other: E outputs at once would take E times the memory of a frame.
        for index, (kernel, bias) in enumerate(zip(self.bank.reshape(shape), self.bias, strict=True)):
            weight = coefficients[:, :, index]
            if weight.shape[-2:] != (1, 1):
                weight = F.interpolate(weight, x.shape[-2:], mode="bilinear", align_corners=False)
            y = y + weight * F.conv2d(x, kernel, bias, padding=self.kernel_size // 2)
        return y

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernels={self.kernels}, kernel_size={self.kernel_size}"
