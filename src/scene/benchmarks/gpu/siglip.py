"""How long an embedding takes of a tower as large as SigLIP 2's, whose weights are not at hand everywhere."""

from __future__ import annotations

import torch

from scene.benchmarks.gpu.record import Figures, LeftOut
from scene.benchmarks.gpu.timing import time_on
from scene.benchmarks.semantics import SHOT_FRAMES
from scene.enhance.colour import picture_rgb, plane_scales
from scene.picture import Picture

SO400M = "SigLIP 2 So400M, random weights"
_LAYERS = 27


def bench_siglip2_shape(picture: Picture, device: torch.device, *, layers: int = _LAYERS) -> Figures:
    """Times the embedding of one picture by a tower of So400M's shape (patches of 14, 384 a side) with random weights.

    Weights and arithmetic are bfloat16 on a GPU, as `load_siglip2` has them, else float32.

    Args:
        picture: 8-bit 4:2:0, in memory.
        layers: of the tower; So400M has 27.

    Returns:
        Milliseconds of one embedding from the planes on, which by default a shot has once; and of a frame of a shot of
        `frames`.

    Raises:
        LeftOut: transformers is not installed.
    """
    try:
        from transformers import SiglipVisionConfig, SiglipVisionModel
    except ImportError:
        raise LeftOut("transformers is not installed") from None
    from scene.model.semantics.siglip import Preprocessing, SigLip2Encoder

    config = SiglipVisionConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=layers,
        num_attention_heads=16,
        image_size=384,
        patch_size=14,
    )
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(14, False, 384, "bilinear", 1.0, half, half)
    with torch.device(device):
        tower = SiglipVisionModel(config)
    tower.to(torch.bfloat16 if device.type == "cuda" else torch.float32)
    encoder = SigLip2Encoder(tower, preprocessing, config.hidden_size, SO400M).to(device)

    def work() -> torch.Tensor:
        planes = (torch.from_numpy(plane).to(device)[None, None] for plane in picture.planes)
        scales = plane_scales(picture.format)
        studio = [scale.to_studio(plane) for scale, plane in zip(scales, planes, strict=True)]
        embedding: torch.Tensor = encoder(picture_rgb(studio, picture.format))
        return embedding

    with torch.inference_mode():
        timing = time_on(device, work)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    figures = {"ms": timing.ms, "repeats": timing.repeats, "parameters": parameters}
    return {**figures, "frames": SHOT_FRAMES, "ms_a_frame": timing.ms / SHOT_FRAMES}
