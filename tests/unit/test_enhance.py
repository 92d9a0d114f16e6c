"""The enhancer against numbers worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from scene.enhance import Enhancer
from scene.enhance.colour import (
    chroma_scale,
    luma_scale,
    rgb_delta_to_studio,
    studio_to_rgb,
    subsample_chroma,
    upsample_chroma,
)
from scene.errors import UsageError
from scene.model import Network, NetworkConfig, build_network
from scene.picture import Picture, PictureFormat


class Shift(nn.Module):
    """A network that adds a constant to each channel and remembers what it was given."""

    def __init__(self, planes: str, *delta: float) -> None:
        super().__init__()
        self.config = SimpleNamespace(planes=planes, guidance="features", quantiser=None, body=True)
        self.identity = "shift"
        self.delta = torch.tensor(delta).view(1, -1, 1, 1)
        self.seen: list[torch.Tensor] = []

    def forward(
        self, x: torch.Tensor, embedding: torch.Tensor | None = None, step: torch.Tensor | None = None
    ) -> torch.Tensor:
        self.seen.append(x.clone())
        return x + self.delta


def picture(fmt: PictureFormat, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if fmt.bit_depth == 8 else np.uint16
    return Picture(fmt, tuple(rng.integers(0, 2**fmt.bit_depth, s).astype(dtype) for s in fmt.plane_shapes))


def change(before: Picture, after: Picture, plane: int = 0) -> np.ndarray:
    return after.planes[plane].astype(int) - before.planes[plane].astype(int)


FORMATS = [
    PictureFormat(17, 9, depth, chroma, full, matrix)
    for depth, chroma, full, matrix in [
        (8, "420", False, "bt601"),
        (8, "420", True, "bt709"),
        (10, "420", False, "bt2020"),
        (10, "422", True, "bt709"),
        (12, "444", False, "bt709"),
        (8, "400", True, "bt709"),
        (10, "400", False, "other"),
        (8, "444", True, "rgb"),
        (10, "444", False, "rgb"),
        (12, "444", True, "rgb"),
        (8, "422", False, "ycgco"),
        (10, "420", True, "smpte240m"),
        (8, "444", True, "fcc"),
    ]
]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("planes,channels", [("luma", 1), ("rgb", 3), ("yuv420", 6)])
def test_identity_is_bit_exact(fmt, planes, channels):
    if planes == "yuv420" and fmt.chroma != "420":
        with pytest.raises(UsageError, match="4:2:0"):
            Enhancer(Shift(planes, *[0.0] * channels), device="cpu")([picture(fmt)])
        return
    sources = [picture(fmt, seed) for seed in (1, 2)]
    results = Enhancer(Shift(planes, *[0.0] * channels), strength=1.5, device="cpu")(sources)
    for source, result in zip(sources, results, strict=True):
        assert result.format == fmt
        for a, b in zip(source.planes, result.planes, strict=True):
            assert a.dtype == b.dtype and np.array_equal(a, b)


def test_strength_zero_never_calls_the_network():
    network = Shift("luma", 0.5)
    source = picture(FORMATS[0])
    assert Enhancer(network, strength=0, device="cpu")([source]) == [source]
    assert network.seen == []


@pytest.mark.parametrize(
    "depth,full,exact",
    [
        (8, False, 10),  # 10/255 of the studio scale is ten 8-bit limited codes
        (10, False, 40),
        (8, True, 10 * 255 / 219),
        (10, True, 10 / 219 * 1023),
    ],
)
def test_luma_delta_in_codes(depth, full, exact):
    fmt = PictureFormat(4, 4, depth, "420", full)
    dtype = np.uint8 if depth == 8 else np.uint16
    grey = Picture(fmt, tuple(np.full(s, 2 ** (depth - 1), dtype) for s in fmt.plane_shapes))
    (result,) = Enhancer(Shift("luma", 10 / 255), device="cpu")([grey])
    assert (change(grey, result) == round(exact)).all()
    assert result.planes[1] is grey.planes[1] and result.planes[2] is grey.planes[2]
    (half,) = Enhancer(Shift("luma", 10 / 255), strength=0.5, device="cpu")([grey])
    assert (change(grey, half) == round(exact / 2)).all()


def test_results_clip_at_the_code_range():
    fmt = PictureFormat(2, 1, 10, "400")
    source = Picture(fmt, (np.array([[3, 1021]], np.uint16),))
    up = Enhancer(Shift("luma", 5 / 255), device="cpu")([source])[0]
    down = Enhancer(Shift("luma", -5 / 255), device="cpu")([source])[0]
    assert up.planes[0].tolist() == [[23, 1023]] and down.planes[0].tolist() == [[0, 1001]]


def test_black_and_white_on_the_studio_scale():
    for full, depth, black, white in [(False, 8, 16, 235), (False, 10, 64, 940), (True, 8, 0, 255)]:
        fmt = PictureFormat(2, 1, depth, "400", full)
        network = Shift("luma", 0.0)
        dtype = np.uint8 if depth == 8 else np.uint16
        Enhancer(network, device="cpu")([Picture(fmt, (np.array([[black, white]], dtype),))])
        assert network.seen[0].flatten().tolist() == pytest.approx([16 / 255, 235 / 255], abs=1e-6)


def test_neutral_chroma_is_128_in_both_ranges():
    for full, depth in [(False, 8), (True, 8), (True, 10)]:
        scale = chroma_scale(PictureFormat(2, 2, depth, full_range=full))
        neutral = torch.tensor([2 ** (depth - 1)])
        assert scale.to_studio(neutral).item() == pytest.approx(128 / 255, abs=1e-6)


def test_yuv420_puts_luma_phases_before_chroma():
    fmt = PictureFormat(3, 3, 8, "420")
    luma = np.arange(9, dtype=np.uint8).reshape(3, 3) + 100
    source = Picture(fmt, (luma, np.full((2, 2), 60, np.uint8), np.full((2, 2), 200, np.uint8)))
    network = Shift("yuv420", 1 / 255, 2 / 255, 3 / 255, 4 / 255, -5 / 255, 6 / 255)
    (result,) = Enhancer(network, device="cpu")([source])
    seen = (network.seen[0][0] * 255).round().int()
    assert seen.shape == (6, 2, 2)
    assert seen[0].tolist() == [[100, 102], [106, 108]]  # even rows, even columns
    assert seen[1].tolist() == [[101, 102], [107, 108]]  # even rows, odd columns; the edge repeats
    assert change(source, result).tolist() == [[1, 2, 1], [3, 4, 3], [1, 2, 1]]
    assert (change(source, result, 1) == -5).all() and (change(source, result, 2) == 6).all()


def test_rgb_sees_primaries_and_returns_their_delta():
    # BT.709 limited 8-bit red is (63, 102, 240).
    fmt = PictureFormat(4, 2, 8, "422", matrix="bt709")
    source = Picture(fmt, tuple(np.full(s, c, np.uint8) for s, c in zip(fmt.plane_shapes, (63, 102, 240), strict=True)))
    network = Shift("rgb", 0.0, 0.1, 0.1)
    (result,) = Enhancer(network, device="cpu")([source])
    assert network.seen[0][0, :, 0, 0].tolist() == pytest.approx([1, 0, 0], abs=0.01)
    # dY = 0.1 * (1 - Kr); dCb = (0.1 - dY) / 1.8556; dCr = -dY / 1.5748
    dy = 0.1 * (1 - 0.2126)
    assert (change(source, result) == round(219 * dy)).all()
    assert (change(source, result, 1) == round(224 * (0.1 - dy) / 1.8556)).all()
    assert (change(source, result, 2) == round(224 * -dy / 1.5748)).all()


@pytest.mark.parametrize("depth,full,codes", [(8, True, 10 * 255 / 219), (10, False, 40), (12, True, 10 / 219 * 4095)])
def test_a_change_of_luma_is_added_to_all_of_rgb(depth, full, codes):
    fmt = PictureFormat(3, 2, depth, "444", full, "rgb")
    peak = 2**depth - 1
    fractions = (0.5, 0.25, 0.75)  # of G, B and R
    dtype = np.uint8 if depth == 8 else np.uint16
    source = Picture(fmt, tuple(np.full((2, 3), round(peak * part), dtype) for part in fractions))
    network = Shift("luma", 10 / 255)
    (result,) = Enhancer(network, device="cpu")([source])
    assert [np.unique(change(source, result, plane)).tolist() for plane in range(3)] == [[round(codes)]] * 3
    level = 0.7152 * 0.5 + 0.0722 * 0.25 + 0.2126 * 0.75
    studio = (16 + 219 * level) / 255 if full else level * peak / 255 / 2 ** (depth - 8)
    assert network.seen[0].shape == (1, 1, 2, 3)
    assert network.seen[0].flatten().tolist() == pytest.approx([studio] * 6, abs=0.003)


def test_an_rgb_network_sees_rgb_as_it_is():
    fmt = PictureFormat(2, 1, 8, "444", True, "rgb")
    source = Picture(fmt, tuple(np.full((1, 2), code, np.uint8) for code in (51, 102, 204)))
    network = Shift("rgb", 0.1, 0.2, -0.2)
    (result,) = Enhancer(network, device="cpu")([source])
    assert network.seen[0][0, :, 0, 0].tolist() == pytest.approx([0.8, 0.2, 0.4], abs=1e-5)
    assert [int(change(source, result, plane)[0, 0]) for plane in range(3)] == [51, -51, 26]  # 25.5 to even


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020", "fcc", "smpte240m", "ycgco"])
def test_there_and_back_through_every_matrix(matrix):
    rgb = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    # A matrix is linear: a picture is the difference from black.
    luma, first, second = rgb_delta_to_studio(rgb, matrix)
    back = studio_to_rgb(luma + 16 / 255, (first + 128 / 255, second + 128 / 255), matrix)
    assert torch.allclose(back, rgb, atol=1e-5)
    grey = rgb_delta_to_studio(torch.full((1, 3, 1, 1), 0.5), matrix)
    assert [plane.item() * 255 for plane in grey] == pytest.approx([109.5, 0, 0], abs=1e-4)


def test_ycgco_by_its_equations():
    y, cg, co = rgb_delta_to_studio(torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1), "ycgco")
    assert y.item() * 255 / 219 == pytest.approx(0.8 / 4 + 0.4 / 2 + 0.2 / 4)
    assert cg.item() * 255 / 224 == pytest.approx(-0.8 / 4 + 0.4 / 2 - 0.2 / 4)
    assert co.item() * 255 / 224 == pytest.approx(0.8 / 2 - 0.2 / 2)


CHROMA_LOCATIONS = ["left", "center", "topleft", "top", "bottomleft", "bottom"]


@pytest.mark.parametrize("location", CHROMA_LOCATIONS)
@pytest.mark.parametrize("chroma", ["420", "422"])
def test_chroma_is_taken_from_where_it_lies_and_put_back_there(chroma, location):
    fmt = PictureFormat(12, 10, chroma=chroma, chroma_location=location)
    right = 0.0 if location.endswith("left") else 0.5
    down = {"t": 0.0, "b": 1.0}.get(location[0], 0.5)
    rows, cols = (torch.arange(size, dtype=torch.float32) for size in fmt.plane_shapes[0])
    few_rows, few_cols = (torch.arange(size, dtype=torch.float32) for size in fmt.plane_shapes[1])
    # A slope is resampled exactly by both filters, away from the edges.
    full = (3 * rows[:, None] + 5 * cols)[None, None]
    at_rows = 2 * few_rows + down if chroma == "420" else few_rows
    few = (3 * at_rows[:, None] + 5 * (2 * few_cols + right))[None, None]
    assert torch.allclose(upsample_chroma(few, fmt)[..., 2:-2, 2:-2], full[..., 2:-2, 2:-2])
    assert torch.allclose(subsample_chroma(full, fmt)[..., 1:-1, 1:-1], few[..., 1:-1, 1:-1])
    # And a flat plane everywhere.
    assert (upsample_chroma(torch.ones_like(few), fmt) == 1).all()
    assert (subsample_chroma(torch.ones_like(full), fmt) == 1).all()


def test_odd_sizes_are_resampled_within_the_picture():
    for location in CHROMA_LOCATIONS:
        fmt = PictureFormat(5, 3, chroma="420", chroma_location=location)
        assert upsample_chroma(torch.rand(1, 1, 2, 3), fmt).shape == (1, 1, 3, 5)
        assert subsample_chroma(torch.rand(1, 1, 3, 5), fmt).shape == (1, 1, 2, 3)


def test_rgb_network_on_grey_changes_luma_alone():
    fmt = PictureFormat(5, 3, 8, "400", full_range=True)
    source = Picture(fmt, (np.full((3, 5), 100, np.uint8),))
    (result,) = Enhancer(Shift("rgb", 0.1, 0.1, 0.1), device="cpu")([source])
    assert len(result.planes) == 1 and (change(source, result) == 26).all()


def test_studio_white_is_rgb_white():
    white = torch.full((1, 1, 1, 1), 235 / 255)
    assert studio_to_rgb(white, None, "bt709").flatten().tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert luma_scale(PictureFormat(2, 2)).to_studio(torch.tensor([255])).item() == pytest.approx(1.0)


def test_read_only_planes_are_taken():
    source = picture(FORMATS[0])
    for plane in source.planes:
        plane.flags.writeable = False
    assert Enhancer(Shift("luma", 0.0), device="cpu")([source])[0].format == source.format


def told_network(**changes: object) -> Network:
    """A network that is told the quantiser and changes pictures visibly, differently at each step."""
    config = NetworkConfig(guidance="features", planes="luma", channels=8, quantiser=(6, 60), **changes)  # type: ignore[arg-type]
    network = build_network(config, seed=3)
    with torch.no_grad():
        network.tail.weight.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    return network


def test_the_step_reaches_the_pictures():
    network, sources = told_network(), [picture(FORMATS[0], seed) for seed in (1, 2)]
    results = {step: Enhancer(network, device="cpu", step=step)(sources) for step in (1, 6, 20, 60, 200)}
    for index, source in enumerate(sources):
        luma = {step: result[index].planes[0] for step, result in results.items()}
        assert not np.array_equal(luma[6], source.planes[0])
        assert not np.array_equal(luma[6], luma[20]) and not np.array_equal(luma[20], luma[60])
        # Beyond the range of the training its ends count.
        assert np.array_equal(luma[1], luma[6]) and np.array_equal(luma[200], luma[60])
        (alone,) = Enhancer(network, device="cpu", step=20)([source])
        assert np.abs(alone.planes[0].astype(int) - luma[20].astype(int)).max() <= 1
        assert Enhancer(network, strength=0, device="cpu", step=20)([source]) == [source]


def test_a_network_that_is_not_told_ignores_the_step():
    network = build_network(NetworkConfig(guidance="features", planes="luma", channels=8, global_skip=False), seed=1)
    results = [Enhancer(network, device="cpu", step=step)([picture(FORMATS[0])])[0] for step in (None, 6.0, 60.0)]
    assert all(np.array_equal(result.planes[0], results[0].planes[0]) for result in results)


def test_a_step_that_makes_no_sense_or_is_missing_is_refused():
    with pytest.raises(UsageError, match="quantiser step, and none was given"):
        Enhancer(told_network(), device="cpu")
    for step in (0, -1, float("inf"), float("nan")):
        with pytest.raises(UsageError, match=f"quantiser step {step}"):
            Enhancer(told_network(), device="cpu", step=step)


def test_bfloat16_does_nearly_the_same_and_keeps_the_identity():
    source = picture(FORMATS[0])
    full, half = (
        Enhancer(told_network(), device="cpu", step=20, runtime=runtime)([source])[0].planes[0].astype(int)
        for runtime in ("torch", "torch-bf16")
    )
    assert 0 < np.abs(full - half).mean() < 0.02 * np.abs(full - source.planes[0]).mean()
    untrained = build_network(told_network().config, seed=3)
    (same,) = Enhancer(untrained, device="cpu", step=20, runtime="torch-bf16")([source])
    assert np.array_equal(same.planes[0], source.planes[0])


def test_bfloat16_leaves_a_network_alone_that_gives_whole_pictures():
    source, network = picture(FORMATS[0]), told_network(global_skip=False)
    full, half = (
        Enhancer(network, device="cpu", step=20, runtime=runtime)([source])[0].planes[0]
        for runtime in ("torch", "torch-bf16")
    )
    assert np.array_equal(full, half)


def test_errors():
    with pytest.raises(UsageError, match="strength"):
        Enhancer(Shift("luma", 0.0), strength=-1)
    with pytest.raises(UsageError, match="strength"):
        Enhancer(Shift("luma", 0.0), strength=float("nan"))
    with pytest.raises(UsageError, match="device"):
        Enhancer(Shift("luma", 0.0), device="tpu")
    with pytest.raises(UsageError, match="4:2:0 video only, and the source is RGB"):
        Enhancer(Shift("yuv420", 0.0), device="cpu")([picture(PictureFormat(4, 4, 8, "444", True, "rgb"))])
    with pytest.raises(UsageError, match="matrix"):
        Enhancer(Shift("rgb", 0.0), device="cpu")([picture(PictureFormat(4, 4, 10, "420", matrix="other"))])
    with pytest.raises(ValueError, match="one format"):
        Enhancer(Shift("luma", 0.0), device="cpu")([picture(FORMATS[0]), picture(FORMATS[1])])
