"""Controls: embeddings that carry no meaning, to tell what meaning gives from what the extra parameters give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Control = Literal["embedding", "none", "constant", "random", "shuffled"]


def control_embeddings(control: Control, embeddings: Tensor, references: Tensor, keys: Sequence[int]) -> Tensor:
    """Puts a control in the place of embeddings.

    Args:
        control: "embedding" changes nothing. "none" is the mean of the references, which a network subtracts: its
            first block is then conditioned by biases alone. "constant" is the first reference for every picture.
            "random" is Gaussian with the references' mean and deviation in each dimension, drawn by key. "shuffled"
            is one of the references, drawn by key: a real embedding of some other picture.
        embeddings: (B, D, h, w).
        references: (R, D, h, w), embeddings of training pictures.
        keys: B whole numbers; one picture has one key, so that its control stays the same.

    Returns:
        (B, D, h, w).
    """
    if control == "embedding":
        return embeddings
    if control == "none":
        return references.mean(dim=(0, 2, 3), keepdim=True).expand_as(embeddings)
    if control == "constant":
        return references[:1].expand_as(embeddings)
    # Torch's generator on the CPU looks at 32 bits of a seed.
    generators = [torch.Generator().manual_seed(key % 2**32) for key in keys]
    if control == "shuffled":
        picks = [int(torch.randint(len(references), (), generator=generator)) for generator in generators]
        return references[picks]
    mean, deviation = references.mean(dim=0), references.std(dim=0)
    noise = torch.stack([torch.randn(mean.shape, generator=generator) for generator in generators])
    return mean + deviation * noise.to(mean)
