"""What a semantic encoder says of where it matters, picture by picture along a video."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch

from scene.enhance.device import resolve_device
from scene.enhance.semantics import picture_to_rgb
from scene.importance.follow import Floats, ImportanceTracker
from scene.importance.priors import with_prior
from scene.options import LOOK_EVERY
from scene.picture import Picture, Plane

if TYPE_CHECKING:
    from scene.model.semantics import SemanticEncoder

# SigLIP 2 takes 384 of them, the shipped student 224.
_LINES = 448


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

    def follow(self, shots: Iterable[bool]) -> None:
        """See `ImportanceTracker.follow`."""
        self._tracker.follow(shots)

    def next(self, picture: Picture) -> Plane:
        """The map of the next picture, (h, w) of a small picture's size, from 0 to 255; see `with_prior`."""
        # What moves where can be seen in any range, and in the green of R'G'B' as well.
        plane, depth = picture.planes[0], picture.format.bit_depth
        luma = plane if depth == 8 else (plane >> (depth - 8)).astype(np.uint8)
        return with_prior(self._tracker.next(cast("npt.NDArray[np.uint8]", luma), lambda: self._look(picture)))

    def _look(self, picture: Picture) -> Floats:
        with torch.inference_mode():
            found = self._encoder.importance(picture_to_rgb(_shrunk(picture), self._device))
        return cast(Floats, found[0].float().cpu().numpy().astype(np.float32))


def _shrunk(picture: Picture) -> Picture:
    """A large picture with as many lines as encoders take at most, so that it is not first made floats of full size."""
    fmt = picture.format
    if fmt.height <= _LINES:
        return picture
    small = replace(fmt, width=max(1, round(fmt.width * _LINES / fmt.height)), height=_LINES)
    planes = tuple(
        cast(Plane, cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_AREA))
        for plane, shape in zip(picture.planes, small.plane_shapes, strict=True)
    )
    return Picture(small, planes)
