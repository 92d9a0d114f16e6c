"""The network of a run, and what steers it on the frames of a run."""

from __future__ import annotations

from dataclasses import replace

import torch

from scene.measure.cache import default_cache_folder
from scene.model import Network, Semantics, build_network
from scene.model.semantics import SemanticEncoder, load_encoder
from scene.progress import OnProgress, silent
from scene.training.config import TrainingConfig
from scene.training.data.embedding_table import EmbeddingTable
from scene.training.data.embeddings import compute_embeddings
from scene.training.data.frames import FrameSource
from scene.training.distributed import Processes
from scene.training.steering import Steering, set_references


def build(config: TrainingConfig, device: torch.device) -> tuple[Network, SemanticEncoder | None]:
    """The untrained network, and the encoder whose embeddings steer it, if any."""
    if config.network.guidance == "features":
        return build_network(config.network, seed=config.run.seed).to(device), None
    encoder = load_encoder(config.semantics.encoder, device)
    network = build_network(replace(config.network, embedding_width=encoder.width), seed=config.run.seed)
    network.semantics = Semantics(config.semantics.encoder, encoder.identity, config.semantics.control)
    return network.to(device), encoder


def steer(
    config: TrainingConfig,
    network: Network,
    encoder: SemanticEncoder | None,
    source: FrameSource,
    held_out: FrameSource | None,
    processes: Processes,
    on_progress: OnProgress,
) -> tuple[Steering | None, Steering | None]:
    """What steers the network on the training and on the held-out frames."""
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
    steerings = [Steering(rows, network.references, config.semantics.control, salt) for salt, rows in enumerate(tables)]
    return steerings[0], steerings[1] if len(steerings) > 1 else None
