"""Semantic encoders, which condition a network's first block, and the controls that stand in for them."""

from scene.model.controls import Control, control_embeddings
from scene.model.semantics.conditioner import Conditioner
from scene.model.semantics.encoder import SemanticEncoder, unit_mean_square
from scene.model.semantics.loading import encoder_names, load_encoder

__all__ = [
    "Conditioner",
    "Control",
    "SemanticEncoder",
    "control_embeddings",
    "encoder_names",
    "load_encoder",
    "unit_mean_square",
]
