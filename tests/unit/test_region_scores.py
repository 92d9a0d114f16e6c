"""Scores inside and outside a mask against plain formulas and scikit-image's SSIM."""

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from scene.evaluation.visuals.region import region_tint
from scene.metrics.regions import region_scores, ssim_map
from scene.picture import Plane


def pair(depth: int = 8) -> tuple[Plane, Plane]:
    """A part of a photograph, 120x160, and the same with noise that grows to the right."""
    scale = 1 << (depth - 8)
    source = data.camera()[100:220, 150:310].astype(np.float64) * scale
    noise = np.random.default_rng(1).normal(0, 12 * scale, source.shape) * np.linspace(0.1, 1, 160)
    kind = np.uint8 if depth == 8 else np.uint16
    noisy = (source + noise).round().clip(0, (1 << depth) - 1)
    return source.astype(kind), noisy.astype(kind)


def left(share: float = 0.25) -> npt.NDArray[np.uint8]:
    mask = np.zeros((120, 160), np.uint8)
    mask[:, : round(160 * share)] = 255
    return mask


@pytest.mark.parametrize("depth", [8, 10])
def test_ssim_is_that_of_scikit_image(depth: int) -> None:
    source, distorted = pair(depth)
    peak = (1 << depth) - 1
    mean, expected = structural_similarity(
        *(source.astype(np.float64), distorted.astype(np.float64)),
        data_range=peak,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    found = ssim_map(source.astype(np.float32), distorted.astype(np.float32), peak)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    # scikit-image leaves a border out of its mean.
    assert found[5:-5, 5:-5].mean() == pytest.approx(mean, abs=1e-5)


def plain(source: Plane, distorted: Plane, weight: npt.NDArray[np.float64], peak: int) -> float:
    """PSNR under weights, sample by sample."""
    error = total = 0.0
    for x, y, w in zip(source.ravel().tolist(), distorted.ravel().tolist(), weight.ravel().tolist(), strict=True):
        error += w * (x - y) ** 2
        total += w
    return 10 * math.log10(peak**2 / (error / total))


@pytest.mark.parametrize("depth", [8, 10])
def test_samples_count_as_much_as_the_mask_says(depth: int) -> None:
    source, distorted = pair(depth)
    mask = cv2.GaussianBlur(left(), (0, 0), 4)
    scores = region_scores([(source, distorted, mask)], depth)
    inside, peak = mask / 255.0, (1 << depth) - 1
    assert scores.psnr_inside == pytest.approx(plain(source, distorted, inside, peak), abs=1e-4)
    assert scores.psnr_outside == pytest.approx(plain(source, distorted, 1 - inside, peak), abs=1e-4)
    similarity = ssim_map(source.astype(np.float32), distorted.astype(np.float32), peak)
    assert scores.ssim_inside == pytest.approx((similarity * inside).sum() / inside.sum(), abs=1e-6)
    assert scores.ssim_outside == pytest.approx((similarity * (1 - inside)).sum() / (1 - inside).sum(), abs=1e-6)
    assert scores.ssim_whole == pytest.approx(similarity.mean(), abs=1e-6)
    # The noise grows to the right.
    assert scores.psnr_inside > scores.psnr_outside + 3


def test_frames_without_a_region_do_not_count_for_it() -> None:
    source, distorted = pair()
    none, all_of_it = np.zeros_like(source), np.full_like(source, 255)
    seen = region_scores([(source, distorted, left())], 8)
    mixed = region_scores([(source, distorted, left()), (source, distorted, none)], 8)
    assert (mixed.psnr_inside, mixed.ssim_inside) == (seen.psnr_inside, seen.ssim_inside)
    whole = region_scores([(source, distorted, none)], 8)
    assert whole.psnr_inside is None and whole.ssim_inside is None
    assert whole.ssim_outside == pytest.approx(whole.ssim_whole)
    assert region_scores([(source, distorted, all_of_it)], 8).psnr_outside is None


def test_psnr_of_identical_pictures_is_capped() -> None:
    source, _ = pair()
    assert region_scores([(source, source, left())], 8).psnr_inside == 60


def test_a_tint_has_the_colour_inside_and_nothing_outside() -> None:
    tint = cv2.imdecode(np.frombuffer(region_tint(left()), np.uint8), cv2.IMREAD_UNCHANGED)
    alpha = tint[:, :, 3]
    assert alpha[:, 40:].max() == 0
    assert set(np.unique(alpha[:, :40])) == {88, 255}
    assert (alpha[10:-10, 39] == 255).all() and (alpha[10:-10, 5:35] == 88).all()
