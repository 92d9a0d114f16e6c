"""The codec proxy of several frames: what prediction saves, and where gradients go."""

from __future__ import annotations

import pytest
import torch
from skimage import data as photographs

from scene.errors import UsageError
from scene.proxy import JpegProxy, SequenceProxy, windows
from scene.proxy.blocks import dct_matrix
from scene.proxy.sequence import take

STILL = torch.zeros(1, 2, dtype=torch.int64)


@pytest.fixture(scope="module")
def luma() -> torch.Tensor:
    """Two crops of photographs, (2, 1, 144, 144)."""
    crops = [photographs.astronaut()[50:194, 180:324, 1], photographs.cat()[60:204, 140:284, 1]]
    return torch.stack([torch.from_numpy(crop.copy()).float() / 255.0 for crop in crops])[:, None]


def test_one_frame_is_coded_as_the_present_proxy_does(luma: torch.Tensor) -> None:
    steps = torch.tensor([10.0, 30.0])
    for frames, tables in ((luma, "flat"), (luma.expand(-1, 3, -1, -1), "jpeg")):
        results = []
        for several in (False, True):
            leaf = frames.clone().requires_grad_()
            if several:
                decoded, bits = SequenceProxy(tables, 1 / 3, 0.4)(leaf[:, None], STILL.expand(2, 2), steps)  # type: ignore[arg-type]
                assert decoded.shape[:2] == bits.shape == (2, 1)
                decoded, bits = decoded[:, 0], bits[:, 0]
            else:
                decoded, bits = JpegProxy(tables, 1 / 3, 0.4)(leaf, steps)  # type: ignore[arg-type]
            (decoded.square().mean() + bits.mean()).backward()
            results.append((decoded.detach(), bits.detach(), leaf.grad))
        for ours, theirs in zip(*results, strict=True):
            assert torch.equal(ours, theirs)


def test_the_first_of_several_frames_is_coded_as_one_alone(luma: torch.Tensor) -> None:
    frames = torch.stack([luma, luma.flip(-1)], dim=1)
    steps = torch.tensor([10.0, 30.0])
    several = SequenceProxy("flat", 1 / 3)(frames, STILL.expand(2, 2), steps)
    alone = JpegProxy("flat", 1 / 3)(luma, steps)
    torch.testing.assert_close(several.decoded[:, 0], alone.decoded)
    torch.testing.assert_close(several.bits_per_pixel[:, 0], alone.bits_per_pixel)


def test_a_still_sequence_costs_its_first_frame(luma: torch.Tensor) -> None:
    """What the first frame lost is less than a residual's dead zone."""
    out = SequenceProxy("flat", 1 / 3)(
        luma[:, None].expand(-1, 3, -1, -1, -1), STILL.expand(2, 2), torch.full((2,), 20.0)
    )
    assert (out.bits_per_pixel[:, 0] > 0.1).all()
    assert (out.bits_per_pixel[:, 1:] < 1e-3 * out.bits_per_pixel[:, :1]).all()
    torch.testing.assert_close(out.decoded[:, 2], out.decoded[:, 0], atol=1e-3, rtol=0)


@pytest.mark.parametrize("shift", [(4, -2), (-4, 4), (0, 2)])
def test_a_pan_of_known_shift_costs_little_more(luma: torch.Tensor, shift: tuple[int, int]) -> None:
    shifts = torch.tensor([shift, shift])
    frames = windows(luma, shifts, 3, 16)
    right, wrong = (
        SequenceProxy("flat", 1 / 3)(frames, given, torch.full((2,), 20.0)).bits_per_pixel
        for given in (shifts, -shifts)
    )
    # What comes into view at the border is new.
    assert (right[:, 1:] < 0.15 * right[:, :1]).all()
    assert (wrong[:, 1:] > 3 * right[:, 1:]).all()


def test_each_sample_moves_by_its_own_shift(luma: torch.Tensor) -> None:
    shifts, steps = torch.tensor([[4, 2], [-2, 0]]), torch.tensor([10.0, 30.0])
    proxy = SequenceProxy("flat", 1 / 3)
    together = proxy(windows(luma, shifts, 3, 16), shifts, steps)
    for i in range(2):
        one = slice(i, i + 1)
        alone = proxy(windows(luma[one], shifts[one], 3, 16), shifts[one], steps[one])
        torch.testing.assert_close(together.decoded[one], alone.decoded)
        torch.testing.assert_close(together.bits_per_pixel[one], alone.bits_per_pixel)


@pytest.mark.parametrize("shift", [(4, 4), (-4, 2), (0, -2), (0, 0)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_windows_move_by_their_shift_from_even_places(shift: tuple[int, int], count: int) -> None:
    margin = 4 * (count - 1)
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    picture = torch.stack([rows, columns])[None]
    moved = windows(picture, torch.tensor([shift]), count, margin)
    assert moved.shape == (1, count, 2, 24 - margin, 32 - margin)
    corners = moved[0, :, :, 0, 0]
    assert (corners % 2 == 0).all() and (corners >= 0).all()
    for axis in range(2):
        assert (corners.diff(dim=0)[:, axis] == shift[axis]).all()
    assert torch.equal(
        moved[0, :, :, -1, -1] - corners, corners.new_tensor([23 - margin, 31 - margin]).expand(count, 2)
    )


def test_outside_of_a_picture_its_border_is_repeated() -> None:
    picture = torch.arange(12.0).reshape(1, 1, 3, 4)
    expected = torch.tensor([[0.0, 0, 1, 2], [0, 0, 1, 2], [4, 4, 5, 6]])
    assert torch.equal(take(picture, torch.tensor([[-1, -1]]), 3, 4)[0, 0], expected)
    assert torch.equal(take(picture, torch.tensor([[2, 3]]), 2, 2)[0, 0], torch.full((2, 2), 11.0))


def test_residuals_have_their_own_step_and_dead_zone() -> None:
    """A step of 20 times 1.5 is 30; with a rounding of 1/6 a coefficient survives from 25 on."""
    dct = dct_matrix()
    proxy = SequenceProxy("flat", 1 / 3, inter_rounding=1 / 6, inter_step=1.5)
    for amplitude, survives in ((24.0, 0.0), (26.0, 30.0), (54.0, 30.0), (56.0, 60.0)):
        coefficients = torch.zeros(2, 8, 8)
        coefficients[1, 2, 3] = amplitude
        frames = ((dct.T @ coefficients @ dct + 128.0) / 255.0)[None, :, None]
        out = proxy(frames, STILL, torch.tensor([20.0]))
        change = dct @ ((out.decoded[0, 1, 0] - out.decoded[0, 0, 0]) * 255.0) @ dct.T
        assert float(change[2, 3]) == pytest.approx(survives, abs=1e-3)
        assert (float(out.bits_per_pixel[0, 1]) > 0) == (survives > 0)


def test_bits_and_decoded_frames_have_gradients_in_all_frames(luma: torch.Tensor) -> None:
    shifts = torch.tensor([[2, 0], [0, -4]])
    frames = windows(luma, shifts, 3, 16)
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    leaf = (frames + 0.02 * noise).requires_grad_()
    out = SequenceProxy("flat", 1 / 3, 0.4)(leaf, shifts, torch.full((2,), 12.0))
    for value in (out.bits_per_pixel.sum(), out.decoded[:, -1].square().sum()):
        (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert (gradient.flatten(2).norm(dim=2) > 0).all()


def test_sizes_that_are_no_whole_blocks() -> None:
    out = SequenceProxy()(torch.rand(2, 3, 1, 17, 23), STILL.expand(2, 2), torch.tensor([20.0, 30.0]))
    assert out.decoded.shape == (2, 3, 1, 17, 23)
    assert out.bits_per_pixel.shape == (2, 3)
    assert 0.0 <= float(out.decoded.min()) <= float(out.decoded.max()) <= 1.0


def test_samples_take_the_transforms_sizes_in_turn() -> None:
    frames = torch.rand(5, 3, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    shifts = torch.tensor([[2, 0], [0, -2], [2, 2], [0, 0], [-2, 4]])
    steps = torch.tensor([10.0, 15.0, 20.0, 30.0, 40.0])
    mixed = SequenceProxy("flat", 1 / 3, blocks=(8, 16, 4))(frames, shifts, steps)
    for sample, size in enumerate((8, 16, 4, 8, 16)):
        part = slice(sample, sample + 1)
        alone = SequenceProxy("flat", 1 / 3, blocks=(size,))(frames[part], shifts[part], steps[part])
        torch.testing.assert_close(mixed.decoded[part], alone.decoded)
        torch.testing.assert_close(mixed.bits_per_pixel[part], alone.bits_per_pixel)
    other = SequenceProxy("flat", 1 / 3, blocks=(16,))(frames[:1], shifts[:1], steps[:1])
    assert not torch.equal(other.decoded, mixed.decoded[:1])
    # Fewer samples than sizes.
    assert SequenceProxy("flat", 1 / 3, blocks=(8, 16, 4))(frames[:1], shifts[:1], steps[:1]).decoded.shape[0] == 1


@pytest.mark.parametrize("size", [4, 8, 16, 32])
def test_a_fine_step_keeps_the_picture_whatever_the_transform(size: int, luma: torch.Tensor) -> None:
    decoded = SequenceProxy("flat", 1 / 3, blocks=(size,))(luma[:, None], STILL.expand(2, 2), torch.full((2,), 0.01))[0]
    torch.testing.assert_close(decoded[:, 0], luma, atol=1e-4, rtol=0)


def test_what_cannot_be_coded_is_refused() -> None:
    with pytest.raises(UsageError, match="luma alone"):
        SequenceProxy()(torch.rand(1, 2, 3, 16, 16), STILL, torch.tensor([20.0]))
    for wrong in ({"inter_rounding": 0.0}, {"inter_rounding": 0.6}, {"inter_step": 0.0}, {"blocks": ()}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            SequenceProxy(**wrong)  # type: ignore[arg-type]
    for tables, size in (("flat", 5), ("jpeg", 16)):
        with pytest.raises(UsageError, match=f"block = {size}"):
            SequenceProxy(tables, blocks=(size,))  # type: ignore[arg-type]
