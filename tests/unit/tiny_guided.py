"""A small network that is conditioned on embeddings, a student that counts its calls, and pictures for both."""

from __future__ import annotations

import numpy as np
import torch

from scene.enhance import Enhancer
from scene.model import Network, NetworkConfig, build_network
from scene.model.semantics.conditioner import Conditioner
from scene.model.semantics.student import StudentConfig, StudentEncoder
from scene.picture import Picture, PictureFormat

WIDTH = 12
SMALL = StudentConfig(width=WIDTH, side=32, channels=(4, 4, 8, 8), blocks=(0, 0, 1), hidden=8)


def picture(seed: int, size: tuple[int, int] = (48, 64), base: int = 0) -> Picture:
    random = np.random.default_rng(seed)
    fmt = PictureFormat(size[1], size[0])
    low = random.integers(0, 2, (3, 4)) * 150 + 40 + base
    luma = np.kron(low, np.ones((size[0] // 3, size[1] // 4))) + random.integers(-5, 6, size)
    chroma = [random.integers(60, 190, shape).astype(np.uint8) for shape in fmt.plane_shapes[1:]]
    return Picture(fmt, (luma.clip(0, 255).astype(np.uint8), *chroma))


def guided(grid: int = 1, quantiser: tuple[float, float] | None = None) -> Network:
    sizes = {"channels": 8, "embedding_width": WIDTH, "semantic_hidden": 6, "semantic_grid": grid}
    network = build_network(NetworkConfig(planes="luma", **sizes, quantiser=quantiser), seed=1)
    with torch.no_grad():
        network.tail.weight.normal_(std=0.005, generator=torch.Generator().manual_seed(0))
        network.references.normal_(generator=torch.Generator().manual_seed(2))
        # Coefficients that hang on the embedding far more than an untrained network's do.
        network.blocks[0].control.expand.weight.mul_(50)  # type: ignore[union-attr, operator]
    return network


class CountingEncoder(StudentEncoder):
    def __init__(self) -> None:
        super().__init__(SMALL)
        self.eval()
        self.calls = 0

    def forward(self, pictures: torch.Tensor, *, spatial: bool = False) -> torch.Tensor:
        self.calls += len(pictures)
        return super().forward(pictures, spatial=spatial)


def semantic_enhancer(network: Network, encoder: StudentEncoder, interval: int = 30) -> Enhancer:
    return Enhancer(network, device="cpu", semantics=Conditioner(encoder, "embedding", "test"), interval=interval)
