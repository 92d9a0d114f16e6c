"""What conditions a network that takes semantic embeddings: an encoder's view of the frame, or a control."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch

from scene.enhance.colour import picture_rgb, plane_scales
from scene.enhance.device import resolve_device
from scene.errors import CheckpointError, InputError, UsageError
from scene.picture import Picture

if TYPE_CHECKING:
    from scene.model import Network
    from scene.model.semantics import Conditioner

AUTO = "auto"


def embed_picture(conditioner: Conditioner, network: Network, picture: Picture, device: torch.device) -> torch.Tensor:
    """The embedding of one picture, or the control in its place, (1, D, h, w) on the device."""
    if conditioner.encoder is None:
        references = network.references.cpu()
        # A picture's own samples decide, so that the same picture gets the same control.
        key = zlib.crc32(np.ascontiguousarray(picture.planes[0]).tobytes())
        return conditioner.substitute(references[:1], references, [key]).to(device)
    return conditioner.embed(network, picture_to_rgb(picture, device))


def open_conditioner(network: Network, choice: str = AUTO, *, device: str = "auto") -> Conditioner:
    """What conditions a network whose `guidance` is "embedding".

    Args:
        network: it says which encoder it was trained with.
        choice: "auto" takes that encoder, or the control that stood in for it; "none", "constant", "random" and
            "shuffled" are the controls of `scene.model.controls`; anything else is an encoder that
            `scene.model.semantics.load_encoder` takes, of the same embedding width, such as a student of the teacher
            that the network was trained with.
        device: "auto", "cpu" or "cuda".

    Raises:
        UsageError: the encoder is unknown or of another width.
        InputError, CheckpointError, MissingError: the encoder is missing, damaged, or another one than in training.
    """
    from scene.model.semantics import Conditioner, Control, load_encoder

    trained = network.semantics
    control: Control = "embedding"
    if choice == AUTO:
        if trained is None:
            raise CheckpointError(
                f"model {network.identity} does not say which semantic encoder it was trained with; name it with"
                " `semantics`"
            )
        control, name = trained.control, trained.encoder
    elif choice in get_args(Control) and choice != "embedding":
        control, name = choice, ""  # type: ignore[assignment]
    else:
        name = choice
    if control != "embedding":
        return Conditioner(None, control, f"control:{control}")
    try:
        encoder = load_encoder(name, resolve_device(device))
    except (UsageError, InputError) as error:
        if choice != AUTO:
            raise
        raise InputError(
            f"model {network.identity} was trained with the semantic encoder {name!r}, which is not here ({error});"
            " name where it is with `semantics`"
        ) from error
    if choice == AUTO and trained is not None and encoder.identity != trained.identity:
        raise CheckpointError(
            f"model {network.identity} was trained with the semantic encoder {trained.identity}, and {name!r} is now"
            f" {encoder.identity}; name the right one with `semantics`"
        )
    if encoder.width != network.config.embedding_width:
        raise UsageError(
            f"semantic encoder {encoder.identity} gives {encoder.width} numbers, and model {network.identity} takes"
            f" {network.config.embedding_width}"
        )
    return Conditioner(encoder, control, encoder.identity)


def picture_to_rgb(picture: Picture, device: torch.device) -> torch.Tensor:
    """A whole picture as full-range R'G'B' (1, 3, H, W)."""
    studio = [
        scale.to_studio(torch.from_numpy(np.ascontiguousarray(plane)).to(device)[None, None])
        for scale, plane in zip(plane_scales(picture.format), picture.planes, strict=True)
    ]
    return picture_rgb(studio, picture.format)
