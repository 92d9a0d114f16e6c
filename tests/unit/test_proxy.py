"""The differentiable JPEG against the real one, and its gradients."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from scene.errors import UsageError
from scene.proxy import JpegProxy, quality_to_step
from scene.proxy.blocks import dct_matrix

QUALITIES = (10, 25, 50, 75, 90)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [photographs.astronaut()[:320, 100:420], photographs.coffee()[:320, 140:460], photographs.cat()[:288, :320]]


def real_jpeg(picture: np.ndarray, quality: int) -> tuple[np.ndarray, int]:
    """Decoded pixels, and bits without the headers and tables that a 8x8 file also has."""
    buffers = []
    for content in (picture, np.full((8, 8, *picture.shape[2:]), 128, np.uint8)):
        buffer = io.BytesIO()
        Image.fromarray(content).save(buffer, "JPEG", quality=quality, subsampling=2, optimize=True)
        buffers.append(buffer)
    decoded = np.asarray(Image.open(buffers[0])).astype(np.float64)
    return decoded, 8 * (len(buffers[0].getvalue()) - len(buffers[1].getvalue()))


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(picture.copy()).float() / 255.0
    return tensor[None, None] if picture.ndim == 2 else tensor.permute(2, 0, 1)[None]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255.0**2 / np.mean((a - b) ** 2)))


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("quality", QUALITIES)
def test_decoded_frames_are_those_of_a_real_jpeg(pictures: list[np.ndarray], colour: bool, quality: int) -> None:
    proxy = JpegProxy()
    for picture in pictures:
        content = picture if colour else np.asarray(Image.fromarray(picture).convert("L"))
        decoded, _ = real_jpeg(content, quality)
        ours = proxy(as_tensor(content), torch.tensor([quality_to_step(quality)])).decoded[0].permute(1, 2, 0) * 255
        ours = ours.numpy().squeeze()
        # Nearer to the real decoder than that is to the source by far: the tables' rounding to integers remains.
        assert psnr(ours, decoded) > 35.0
        assert psnr(ours, decoded) > psnr(content.astype(np.float64), decoded) + 3.0


@pytest.mark.parametrize("quality", QUALITIES)
def test_bits_are_those_of_a_real_jpeg_within_a_quarter(pictures: list[np.ndarray], quality: int) -> None:
    ratios = []
    for picture in pictures:
        for content in (picture, np.asarray(Image.fromarray(picture).convert("L"))):
            _, bits = real_jpeg(content, quality)
            step = torch.tensor([quality_to_step(quality)])
            estimate = JpegProxy()(as_tensor(content), step).bits_per_pixel
            ratios.append(float(estimate) * content.shape[0] * content.shape[1] / bits)
    assert abs(np.mean(ratios) - 1.0) < 0.15
    assert np.max(np.abs(np.array(ratios) - 1.0)) < 0.35


def test_coarser_steps_cost_fewer_bits_and_more_error(pictures: list[np.ndarray]) -> None:
    frames = as_tensor(pictures[0]).expand(5, -1, -1, -1)
    steps = torch.tensor([4.0, 8.0, 16.0, 32.0, 64.0])
    out = JpegProxy("flat", rounding=1 / 3)(frames, steps)
    errors = (out.decoded - frames).square().mean(dim=(1, 2, 3))
    assert (out.bits_per_pixel.diff() < 0).all()
    assert (errors.diff() > 0).all()


def test_each_sample_has_its_own_step(pictures: list[np.ndarray]) -> None:
    frames = as_tensor(pictures[1])
    proxy = JpegProxy("flat")
    together = proxy(frames.expand(2, -1, -1, -1), torch.tensor([8.0, 40.0]))
    for index, step in enumerate((8.0, 40.0)):
        alone = proxy(frames, torch.tensor([step]))
        torch.testing.assert_close(together.decoded[index], alone.decoded[0])
        torch.testing.assert_close(together.bits_per_pixel[index], alone.bits_per_pixel[0])


def test_a_tiny_step_returns_the_luma_almost_unchanged(pictures: list[np.ndarray]) -> None:
    luma = as_tensor(pictures[0])[:, :1]
    decoded = JpegProxy("flat")(luma, torch.tensor([0.01])).decoded
    assert (decoded - luma).abs().max() < 1e-3


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (64, 40)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_range(size: tuple[int, int], channels: int) -> None:
    out = JpegProxy()(torch.rand(2, channels, *size), torch.tensor([20.0, 30.0]))
    assert out.decoded.shape == (2, channels, *size)
    assert out.bits_per_pixel.shape == (2,)
    assert 0.0 <= float(out.decoded.min()) <= float(out.decoded.max()) <= 1.0


def basis_picture(amplitude: float) -> torch.Tensor:
    """One 8x8 block with a single DCT coefficient (row 2, column 3) of the given value, around mid grey."""
    dct = dct_matrix()
    coefficients = torch.zeros(8, 8)
    coefficients[2, 3] = amplitude
    return ((dct.T @ coefficients @ dct + 128.0) / 255.0)[None, None]


def rate_gradient(amplitude: float, smoothing: float = 1.0) -> float:
    """Change of bits per pixel with the amplitude of the block's only coefficient; the step is 20."""
    value = torch.tensor(amplitude, requires_grad=True)
    proxy = JpegProxy("flat", rounding=1 / 3, smoothing=smoothing)
    picture = basis_picture(1.0) - 128.0 / 255.0
    proxy(128.0 / 255.0 + picture * value, torch.tensor([20.0])).bits_per_pixel.sum().backward()
    assert value.grad is not None
    return float(value.grad)


def test_the_rate_has_a_gradient_where_levels_round_to_zero() -> None:
    # 0.5 of a step rounds to zero with an offset of 1/3, yet more of it means more bits.
    assert rate_gradient(10.0) > 0.0
    assert rate_gradient(30.0) > 0.0


def test_the_rates_gradient_is_off_deep_inside_the_dead_zone() -> None:
    # The dead zone reaches to 2/3 of a step; noise of half a step to each side cannot carry 0.1 of one out of it.
    assert abs(rate_gradient(2.0)) < 1e-3 * rate_gradient(10.0)


def test_narrow_smoothing_leaves_a_gradient_near_thresholds_only() -> None:
    # Thresholds at 2/3 and 5/3 of a step, that is 13.3 and 33.3; noise of 0.1 step to each side.
    near = [rate_gradient(a, smoothing=0.2) for a in (12.0, 14.0, 32.0, 34.5)]
    far = [rate_gradient(a, smoothing=0.2) for a in (10.0, 20.0, 28.0)]
    assert min(near) > 0
    assert max(map(abs, far)) < 1e-3 * min(near)
    # From 0 to 1 costs log2(2), from 1 to 2 log2(3/2).
    assert near[2] / near[1] == pytest.approx(np.log2(1.5), rel=1e-3)


def test_smoothed_gradients_add_up_to_the_true_change() -> None:
    """Over a whole level the mean gradient is the difference that hard rounding makes, whatever the smoothing."""
    # From between two thresholds to between two others; at levels 1 to 3 one unit of log2 costs the same.
    amplitudes = np.linspace(70 / 3, 190 / 3, 201)
    proxy, step = JpegProxy("flat", rounding=1 / 3), torch.tensor([20.0])
    one, three = (float(proxy(basis_picture(a), step).bits_per_pixel) for a in (20.0, 60.0))
    for smoothing in (1.0, 0.4):
        mean = np.mean([rate_gradient(float(a), smoothing) for a in amplitudes])
        assert mean * 40.0 == pytest.approx(three - one, rel=0.03)


def test_levels_round_as_x264_does() -> None:
    proxy = JpegProxy("flat", rounding=1 / 3)
    for amplitude, level in ((12.0, 0), (14.0, 1), (33.0, 1), (34.0, 2)):
        decoded = proxy(basis_picture(amplitude), torch.tensor([20.0])).decoded
        torch.testing.assert_close(decoded, basis_picture(20.0 * level), atol=1e-4, rtol=0)


def test_the_mean_brightness_costs_nothing_beyond_the_first_block() -> None:
    """Only DC differences are coded; otherwise the rate would reward pulling pictures towards grey."""
    bright = JpegProxy("flat")(torch.full((1, 1, 64, 64), 0.9), torch.tensor([10.0])).bits_per_pixel
    textured = JpegProxy("flat")(torch.rand(1, 1, 64, 64), torch.tensor([10.0])).bits_per_pixel
    assert bright < 0.01 * textured


def test_the_straight_through_gradient_is_that_of_the_identity() -> None:
    frames = torch.rand(1, 1, 32, 32) * 0.5 + 0.25
    frames.requires_grad_()
    weights = torch.randn(1, 1, 32, 32)
    proxy = JpegProxy("flat", rounding=0.5)
    (proxy(frames, torch.tensor([4.0])).decoded * weights).sum().backward()
    torch.testing.assert_close(frames.grad, weights, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"tables": "x"}, {"rounding": 0.0}, {"rounding": 0.7}, {"smoothing": 0.0}, {"smoothing": 1.5}]
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        JpegProxy(**wrong)  # type: ignore[arg-type]
