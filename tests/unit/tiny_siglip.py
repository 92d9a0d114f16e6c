"""SigLIP 2 checkpoints in the hub's file format, so small that they are made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from transformers import (
    Siglip2Config,
    Siglip2Model,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

Family = Literal["fixed", "naflex"]

# A side that patches do not divide, as with so400m's 384 and 14.
SIDE, PATCH, GRID = 60, 14, 4
FLEXIBLE_PATCH, MAX_PATCHES = 8, 20


def write_tiny_siglip2(
    folder: Path, family: Family, width: int = 32, *, vision_only: bool = False, seed: int = 0
) -> Path:
    """Writes a randomly initialised checkpoint with two layers; returns its folder.

    Args:
        folder: is made.
        family: "fixed" squashes to 60x60 with 14-pixel patches (4x4 of them), "naflex" makes up to 20 of 8 pixels.
        width: of the embeddings, even.
        vision_only: leave out the text tower and the configuration around both.
        seed: of the weights.
    """
    shape = {"hidden_size": width, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = shape | (
        {"image_size": SIDE, "patch_size": PATCH}
        if family == "fixed"
        else {"num_patches": 16, "patch_size": FLEXIBLE_PATCH}
    )
    text = shape | {"vocab_size": 16, "num_hidden_layers": 1, "bos_token_id": 2, "eos_token_id": 3}
    text |= {"max_position_embeddings": 8, "projection_size": width}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        both = (
            SiglipModel(SiglipConfig(vision_config=vision, text_config=text))
            if family == "fixed"
            else Siglip2Model(Siglip2Config(vision_config=vision, text_config=text))
        )
        # What every fresh tower has in common (zero biases, unit scales) would hide a tensor that is not loaded.
        for parameter in both.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    if vision_only:
        alone = (
            SiglipVisionModel(SiglipVisionConfig(**vision))
            if family == "fixed"
            else Siglip2VisionModel(Siglip2VisionConfig(**vision))
        )
        alone.load_state_dict(both.vision_model.state_dict())
        alone.save_pretrained(folder)
    else:
        both.save_pretrained(folder)
    steps = {"do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True}
    colours = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    own = (
        {"image_processor_type": "SiglipImageProcessor", "size": {"height": SIDE, "width": SIDE}}
        if family == "fixed"
        else {
            "image_processor_type": "Siglip2ImageProcessor",
            "max_num_patches": MAX_PATCHES,
            "patch_size": FLEXIBLE_PATCH,
        }
    )
    settings = steps | colours | own | {"resample": 2, "rescale_factor": 0.00392156862745098}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return folder
