"""How well a map of importance agrees with a mask of what is important."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

_THRESHOLDS = 64


@dataclass(frozen=True, slots=True)
class MapAgreement:
    """Maps against masks.

    Attributes:
        auc: how often a sample inside has a higher value than one outside of the same picture (area under the receiver
            operating characteristic), 0.5 for a guess; the mean over pictures.
        iou: intersection over union of mask and map at the threshold that is best for all pictures together.
    """

    auc: float
    iou: float


def map_agreement(pairs: Sequence[tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]]) -> MapAgreement:
    """Compares maps with masks of the same size; pictures that are all inside or all outside do not count.

    Args:
        pairs: (map, mask) of each picture, (H, W); maps are on one scale.

    Raises:
        ValueError: no picture counts.
    """
    pairs = [(found, mask) for found, mask in pairs if mask.any() and not mask.all()]
    if not pairs:
        raise ValueError("no picture has an inside and an outside")
    values = np.concatenate([found.ravel() for found, _ in pairs]).astype(np.float64)
    inside = np.concatenate([mask.ravel() for _, mask in pairs])
    best = 0.0
    for threshold in np.quantile(values, np.linspace(0, 1, _THRESHOLDS, endpoint=False)):
        chosen = values >= threshold
        best = max(best, float((chosen & inside).sum() / (chosen | inside).sum()))
    return MapAgreement(float(np.mean([_auc(found, mask) for found, mask in pairs])), best)


def _auc(found: npt.NDArray[np.generic], mask: npt.NDArray[np.bool_]) -> float:
    """By ranks (Mann and Whitney); equal values count a half."""
    ranks = rankdata(found.ravel())
    inside = mask.ravel()
    within, without = int(inside.sum()), int((~inside).sum())
    return float((ranks[inside].sum() - within * (within + 1) / 2) / (within * without))
