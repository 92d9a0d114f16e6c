"""Dense motion between pictures as tensors: dense inverse search (Kroeger and others, ECCV 2016) for a GPU.

As in OpenCV, patches of 8x8 samples are searched from coarse to fine by Gauss-Newton steps on their difference less
its mean, and a sample's motion is the mean of its patches', weighted by how well they fit there. All patches of a scale
move at once; in the place of a variational refinement motion is averaged over a square.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_PATCH = 8
_STRIDE = 4
# Gauss-Newton steps at each scale: most patches stand still after half of them.
_STEPS = 8
# After patches have looked at their neighbours' motion: by so much along an axis of the grid.
_LAST_STEPS = 4
_NEIGHBOURS = ((1, -1), (-1, -1), (1, -2), (-1, -2))
# At the coarsest scale the shorter side has at least so many samples.
_COARSEST = 24
# To the diagonal of a patch's Hessian, in squared codes: a flat patch stays where it began.
_FLAT = 1.0
# Side of the square over which motion is averaged, at each scale.
_SMOOTH = 5
# The least difference that counts when patches are weighted, in codes.
_LEAST_DIFFERENCE = 1.0


def estimate(picture: Tensor, other: Tensor) -> Tensor:
    """The motion from one picture to another.

    Args:
        picture, other: (1, 1, h, w), floats on a scale of 255, at least 32 samples a side.

    Returns:
        (1, 2, h, w), horizontal and vertical displacement in samples.
    """
    pyramid = [(picture, other)]
    while min(pyramid[-1][0].shape[-2:]) // 2 >= _COARSEST:
        one, two = pyramid[-1]
        pyramid.append((F.avg_pool2d(one, 2), F.avg_pool2d(two, 2)))
    field = torch.zeros_like(pyramid[-1][0]).repeat(1, 2, 1, 1)
    for one, two in reversed(pyramid):
        field = _search(one, two, _resized(field, one))
    return field


def warp(plane: Tensor, field: Tensor, *, sharp: bool) -> Tensor:
    """A plane (1, 1, H, W) of the other picture, moved to where the first one has its content.

    Beyond the border the last line is repeated.

    Args:
        field: (1, 2, h, w) of `estimate`, of any size.
        sharp: interpolates bicubically, else bilinearly.
    """
    across, down = _grid(plane) + _resized(field, plane)[0]
    return _sample(plane, across[None], down[None], "bicubic" if sharp else "bilinear")


def _resized(field: Tensor, like: Tensor) -> Tensor:
    """Motion in samples of another plane (1, 1, H, W), at each of these: (1, 2, H, W)."""
    rows, columns = field.shape[-2:]
    height, width = like.shape[-2:]
    across, down = F.interpolate(field, (height, width), mode="bilinear", align_corners=False)[0]
    return torch.stack([across * (width / columns), down * (height / rows)])[None]


def _grid(plane: Tensor) -> Tensor:
    """Column and row of every sample of a plane (1, 1, H, W): (2, H, W)."""
    height, width = plane.shape[-2:]
    down, across = torch.meshgrid(
        torch.arange(height, device=plane.device, dtype=plane.dtype),
        torch.arange(width, device=plane.device, dtype=plane.dtype),
        indexing="ij",
    )
    return torch.stack([across, down])


def _search(picture: Tensor, other: Tensor, begin: Tensor) -> Tensor:
    """Better motion at one scale, (1, 2, h, w), from that of `begin`."""
    # Patches reach over the border, where the last line is repeated, so that every sample has four.
    margin = _PATCH - _STRIDE
    height, width = picture.shape[-2:]
    bottom, right = (margin + -size % _STRIDE for size in (height, width))
    padded = F.pad(picture, (margin, right, margin, bottom), mode="replicate")
    # (1, 64, P): the samples of every patch.
    wanted = F.unfold(padded, _PATCH, stride=_STRIDE)
    across = F.unfold(_slope(padded, -1), _PATCH, stride=_STRIDE)
    down = F.unfold(_slope(padded, -2), _PATCH, stride=_STRIDE)
    # The mean of a patch's difference does not count: so neither does that of its slopes.
    across, down = across - across.mean(1, keepdim=True), down - down.mean(1, keepdim=True)
    xx, xy, yy = (across * across).sum(1) + _FLAT, (across * down).sum(1), (down * down).sum(1) + _FLAT
    determinant = xx * yy - xy * xy
    # Column and row in the picture of every sample of every patch, (2, 64, P).
    places = F.unfold(_grid(padded)[:, None] - margin, _PATCH, stride=_STRIDE)
    moves = F.pad(begin, (margin, right, margin, bottom), mode="replicate")
    first = F.unfold(moves, _PATCH, stride=_STRIDE).reshape(1, 2, _PATCH * _PATCH, -1).mean(2)

    def difference_at(moves: Tensor) -> Tensor:
        """Of every patch, (1, 64, P), less its mean; it need not be as bright as in the picture."""
        difference = _at(other, places, moves) - wanted
        return difference - difference.mean(1, keepdim=True)

    def improved(best: Tensor, least: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Motion and cost after so many steps; a step that is none for the better is not taken."""
        current, difference = best, difference_at(best)
        for _ in range(steps):
            bx, by = (across * difference).sum(1), (down * difference).sum(1)
            move = torch.stack([yy * bx - xy * by, xx * by - xy * bx], 1) / determinant[:, None]
            # A patch that runs away from where it began follows something else.
            current = torch.where((current - move - first).abs().amax(1, keepdim=True) <= _PATCH, current - move, best)
            difference = difference_at(current)
            best, least = _cheaper(best, least, current, difference)
        return best, least

    rows, columns = ((size - _PATCH) // _STRIDE + 1 for size in padded.shape[-2:])
    best, least = improved(first, difference_at(first).square().sum(1), _STEPS)
    for shift, axis in _NEIGHBOURS:
        # What is true of a neighbour may be true here.
        moved = best.reshape(1, 2, rows, columns).roll(shift, axis).reshape(1, 2, -1)
        best, least = _cheaper(best, least, moved, difference_at(moved))
    best, least = improved(best, least, _LAST_STEPS)
    weight = 1 / (_at(other, places, best) - wanted).abs().clamp(min=_LEAST_DIFFERENCE)
    size = (int(padded.shape[-2]), int(padded.shape[-1]))
    total = F.fold(weight, size, _PATCH, stride=_STRIDE)
    mean = [F.fold(weight * best[:, axis : axis + 1], size, _PATCH, stride=_STRIDE) / total for axis in (0, 1)]
    field = torch.cat(mean, 1)[..., margin : margin + height, margin : margin + width]
    return F.avg_pool2d(F.pad(field, (_SMOOTH // 2,) * 4, mode="replicate"), _SMOOTH, stride=1)


def _cheaper(best: Tensor, least: Tensor, moves: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
    """Of two motions of every patch the one with the smaller squared difference, and that."""
    cost = difference.square().sum(1)
    better = cost < least
    return torch.where(better[:, None], moves, best), torch.where(better, cost, least)


def _slope(plane: Tensor, axis: int) -> Tensor:
    """Central differences along an axis, of the plane's size."""
    pad = (1, 1, 0, 0) if axis == -1 else (0, 0, 1, 1)
    wide = F.pad(plane, pad, mode="replicate")
    size = plane.shape[axis]
    return (wide.narrow(axis, 2, size) - wide.narrow(axis, 0, size)) / 2


def _at(other: Tensor, places: Tensor, moves: Tensor) -> Tensor:
    """What the other picture has at each patch's samples, (1, 64, P), after its move of (1, 2, P)."""
    return _sample(other, places[0][None] + moves[:, :1], places[1][None] + moves[:, 1:], "bilinear")[:, 0]


def _sample(plane: Tensor, across: Tensor, down: Tensor, mode: str) -> Tensor:
    """(1, 1, H, W) at columns and rows of (1, a, b): (1, 1, a, b)."""
    height, width = plane.shape[-2:]
    grid = torch.stack([across * (2 / (width - 1)) - 1, down * (2 / (height - 1)) - 1], dim=-1)
    return F.grid_sample(plane, grid, mode=mode, padding_mode="border", align_corners=True)
