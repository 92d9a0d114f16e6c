"""The network against hand-made kernels, the paper's parameter counts, and every shape it must take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from scene.errors import UsageError
from scene.model import Network, NetworkConfig, build_network, load_model, save_network
from scene.model.assembled import AssembledConv2d
from scene.model.bank import bank_change
from scene.model.calibration import Bank
from scene.model.control import ControlModule


def randomised(config: NetworkConfig, seed: int = 0) -> Network:
    """A network none of whose parameters is at a special value such as zero."""
    network = build_network(config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def small(**changes: object) -> NetworkConfig:
    return NetworkConfig(
        **{"channels": 8, "embedding_width": 12, "semantic_hidden": 6, "feature_reduction": 1, **changes}
    )  # type: ignore[arg-type]


def test_scene_has_the_papers_parameter_count() -> None:
    assert build_network(NetworkConfig(guidance="embedding")).count_parameters() == 1_406_812


def test_asconvsr_has_the_papers_parameter_count() -> None:
    assert build_network(NetworkConfig(guidance="features")).count_parameters() == 928_364


def test_assembled_convolution_equals_a_loop_over_channels_and_kernels() -> None:
    torch.manual_seed(0)
    conv = AssembledConv2d(3, 5, kernels=4)
    with torch.no_grad():
        conv.bias.normal_()
    x = torch.randn(2, 3, 7, 9)
    coefficients = torch.randn(2, 5, 4, 1, 1)
    expected = torch.empty(2, 5, 7, 9)
    for sample in range(2):
        for channel in range(5):
            kernel = torch.zeros(3, 3, 3)
            bias = torch.zeros(())
            for i in range(4):
                kernel += coefficients[sample, channel, i, 0, 0] * conv.bank[i, channel].reshape(3, 3, 3)
                bias += coefficients[sample, channel, i, 0, 0] * conv.bias[i, channel]
            expected[sample, channel] = F.conv2d(x[sample : sample + 1], kernel[None], bias[None], padding=1)[0, 0]
    torch.testing.assert_close(conv(x, coefficients), expected)


def test_mixing_kernels_equals_mixing_outputs() -> None:
    """sum_i c_i (k_i * x) = (sum_i c_i k_i) * x, the identity that makes the assembled convolution cheap."""
    torch.manual_seed(1)
    conv = AssembledConv2d(4, 4, kernels=3)
    x = torch.randn(2, 4, 8, 8)
    coefficients = torch.randn(2, 4, 3, 1, 1)
    mixed = sum(
        coefficients[:, :, i] * F.conv2d(x, conv.bank[i].reshape(4, 4, 3, 3), conv.bias[i], padding=1) for i in range(3)
    )
    torch.testing.assert_close(conv(x, coefficients), mixed)


def test_a_shared_coefficient_set_equals_repeating_it() -> None:
    conv = AssembledConv2d(4, 4)
    x, coefficients = torch.randn(3, 4, 8, 8), torch.randn(1, 4, 4, 1, 1)
    torch.testing.assert_close(conv(x, coefficients), conv(x, coefficients.expand(3, -1, -1, -1, -1)))


def test_coefficients_start_near_one_over_e() -> None:
    control = ControlModule(16, 8, convolutions=3, channels=8, kernels=4)
    coefficients = control(torch.randn(5, 16, 1, 1))
    assert coefficients.shape == (5, 3, 8, 4, 1, 1)
    assert (coefficients - 0.25).abs().max() < 0.15


def test_softmax_coefficients_sum_to_one() -> None:
    control = ControlModule(16, 8, 3, 8, 4, normalisation="softmax")
    torch.testing.assert_close(control(torch.randn(5, 16, 1, 1)).sum(dim=3), torch.ones(5, 3, 8, 1, 1))


@pytest.mark.parametrize("guidance", ["embedding", "features"])
@pytest.mark.parametrize("planes", ["rgb", "luma", "yuv420"])
def test_a_batch_equals_its_samples_one_by_one(guidance: str, planes: str) -> None:
    network = randomised(small(guidance=guidance, planes=planes))
    x = torch.rand(3, network.in_channels, 18, 22)
    embedding = torch.randn(3, 12, 1, 1) if guidance == "embedding" else None
    together = network(x, embedding)
    for i in range(3):
        alone = network(x[i : i + 1], None if embedding is None else embedding[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (17, 17), (16, 31), (181, 321), (33, 16)])
@pytest.mark.parametrize("planes", ["rgb", "luma"])
@pytest.mark.parametrize("unshuffle", [2, 4])
def test_any_size_comes_back(size: tuple[int, int], planes: str, unshuffle: int) -> None:
    network = randomised(small(guidance="features", planes=planes, unshuffle=unshuffle))
    x = torch.rand(1, network.in_channels, *size)
    y = network(x)
    assert y.shape == x.shape
    assert torch.isfinite(y).all()


@pytest.mark.parametrize(("unshuffle", "more"), [(2, (0, 1, 0, 1)), (4, (0, 1, 0, 3))])
def test_an_odd_size_is_padded_by_repeating_the_border(unshuffle: int, more: tuple[int, ...]) -> None:
    network = randomised(small(guidance="features", planes="luma", unshuffle=unshuffle))
    x = torch.rand(1, 1, 17, 19)
    padded = F.pad(x, more, mode="replicate")
    torch.testing.assert_close(network(x), network(padded)[..., :17, :19])


@pytest.mark.parametrize("guidance", ["embedding", "features"])
@pytest.mark.parametrize("normalisation", ["none", "softmax"])
def test_gradients_reach_every_parameter(guidance: str, normalisation: str) -> None:
    network = randomised(small(guidance=guidance, normalisation=normalisation)).train()
    embedding = torch.randn(2, 12, 1, 1) if guidance == "embedding" else None
    network(torch.rand(2, 3, 32, 32), embedding).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("planes", ["rgb", "luma", "yuv420"])
def test_an_untrained_network_is_the_identity(planes: str) -> None:
    network = build_network(small(guidance="features", planes=planes))
    x = torch.rand(2, network.in_channels, 20, 24)
    assert torch.equal(network(x), x)


def test_without_the_global_skip_the_output_is_the_networks_own() -> None:
    network = randomised(small(guidance="features", global_skip=False))
    with_skip = build_network(small(guidance="features", global_skip=True))
    with_skip.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(with_skip(x), x + network(x))


def test_without_activations_and_skips_a_fixed_kernel_set_is_affine_in_the_frame() -> None:
    """The public AsConvSR re-implementations have no activation: per coefficient set their output is affine."""
    network = randomised(small(activation="none", global_skip=False))
    embedding = torch.randn(1, 12, 1, 1)
    # The second block's coefficients follow the features; freeze them to what a constant vector gives.
    second = network.blocks[1]
    second.control.squeeze.weight.data.zero_()
    a, b = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    middle = network((a + b) / 2, embedding)
    torch.testing.assert_close(middle, (network(a, embedding) + network(b, embedding)) / 2, atol=1e-4, rtol=1e-4)


def test_the_embedding_changes_the_result() -> None:
    network = randomised(small())
    x = torch.rand(1, 3, 16, 16)
    assert not torch.equal(network(x, torch.zeros(1, 12, 1, 1)), network(x, torch.ones(1, 12, 1, 1)))


def test_a_missing_embedding_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="semantic embedding"):
        build_network(small())(torch.rand(1, 3, 16, 16))


def test_a_seed_gives_the_same_network_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, second = build_network(small(), seed=5), build_network(small(), seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_channels_last_memory_gives_the_same_result() -> None:
    network = randomised(small(guidance="features"))
    x = torch.rand(2, 3, 20, 20)
    expected = network(x)
    moved = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(moved(x.contiguous(memory_format=torch.channels_last)), expected)


def steps(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize("planes", ["rgb", "luma", "yuv420"])
def test_each_picture_of_a_batch_has_its_own_step(planes: str) -> None:
    network = randomised(small(guidance="features", planes=planes, quantiser=(6, 60)))
    x = torch.rand(1, network.in_channels, 18, 22).expand(3, -1, -1, -1)
    together = network(x, step=steps(8, 20, 45))
    for i, step in enumerate((8, 20, 45)):
        torch.testing.assert_close(together[i : i + 1], network(x[:1], step=steps(step)), atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3
    assert (together[1] - together[2]).abs().max() > 1e-3
    # One step for the whole batch.
    torch.testing.assert_close(network(x, step=steps(20)), together[1:2].expand_as(together), atol=1e-5, rtol=1e-5)


def test_the_plane_of_the_step_is_half_its_logarithm_over_20() -> None:
    network = build_network(small(guidance="features", planes="luma", quantiser=(5, 80)))
    seen: list[torch.Tensor] = []
    network.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(3, 1, 16, 20)
    network(x, step=steps(5, 20, 80))
    assert torch.equal(seen[0][:, :4], F.pixel_unshuffle(x, 2))
    expected = steps(-1, 0, 1).view(3, 1, 1, 1).expand(3, 1, 8, 10)
    torch.testing.assert_close(seen[0][:, 4:], expected)


def test_a_step_beyond_those_of_the_training_counts_as_the_nearest() -> None:
    network = randomised(small(guidance="features", quantiser=(6, 60)))
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(network(x, step=steps(0.625)), network(x, step=steps(6)))
    assert torch.equal(network(x, step=steps(228.5)), network(x, step=steps(60)))
    assert not torch.equal(network(x, step=steps(6)), network(x, step=steps(60)))


def test_a_step_is_needed_where_the_network_is_told_and_else_ignored() -> None:
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(UsageError, match="quantiser step"):
        build_network(small(guidance="features", quantiser=(6, 60)))(x)
    plain = randomised(small(guidance="features"))
    assert torch.equal(plain(x, step=steps(9)), plain(x))


def test_the_quantiser_costs_one_plane_of_the_first_convolution() -> None:
    for guidance, without in (("embedding", 1_406_812), ("features", 928_364)):
        config = NetworkConfig(guidance=guidance, quantiser=(6, 60))  # type: ignore[arg-type]
        assert build_network(config).count_parameters() == without + 9 * 64


def test_an_untrained_network_that_is_told_the_step_is_the_identity() -> None:
    network = build_network(small(guidance="features", planes="luma", quantiser=(6, 60)))
    x = torch.rand(2, 1, 20, 24)
    assert torch.equal(network(x, step=steps(6, 60)), x)


def test_a_step_reaches_the_coefficients_of_every_block() -> None:
    """Also of the one that an embedding steers: by its features."""
    network = randomised(small(quantiser=(6, 60))).train()
    step = steps(9.0, 30.0).requires_grad_()
    network(torch.rand(2, 3, 32, 32), torch.randn(2, 12, 1, 1), step).square().mean().backward()
    assert step.grad is not None and (step.grad != 0).all()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "wrong",
    [(6,), (60, 6), (6, 6), (0, 60), (6, float("inf")), (float("nan"), 60), True, 6.0, ("6", "60"), (6, 20, 60)],
)
def test_impossible_ranges_of_the_quantiser_are_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="quantiser"):
        small(quantiser=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"channels": 0},
            {"kernels": -1},
            {"planes": "cmyk"},
            {"guidance": "x"},
            {"block_skip": 1},
            {"channels": 8.0},
        ),
        *({"unshuffle": 3}, {"unshuffle": 4, "planes": "yuv420"}),
    ],
)
def test_impossible_shapes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        small(**wrong)


BANK = Bank(gain=(0.0, 0.1, 0.05, 0.0, 0.0), faint=(0.0, 0.2, 0.0, 0.0, 0.0))


def test_a_network_with_a_bank_begins_as_the_bank(tmp_path: Path) -> None:
    config = NetworkConfig(guidance="features", planes="luma", channels=4, quantiser=(6.0, 60.0), bank=BANK)
    network = build_network(config, seed=0)
    x, step = torch.rand(2, 1, 64, 96), torch.tensor([20.0, 40.0])
    banked = x + bank_change(x * 255, BANK, step) / 255
    assert torch.equal(network(x, step=step), banked)
    torch.nn.init.normal_(network.tail.weight)
    # The convolutions see what the bank made.
    plain = build_network(NetworkConfig(guidance="features", planes="luma", channels=4, quantiser=(6.0, 60.0)))
    plain.load_state_dict(network.state_dict())
    assert torch.allclose(network(x, step=step), plain(banked, step=step))
    save_network(network, tmp_path / "net.safetensors")
    assert load_model(tmp_path / "net.safetensors").config == config
    with pytest.raises(UsageError, match="quantiser step"):
        network(x)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bank": {"gain": [0.1]}}, "5 finite numbers"),
        ({"bank": {"loudness": [0.1] * 5}}, "rows of numbers"),
        ({"bank": 3}, "rows of numbers"),
        ({"quantiser": None}, "a quantiser"),
        ({"planes": "rgb"}, 'planes = "luma"'),
    ],
)
def test_a_bank_that_makes_no_sense_is_refused(values: dict[str, object], said: str) -> None:
    good = {"guidance": "features", "planes": "luma", "quantiser": [6.0, 60.0], "bank": {"gain": [0.1] * 5}}
    NetworkConfig(**good)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=said):
        NetworkConfig(**{**good, **values})  # type: ignore[arg-type]
