"""An exported file against what `Enhancer` makes of a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch

from scene.enhance import Enhancer
from scene.errors import VerificationError
from scene.graphs.formats import Run
from scene.model import Network
from scene.model.semantics import Conditioner
from scene.picture import Picture, PictureFormat, Plane

# Top, left, height and width of what is cut out of the photograph; none is of the size that a graph is traced with.
_WINDOWS = ((60, 40, 64, 64), (100, 210, 201, 330), (11, 5, 180, 320))
# Of the pictures, by the network's planes: luma of eight bits is enhanced in whole codes, which a graph does not do.
_DEPTHS = {"rgb": 8, "luma": 10}
# Samples that another order of additions may round to the next code; a few in 100,000 do.
_MOST_APART = 0.01


@dataclass(frozen=True, slots=True)
class GivenEmbedding(Conditioner):
    """Conditions every picture on one embedding, (1, D, G, G)."""

    embedding: torch.Tensor

    def substitute(self, embeddings: torch.Tensor, references: torch.Tensor, keys: Sequence[int]) -> torch.Tensor:
        """The embedding."""
        return self.embedding


def given_embedding(embedding: torch.Tensor) -> GivenEmbedding:
    """The conditioner of one embedding, (1, D, G, G)."""
    return GivenEmbedding(None, "constant", "given", embedding)


def check_run(
    run: Run, enhancer: Enhancer, network: Network, conditions: Sequence[torch.Tensor], *, single: bool
) -> int:
    """Runs an exported file on windows of a photograph, alone and in batches, and compares.

    Args:
        run: of the file.
        enhancer: on the CPU, without a temporal filter, and on the conditions that follow.
        network: of the enhancer.
        conditions: the inputs after the picture; the embedding (1, D, G, G).
        single: whether the file takes one picture at a time only.

    Returns:
        By how many codes, of 10 bits on luma and of 8 bits on R'G'B', a sample is apart at most: 0 or 1.

    Raises:
        VerificationError: it is more, or one sample in a hundred is apart.
    """
    rgb = _photograph()
    white = 255 << (_DEPTHS[network.config.planes] - 8)
    apart = 0
    for count in (1,) if single else (1, 2):
        for top, left, height, width in _WINDOWS:
            # A batch's pictures are next to each other.
            windows = [rgb[top : top + height, left + index : left + index + width] for index in range(count)]
            pictures = [_picture(window, network) for window in windows]
            values = np.stack([_planes(picture) for picture in pictures]).astype(np.float32) / np.float32(white)
            given = [one.expand(count, -1, -1, -1) if one.dim() == 4 else one for one in conditions]
            made = run([values, *(one.contiguous().numpy() for one in given)])
            codes = np.stack([_planes(picture) for picture in enhancer(pictures)])
            if made.shape != codes.shape:
                raise VerificationError(
                    f"the exported file gives {made.shape} for {codes.shape}, so nothing was written."
                )
            difference = abs(np.rint(made.astype(np.float64) * white) - codes)
            where = f"on pictures of {width}x{height}, so nothing was written."
            # Also where it is no number.
            if not difference.max() <= 1:
                raise VerificationError(f"the exported file is {difference.max():g} codes from the model {where}")
            if (share := difference.mean()) > _MOST_APART:
                raise VerificationError(
                    f"the exported file differs from the model in {share:.1%} of the samples {where}"
                )
            apart = max(apart, int(difference.max()))
    return apart


def _photograph() -> npt.NDArray[np.uint8]:
    """(H, W, 3), R'G'B'."""
    content = (resources.files("scene") / "cli" / "pictures" / "coffee.webp").read_bytes()
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return cast(npt.NDArray[np.uint8], decoded[..., ::-1])


def _picture(rgb: npt.NDArray[np.uint8], network: Network) -> Picture:
    """Limited-range grey for a network on luma, else R'G'B'."""
    height, width = rgb.shape[:2]
    if network.config.planes == "rgb":
        fmt = PictureFormat(width, height, 8, "444", full_range=True, matrix="rgb")
        return Picture(fmt, tuple(cast(Plane, np.ascontiguousarray(rgb[..., index])) for index in (1, 2, 0)))
    depth = _DEPTHS["luma"]
    grey = (16 + rgb @ np.array([0.2126, 0.7152, 0.0722]) * 219 / 255) * (1 << (depth - 8))
    return Picture(PictureFormat(width, height, depth, "400"), (np.rint(grey).astype(np.uint16),))


def _planes(picture: Picture) -> npt.NDArray[Any]:
    """(C, H, W) in the graph's order."""
    return np.stack([picture.planes[index] for index in ((2, 0, 1) if len(picture.planes) == 3 else (0,))])
