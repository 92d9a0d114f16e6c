"""The region of a side-by-side picture as a tint to lay over it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from scene.errors import SceneError
from scene.evaluation.grid.grid import Grid
from scene.evaluation.visuals.side_by_side import SideBySide
from scene.measure.raw_video import read_lumas
from scene.measure.regions import make_mask
from scene.picture import Plane
from scene.video.ffmpeg import FFmpeg, StoppedError

_log = logging.getLogger(__name__)

# Blue, green, red: orange, which neither skin nor grass nor sky has.
_COLOUR = (0, 96, 255)
_INSIDE_ALPHA, _EDGE_ALPHA = 88, 255


def region_tints(grid: Grid, ffmpeg: FFmpeg, side_by_sides: Sequence[SideBySide]) -> list[bytes | None]:
    """For each side-by-side picture a transparent PNG of its region; None where its clip has no mask.

    Raises:
        StoppedError: the work was given up.
    """
    return [_tint_of(grid, ffmpeg, shown) for shown in side_by_sides]


def region_tint(mask: Plane) -> bytes:
    """A PNG that is transparent outside of a mask, tints what is inside, and draws the line between them.

    Args:
        mask: (H, W), 0 outside and 255 inside.
    """
    inside = mask >= 128
    tint = np.zeros((*mask.shape, 4), np.uint8)
    tint[inside] = (*_COLOUR, _INSIDE_ALPHA)
    edge = inside & (cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    tint[edge] = (*_COLOUR, _EDGE_ALPHA)
    _, png = cv2.imencode(".png", tint)
    return png.tobytes()


def _tint_of(grid: Grid, ffmpeg: FFmpeg, shown: SideBySide) -> bytes | None:
    clip = next(clip for clip in grid.clips if clip.name == shown.clip)
    mask = grid.masks.get(clip.sha256)
    if mask is None:
        return None
    recipe = replace(grid.recipe, frames=shown.frame + 1)
    try:
        with tempfile.TemporaryDirectory(prefix="scene-region-", ignore_cleanup_errors=True) as name:
            *_, last = read_lumas(make_mask(ffmpeg, mask, clip, recipe, Path(name) / "mask.y4m"))
    except StoppedError:
        raise
    except (SceneError, OSError) as error:
        _log.warning("%s: the region cannot be shown (%s)", clip.name, error)
        return None
    return region_tint(last)
