"""Maps that know nothing of a picture, or of another place of it: what a map that claims to know must beat."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from scene.picture import Plane

# Of the picture's sides: how far from the middle a photographer's subject is taken to reach.
_CENTRE_SIGMA = 0.25
_BLOB_SIGMA = 0.08
_PRIOR_FLOOR = 0.5


@functools.lru_cache(maxsize=4)
def centre_map(width: int, height: int) -> Plane:
    """What is in the middle matters: a Gaussian, (H, W)."""
    columns = np.exp(-((np.linspace(-0.5, 0.5, width) / _CENTRE_SIGMA) ** 2) / 2)
    rows = np.exp(-((np.linspace(-0.5, 0.5, height) / _CENTRE_SIGMA) ** 2) / 2)
    return (255 * np.outer(rows, columns)).round().astype(np.uint8)


def with_prior(found: Plane) -> Plane:
    """What an encoder found, (H, W), held against where subjects tend to be, and with less in between.

    A place in the middle keeps what it has, one at the edge a third of it; the square of this leaves what is hardly
    important unimportant. Both were chosen on three sequences with masks, docs/labbook.md.
    """
    height, width = found.shape
    weighted = found / 255 * (centre_map(width, height) / 255 + _PRIOR_FLOOR) / (1 + _PRIOR_FLOOR)
    return (255 * weighted**2).round().astype(np.uint8)


def random_map(width: int, height: int, share: float, seed: int) -> Plane:
    """Blobs at places that a seed chooses, (H, W), which cover a share of the picture."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), _BLOB_SIGMA * width, borderType=cv2.BORDER_REFLECT)
    return np.where(smooth > np.quantile(smooth, 1 - share), 255, 0).astype(np.uint8)


def moved_map(importance: Plane) -> Plane:
    """The same shapes in the wrong place: half a picture further in both directions, around its edges."""
    height, width = importance.shape
    return np.roll(importance, (height // 2, width // 2), (0, 1))
