"""The network as a function on pictures.

What a network changes is added to the source as a whole number of codes, so that samples which it leaves
alone are the source's own in every format, and an identity network is a bit-exact bypass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F

from scene.enhance.colour import (
    add_code_delta,
    chroma_scale,
    luma_scale,
    pad_to_multiple,
    rgb_delta_to_studio,
    studio_to_rgb,
    subsample_chroma,
    upsample_chroma,
)
from scene.errors import InputError, MissingError, UsageError
from scene.picture import Picture, PictureFormat, Plane

if TYPE_CHECKING:
    from scene.model import Network


def resolve_device(name: str) -> torch.device:
    """The torch device of "auto" (a GPU where there is one), "cpu" or "cuda".

    Raises:
        UsageError: the name is none of these.
        MissingError: "cuda" is asked for and this machine has none.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"device {name!r} is unknown; choose auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError("no CUDA device is available to this torch; use --device auto or cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


class Enhancer:
    """Runs a network over pictures: out = clip(in + round(strength * (network(x) - x) * scale)), in codes.

    Args:
        network: of `scene.model`; it is moved to the device and set to evaluation.
        strength: how much of the network's change to apply; 0 never calls it, values above 1 exaggerate.
        device: "auto", "cpu" or "cuda".

    Raises:
        UsageError: the strength is negative or not finite, the device is unknown, or the network needs embeddings.
        MissingError: the device is not on this machine.
    """

    def __init__(self, network: Network, *, strength: float = 1.0, device: str = "auto") -> None:
        if not math.isfinite(strength) or strength < 0:
            raise UsageError(f"strength {strength} makes no sense; give 0 (no change) to about 2.")
        if network.config.guidance == "embedding":
            raise UsageError(f"model {network.identity} needs semantic embeddings, which are not available yet.")
        self.device = resolve_device(device)
        self.strength = strength
        self.identity = network.identity
        # Pictures a call that keep the device busy; more only costs memory and delay.
        self.batch = 4 if self.device.type == "cuda" else 1
        self._planes = network.config.planes
        self._network = network.eval().to(self.device)

    def check(self, fmt: PictureFormat) -> None:
        """Raises InputError or UsageError if this network cannot enhance pictures of this format."""
        if fmt.matrix == "rgb":
            raise InputError("RGB video is not supported yet; convert the source to YUV first.")
        if self._planes == "yuv420" and fmt.chroma != "420":
            raise UsageError(f"this model takes 4:2:0 video only, and the source is {_chroma_name(fmt)}.")

    def __call__(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Enhances a batch of pictures of one format and gives as many, in order, of the same format.

        Planes that the network does not touch (chroma under a luma network) are the input's own arrays.

        Raises:
            UsageError, InputError: see `check`.
        """
        if not pictures or self.strength == 0:
            return list(pictures)
        fmt = pictures[0].format
        if any(picture.format != fmt for picture in pictures):
            raise ValueError("all pictures of a batch must have one format")
        self.check(fmt)
        with torch.inference_mode():
            changed = self._changed_planes(pictures, fmt)
        return [
            Picture(fmt, (*(plane[index] for plane in changed), *picture.planes[len(changed) :]))
            for index, picture in enumerate(pictures)
        ]

    def _changed_planes(self, pictures: Sequence[Picture], fmt: PictureFormat) -> list[Plane]:
        """The first one or three planes of all pictures after the network, each (N, H, W)."""
        count = 1 if self._planes == "luma" or fmt.chroma == "400" else 3
        scales = (luma_scale(fmt), chroma_scale(fmt), chroma_scale(fmt))[:count]
        # Integers cross to the device and become floats there: a quarter of the traffic.
        codes = [
            torch.from_numpy(np.stack([picture.planes[index] for picture in pictures])).to(self.device)[:, None]
            for index in range(count)
        ]
        studio = [scale.to_studio(plane) for scale, plane in zip(scales, codes, strict=True)]
        deltas = self._delta(studio, fmt)
        result: list[Plane] = []
        for plane, delta, scale in zip(codes, deltas, scales, strict=True):
            out = add_code_delta(plane, scale.to_code_delta(delta * self.strength), fmt.bit_depth)
            result.append(cast(Plane, out[:, 0].cpu().numpy()))
        return result

    def _delta(self, studio: list[torch.Tensor], fmt: PictureFormat) -> list[torch.Tensor]:
        """The network's change of each plane on the studio scale, shapes as given."""
        luma = studio[0]
        if self._planes == "luma":
            return [self._network(luma) - luma]
        if self._planes == "yuv420":
            x = torch.cat([F.pixel_unshuffle(pad_to_multiple(luma, 2, 2), 2), *studio[1:]], dim=1)
            delta = self._network(x) - x
            full = F.pixel_shuffle(delta[:, :4], 2)[..., : fmt.height, : fmt.width]
            return [full, delta[:, 4:5], delta[:, 5:6]]
        chroma = None
        if len(studio) == 3:
            cb, cr = (upsample_chroma(plane, fmt.chroma, fmt.height, fmt.width) for plane in studio[1:])
            chroma = (cb, cr)
        x = studio_to_rgb(luma, chroma, fmt.matrix)
        y, cb_delta, cr_delta = rgb_delta_to_studio(self._network(x) - x, fmt.matrix)
        if chroma is None:
            return [y]
        return [y, subsample_chroma(cb_delta, fmt.chroma), subsample_chroma(cr_delta, fmt.chroma)]


def _chroma_name(fmt: PictureFormat) -> str:
    return "grey" if fmt.chroma == "400" else ":".join(fmt.chroma)
