"""The network of a run and what conditions it: embeddings by sequence, cut to a crop, or a control in their place."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from scene.errors import InputError
from scene.files import default_cache_folder
from scene.model import Network, Semantics, build_network
from scene.model.semantics import Conditioner, SemanticEncoder, load_encoder
from scene.progress import OnProgress, silent
from scene.training.config import TrainingConfig
from scene.training.data.crops import Sample
from scene.training.data.embedding_table import EmbeddingTable
from scene.training.data.embeddings import compute_embeddings
from scene.training.data.frames import FrameSource
from scene.training.processes import Processes


class EmbeddingLookup:
    """What conditions the first block for each sample of a batch.

    Args:
        table: embeddings of the source that samples are drawn from, of whole frames.
        references: of the network, (R, D, G, G); see `Network.references`.
        conditioner: whose control, if any, takes the place of embeddings; a sequence keeps its own all through a run.
        salt: 0 or 1, tells apart the controls of sources whose sequences have the same numbers.
    """

    def __init__(self, table: EmbeddingTable, references: Tensor, conditioner: Conditioner, salt: int = 0) -> None:
        self._table = table
        self._references = references.cpu()
        self._conditioner = conditioner
        self._salt = salt

    def __call__(self, batch: Sample, device: torch.device) -> Tensor:
        """Embeddings of a batch, (B, D, G, G) on the device."""
        embeddings = self._table.lookup(batch.sequence.cpu())
        grid = self._references.shape[-1]
        if self._conditioner.control != "embedding":
            # Torch's generators look at the lower 32 bits of a seed alone.
            keys = [int(sequence) + (self._salt << 31) for sequence in batch.sequence]
            embeddings = self._conditioner.substitute(_resample(embeddings, grid), self._references, keys)
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


def build_conditioned(config: TrainingConfig, device: torch.device) -> tuple[Network, SemanticEncoder | None]:
    """The untrained network, and the encoder whose embeddings condition it, if any."""
    if config.network.guidance == "features":
        return build_network(config.network, seed=config.run.seed).to(device), None
    encoder = load_encoder(config.semantics.encoder, device)
    network = build_network(replace(config.network, embedding_width=encoder.width), seed=config.run.seed)
    network.semantics = Semantics(config.semantics.encoder, encoder.identity, config.semantics.control)
    return network.to(device), encoder


def open_lookups(
    config: TrainingConfig,
    network: Network,
    encoder: SemanticEncoder | None,
    source: FrameSource,
    held_out: FrameSource | None,
    processes: Processes,
    on_progress: OnProgress,
) -> tuple[EmbeddingLookup | None, EmbeddingLookup | None]:
    """The embeddings of the training and of the held-out frames, for a network that takes any."""
    if encoder is None:
        return None, None

    def table(frames: FrameSource) -> EmbeddingTable:
        return compute_embeddings(
            frames,
            encoder,
            default_cache_folder() / "embeddings",
            spatial=network.config.semantic_grid > 1,
            device=processes.device,
            on_progress=on_progress if processes.rank == 0 else silent,
        )

    # The first process computes what is missing, the others find it done.
    if processes.rank > 0:
        processes.wait()
    tables = [table(frames) for frames in (source, held_out) if frames is not None]
    if processes.rank == 0:
        processes.wait()
    set_references(network, tables[0])
    conditioner = Conditioner(None, config.semantics.control, "")
    lookups = [EmbeddingLookup(rows, network.references, conditioner, salt) for salt, rows in enumerate(tables)]
    return lookups[0], lookups[1] if len(lookups) > 1 else None
