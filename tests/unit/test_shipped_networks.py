"""The networks that come with the package: what holds of them whatever their weights."""

import numpy as np
import pytest
from skimage import data as photographs

from scene.enhance import Enhancer
from scene.enhance.calibrated import calibration_for
from scene.model import load_model, model_names
from scene.picture import Picture, PictureFormat
from scene.video.encoders import find_encoder

SIDE = 160


@pytest.fixture(scope="module")
def photograph() -> Picture:
    """A part of a photograph that no training has seen, as luma of limited range with neutral chroma."""
    luma = (16 + photographs.camera()[100 : 100 + SIDE, 150 : 150 + SIDE] * (219 / 255)).round().astype(np.uint8)
    neutral = np.full((SIDE // 2, SIDE // 2), 128, np.uint8)
    return Picture(PictureFormat(SIDE, SIDE), (luma, neutral, neutral))


def luma_change(name: str, picture: Picture, strength: float, step: float) -> np.ndarray:
    network = load_model(name)
    calibration = calibration_for(network, find_encoder("x264"))
    enhancer = Enhancer(network, strength=strength, calibration=calibration, step=step, device="cpu")
    [changed] = enhancer([picture])
    assert all(np.array_equal(a, b) for a, b in zip(picture.planes[1:], changed.planes[1:], strict=True))
    return changed.planes[0].astype(int) - picture.planes[0].astype(int)


@pytest.mark.parametrize("name", model_names())
def test_more_strength_is_more_change_and_none_is_none(name: str, photograph: Picture) -> None:
    changes = [luma_change(name, photograph, strength, 20.0) for strength in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert not changes[0].any()
    means = [float(np.abs(change).mean()) for change in changes]
    assert means == sorted(means)
    assert 0.2 < means[-1] < 8.0
    # The same change, only more of it.
    for strength, change in zip((0.25, 0.5, 0.75), changes[1:], strict=False):
        assert np.abs(change - strength * changes[-1]).max() <= 1


@pytest.mark.parametrize("name", model_names())
def test_neither_brightness_nor_contrast_runs_away(name: str, photograph: Picture) -> None:
    luma = photograph.planes[0].astype(float)
    for step in (6.0, 20.0, 60.0):
        changed = luma + luma_change(name, photograph, 1.0, step)
        assert abs(changed.mean() - luma.mean()) < 2.0
        assert 0.98 < changed.std() / luma.std() < 1.10
        # A network that works on a picture's 2x2 phases may draw a pattern of its own with them.
        means = [(changed - luma)[row::2, column::2].mean() for row in (0, 1) for column in (0, 1)]
        assert max(means) - min(means) < 2.0
