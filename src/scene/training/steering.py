"""Embeddings for training samples: looked up by sequence, cut to the crop's region, or a control in their place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scene.errors import InputError
from scene.model import Network
from scene.model.semantics import Control, control_embeddings
from scene.training.data.crops import Sample
from scene.training.data.embedding_table import EmbeddingTable


class Steering:
    """What steers the first block for each sample of a batch.

    Args:
        table: embeddings of the source that samples are drawn from, of whole frames.
        references: of the network, (R, D, G, G); see `Network.references`.
        control: see `control_embeddings`; a sequence keeps its control all through the run.
        salt: 0 or 1, tells apart the controls of sources whose sequences have the same numbers.
    """

    def __init__(self, table: EmbeddingTable, references: Tensor, control: Control, salt: int = 0) -> None:
        self._table = table
        self._references = references.cpu()
        self._control = control
        self._salt = salt

    def __call__(self, batch: Sample, device: torch.device) -> Tensor:
        """Embeddings of a batch, (B, D, G, G) on the device."""
        embeddings = self._table.lookup(batch.sequence.cpu())
        grid = self._references.shape[-1]
        if self._control != "embedding":
            # torch's generators look at the lower 32 bits of a seed alone.
            keys = [int(sequence) + (self._salt << 31) for sequence in batch.sequence]
            embeddings = control_embeddings(self._control, _resample(embeddings, grid), self._references, keys)
        if grid > 1:
            embeddings = crop_grid(embeddings, batch.region.cpu(), grid)
        return embeddings.to(device)


def set_references(network: Network, table: EmbeddingTable) -> None:
    """Gives a network embeddings evenly spread over a data set; see `Network.references`.

    Raises:
        InputError: not one frame of the data set could be read.
    """
    count, _, grid, _ = network.references.shape
    # A few more than needed, since rows of unreadable frames are zero.
    rows = table.lookup(torch.linspace(0, len(table) - 1, min(len(table), 2 * count)).round().long())
    rows = rows[rows.flatten(1).any(dim=1)]
    if not len(rows):
        raise InputError("no frame of the data set could be read")
    picks = torch.linspace(0, len(rows) - 1, count).round().long()
    network.references.copy_(_resample(rows[picks], grid))


def crop_grid(embeddings: Tensor, region: Tensor, grid: int) -> Tensor:
    """Embeddings over whole frames to embeddings over crops of them.

    Args:
        embeddings: (B, D, h, w).
        region: (B, 4) as in `Sample`.
        grid: rows and columns of the result.

    Returns:
        (B, D, grid, grid), interpolated at the centres of the crop's regions.
    """
    centres = (torch.arange(grid, dtype=region.dtype) + 0.5) / grid
    left, top, right, bottom = region[:, :, None].unbind(dim=1)
    columns, rows = left + (right - left) * centres, top + (bottom - top) * centres
    shape = (len(region), grid, grid)
    points = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], dim=-1) * 2 - 1
    return F.grid_sample(embeddings, points, mode="bilinear", padding_mode="border", align_corners=False)


def _resample(embeddings: Tensor, grid: int) -> Tensor:
    if embeddings.shape[-2:] == (grid, grid):
        return embeddings
    return F.interpolate(embeddings, (grid, grid), mode="bilinear", align_corners=False, antialias=True)
