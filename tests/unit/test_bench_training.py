"""`scene bench training`: what is measured is what training does, and the figures hang together."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage import data as photographs

from scene.benchmarks.training import _Trainee, bench_training
from scene.cli import run
from scene.errors import UsageError
from scene.metrics.thin_convolutions import ThinConvolutions
from scene.model import NetworkConfig
from scene.progress import Progress
from scene.training import TrainingConfig
from scene.training.config import DataConfig, LossConfig, OptimiserConfig, ProxyConfig, RunConfig
from scene.training.data.crops import ConsecutiveBatches, Crops, Sample, collate
from scene.training.data.sources import open_source
from scene.training.step import unobserved

TINY = TrainingConfig(
    network=NetworkConfig(guidance="features", planes="luma", channels=8),
    data=DataConfig(crop=64, pan=4),
    loss=LossConfig(rate_unit="relative", gain_limits=(100.0, 1.0)),
    run=RunConfig(batch=2, seed=3),
)
STEERED = dataclasses.replace(
    TINY, network=NetworkConfig(planes="rgb", channels=8, embedding_width=16, semantic_grid=2, semantic_hidden=4)
)
STRUCTURED = dataclasses.replace(
    TINY, data=DataConfig(crop=176, pan=4), loss=dataclasses.replace(TINY.loss, structure=0.1)
)
SAVING = dataclasses.replace(
    TINY,
    network=dataclasses.replace(TINY.network, quantiser=(6.0, 60.0)),
    proxy=ProxyConfig(tables="flat", frames=2),
    loss=LossConfig(objective="saving", weights={"ms_ssim": 0.0}),
    optimiser=OptimiserConfig(gradient_norm=1.0),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "cat"):
        Image.fromarray(getattr(photographs, name)()[:200, :240]).save(folder / f"{name}.png")
    return folder


def batches(config: TrainingConfig, photos: Path) -> Iterator[Sample]:
    crops = Crops(open_source(photos, "images"), config.crop_side, config.data.pan, config.run.seed)
    for numbers in ConsecutiveBatches(0, 10, config.run.batch):
        yield collate([crops[number] for number in numbers])


@pytest.mark.parametrize(
    "config", [TINY, STEERED, STRUCTURED, SAVING], ids=["features", "embedding", "ms-ssim", "saving"]
)
def test_an_instrumented_step_learns_what_a_plain_one_does(config: TrainingConfig, photos: Path) -> None:
    plain, instrumented = _Trainee(config, torch.device("cpu")), _Trainee(config, torch.device("cpu"))
    of_plain, of_instrumented = batches(config, photos), batches(config, photos)
    for _ in range(2):
        plain.step(of_plain, unobserved)
        with instrumented.instrumented(unobserved):
            instrumented.step(of_instrumented, unobserved)
    for ours, theirs in zip(instrumented.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_parts_are_entered_forward_in_their_order_and_backward_in_reverse(photos: Path) -> None:
    trainee = _Trainee(STRUCTURED, torch.device("cpu"))
    entered: list[tuple[str, bool]] = []

    def note(part: str, *, backward: bool = False) -> None:
        entered.append((part, backward))

    with trainee.instrumented(note):
        trainee.step(batches(STRUCTURED, photos), note)
    order = [key for key, _ in itertools.groupby(entered) if key[0] != "rest"]
    # The proxy also codes the unprocessed crop, without gradient.
    assert order == [
        *((part, False) for part in ("data", "prepare", "network", "proxy", "proxy", "vmaf", "ms_ssim", "optimiser")),
        *((part, True) for part in ("ms_ssim", "vmaf", "proxy", "network")),
        ("optimiser", False),
    ]

    entered.clear()
    trainee.step(batches(STRUCTURED, photos), note)
    assert ("proxy", False) not in entered, "the borders are gone with the context"


@pytest.mark.parametrize("config", [TINY, STEERED, SAVING], ids=["features", "embedding", "saving"])
def test_the_figures_hang_together(config: TrainingConfig, photos: Path) -> None:
    readings: list[Progress] = []
    result = bench_training(config, photos, steps=6, on_progress=readings.append)
    assert readings[-1].done == readings[-1].total
    assert [r.done for r in readings] == list(range(1, len(readings) + 1))
    assert result.steps == 6
    assert result.patches_per_second == pytest.approx(6 * 2 / result.total_s)
    assert 0 < result.step_s < result.total_s
    assert [p.name for p in result.parts] == ["data", "prepare", "rest", "network", "proxy", "vmaf", "optimiser"]
    assert sum(p.share for p in result.parts) == pytest.approx(1.0)
    # Nothing of a step is left out.
    assert sum(p.total_s for p in result.parts) == pytest.approx((1 + result.overhead) * result.total_s, rel=0.05)
    for part in result.parts:
        assert (part.backward_s > 0) == (part.name in ("rest", "network", "proxy", "vmaf")), part
    # Three photographs: after three samples nothing is new.
    assert result.loader.samples_per_second > 0
    assert result.loader.first_seen == result.first_seen == 0.0
    folded = 4 if config.network.planes == "luma" else 12
    conditioned = 0 if config.network.quantiser is None else 1
    positions = (config.crop_side // 2) ** 2
    assert result.limit.gmac_per_patch == pytest.approx(
        9 * ((2 * folded + conditioned) * 8 + 6 * 8 * 8) * positions / 1e9
    )
    assert result.limit.ratio == pytest.approx(result.limit.network_s / result.limit.convolutions_s)


def test_less_than_one_step_is_refused(photos: Path) -> None:
    with pytest.raises(UsageError, match="steps = 0"):
        bench_training(TINY, photos, steps=0)


def test_the_command_prints_a_table_or_one_object(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    config = tmp_path / "tiny.toml"
    config.write_text(
        '[network]\nguidance = "features"\nplanes = "luma"\nchannels = 8\n[data]\ncrop = 64\n[run]\nbatch = 2\n'
    )
    command = ["bench", "training", str(config), "--data", str(photos), "--steps", "1", "--device", "cpu"]
    assert run([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["batch"] == 2
    assert {"name", "forward_s", "backward_s", "total_s", "share"} == set(result["parts"][0])
    assert run(command) == 0
    captured = capsys.readouterr()
    assert "patches/s (2 x 64 x 64, float32" in captured.out
    assert all(part in captured.out for part in ("data", "network", "proxy", "vmaf", "optimiser"))
    assert "batches" in captured.err


def test_its_help_loads_no_torch() -> None:
    code = (
        "import sys; from scene.cli import run\n"
        "assert run(['bench', 'training', '--help']) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("shape", "stride"),
    [((1, 17), (1, 1)), ((11, 1), 1), ((3, 3), 1), ((4, 1), (2, 1)), ((1, 9), (1, 2)), ((9, 1), (2, 1))],
)
@pytest.mark.parametrize("size", [(46, 51), (35, 40)])
def test_thin_convolutions_are_torch_s(
    shape: tuple[int, int], stride: tuple[int, int] | int, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, 1, *shape, generator=generator)
    picture = torch.randn(3, 1, *size, generator=generator, requires_grad=True)
    expected = F.conv2d(picture, weight, stride=stride)
    with ThinConvolutions():
        ours = F.conv2d(picture, weight, stride=stride, padding="valid")
    gradient = torch.randn(expected.shape, generator=generator)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        *(torch.autograd.grad(y, picture, gradient)[0] for y in (ours, expected)), rtol=1e-5, atol=1e-5
    )


def test_other_convolutions_are_left_to_torch() -> None:
    x = torch.randn(2, 3, 9, 9, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    bias = torch.randn(4)
    with ThinConvolutions():
        y = F.conv2d(x, weight, bias, padding=1)
    assert torch.equal(y, F.conv2d(x, weight, bias, padding=1))
    assert y.grad_fn is not None and y.grad_fn.name() == "ConvolutionBackward0"
