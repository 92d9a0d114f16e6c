"""Semantic encoders, which steer a network's first block, and the controls that stand in for them."""

from scene.model.semantics.controls import Control, control_embeddings
from scene.model.semantics.encoder import SemanticEncoder, unit_mean_square

__all__ = ["Control", "SemanticEncoder", "control_embeddings", "unit_mean_square"]
