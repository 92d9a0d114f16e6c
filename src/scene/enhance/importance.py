"""What a semantic encoder says of where it matters, picture by picture along a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from scene.enhance.colour import studio_luma
from scene.enhance.device import resolve_device
from scene.enhance.semantics import picture_to_rgb
from scene.importance.follow import Floats, ImportanceTracker
from scene.importance.priors import with_prior
from scene.options import LOOK_EVERY
from scene.picture import Picture, Plane

if TYPE_CHECKING:
    from scene.model.semantics import SemanticEncoder


def open_importance(name: str | None = None, *, device: str = "auto", interval: int = LOOK_EVERY) -> ImportanceMaps:
    """Maps by a semantic encoder.

    Args:
        name: as of `scene.model.semantics.load_encoder`; None for the one that is shipped.
        device: "auto", "cpu" or "cuda".
        interval: see `ImportanceMaps`.

    Raises:
        UsageError, InputError, CheckpointError, MissingError: see `load_encoder`; the device is missing.
    """
    from scene.model.semantics import encoder_names, load_encoder

    chosen = resolve_device(device)
    return ImportanceMaps(load_encoder(name or encoder_names()[0], chosen), chosen, interval)


class ImportanceMaps:
    """Maps of the pictures of one video, in order; an encoder looks at each shot once, see `ImportanceTracker`.

    Args:
        encoder: on its device.
        device: the encoder's.
        interval: frames between two looks within a shot; 0 for one a shot.
    """

    def __init__(self, encoder: SemanticEncoder, device: torch.device, interval: int = 0) -> None:
        self._encoder = encoder
        self._device = device
        self._tracker = ImportanceTracker(interval)

    def next(self, picture: Picture) -> Plane:
        """The map of the next picture, (h, w) of a small picture's size, from 0 to 255; see `with_prior`."""
        luma = (studio_luma(picture)[0, 0] * 255).round().clamp(0, 255).to(torch.uint8).numpy()
        return with_prior(self._tracker.next(luma, lambda: self._look(picture)))

    def _look(self, picture: Picture) -> Floats:
        with torch.inference_mode():
            found = self._encoder.importance(picture_to_rgb(picture, self._device))
        return cast(Floats, found[0].float().cpu().numpy().astype(np.float32))
