"""Training: configuration, data, loss, and a run that stops, goes on and ends as if it had not stopped."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from skimage import data as photographs
from tiny_training import changed

from scene.errors import CheckpointError, InputError, MissingError, SceneError, UsageError
from scene.model import NetworkConfig, build_network, load_model, read_record
from scene.progress import Progress
from scene.training import TrainingConfig, read_config, train
from scene.training.config import DataConfig, LossConfig, ProxyConfig, RunConfig
from scene.training.data.crops import ConsecutiveBatches, Crops, collate, rgb_to_luma
from scene.training.data.sources import open_source
from scene.training.losses import LossInputs, WeightedLoss
from scene.training.step import draw

TINY = TrainingConfig(
    network=NetworkConfig(guidance="features", planes="luma", channels=8),
    data=DataConfig(crop=64, pan=4),
    proxy=ProxyConfig(tables="flat", rounding=1 / 3, steps=(10.0, 40.0)),
    loss=LossConfig(rate_unit="relative", bitrate=0.15, before=1.0, gain_limits=(100.0, 1.0)),
    run=RunConfig(steps=4, batch=2, seed=3, validate_every=2),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "cat"):
        Image.fromarray(getattr(photographs, name)()[:200, :240]).save(folder / f"{name}.png")
    return folder


def crops(folder: Path, crop: int, pan: int, seed: int) -> Crops:
    return Crops(open_source(folder, "images"), crop, pan, seed)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_configuration_of_the_project_is_valid_and_names_its_command() -> None:
    folder = Path(__file__).parents[2] / "configs"
    configs = sorted(path for path in folder.glob("*.toml") if not path.name.startswith("evaluate-"))
    assert configs
    for path in configs:
        read_config(path)
        first = path.read_text().splitlines()[0]
        assert first.startswith("# ") and f"scene train configs/{path.name} --data " in first


def test_a_configuration_file_is_read(tmp_path: Path) -> None:
    text = '[network]\nguidance = "features"\n[loss]\nbitrate = 2\ngain_limits = [1.0, 100]\n[proxy]\nsteps = [4, 8]\n'
    config = read_config(write(tmp_path / "c.toml", text))
    assert config.network.guidance == "features"
    assert config.loss.bitrate == 2.0
    assert config.loss.gain_limits == (1.0, 100.0)
    assert config.proxy.steps == (4.0, 8.0)
    assert config.run == RunConfig()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[run]\nsteps = 5\nspeed = 3\n", 3, "speed = 3 is no key of"),
        ("[network]\nchannels = 8\n[rum]\nsteps = 1\n", 3, r"no section \[rum\]"),
        ("[run]\n\nsteps = 0\n", 3, "steps = 0 must be int >= 1"),
        ("[run]\nsteps = 2.5\n", 2, "must be int"),
        ("[run]\nsteps = true\n", 2, "must be int"),
        ('[network]\nplanes = "cmyk"\n', 2, "must be one of"),
        ("[loss]\ngain_limits = []\n", 2, "gain_limits"),
        ("[loss]\nbitrate = -1.0\n", 2, "must be float >= 0"),
        ("[proxy]\nsteps = [9.0, 3.0]\n", 2, "in order"),
        ("[run]\nsteps = 5\n[network]\nkernels = 2\nchannels = 0\n", 5, "channels = 0 must be a whole number from 1"),
        ("[proxy]\nsteps = [9.0]\n", 2, "must be array of length 2"),
        ("[data]\ncrop = 100\n", 2, "multiple of 16"),
        ("[data]\n\ncrop = 160\n[loss]\nstructure = 0.1\n", 3, "must be above 160"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_config(write(tmp_path / "c.toml", text))
    assert f"c.toml:{line}:" in str(caught.value)


def test_settings_take_the_place_of_what_the_file_says(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", "[run]\nsteps = 5\nbatch = 3\n")
    config = read_config(path, ["run.steps=7", "semantics.encoder=student", "proxy.steps=[4, 8]"])
    assert (config.run.steps, config.run.batch, config.semantics.encoder) == (7, 3, "student")
    assert config.proxy.steps == (4.0, 8.0)
    for wrong in ("run.steps", "steps=3", "run.speed=3", "rum.steps=3", "run.steps=soon", "run.steps=0"):
        with pytest.raises(UsageError):
            read_config(path, [wrong])


@pytest.mark.parametrize(
    ("settings", "steps", "epochs"),
    [
        ([], 1000, 30),
        (["run.steps=3"], 3, 0),
        (["run.steps=3", "run.batch=2"], 3, 0),
        (["run.epochs=2"], 1000, 2),
        (["run.epochs=2", "run.steps=3"], 3, 0),
        (["run.steps=3", "run.epochs=2"], 3, 2),
    ],
)
def test_of_steps_and_epochs_the_later_word_counts(
    tmp_path: Path, settings: list[str], steps: int, epochs: int
) -> None:
    """Epochs go before steps where both are given, so a later number of steps takes them back."""
    path = write(tmp_path / "c.toml", "[run]\nepochs = 30\n")
    config = read_config(path, settings)
    assert (config.run.steps, config.run.epochs) == (steps, epochs)


def test_files_that_are_no_toml_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="TOML"):
        read_config(write(tmp_path / "c.toml", "[run\n"))
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "missing.toml")


def test_samples_depend_on_seed_and_number_alone(photos: Path) -> None:
    one, two = crops(photos, 64, 4, seed=1), crops(photos, 64, 4, seed=1)
    two[0], two[7]  # in another order than below
    for number in (7, 0, 3):
        for a, b in zip(one[number], two[number], strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(one[0].frame, crops(photos, 64, 4, seed=2)[0].frame)
    assert not torch.equal(one[0].frame, one[1].frame)


def test_a_neighbour_is_the_same_picture_further_on(photos: Path) -> None:
    dataset = crops(photos, 64, 4, seed=0)
    still = crops(photos, 64, 0, seed=0)
    moved = 0
    for number in range(6):
        sample = dataset[number]
        assert sample.frame.shape == sample.neighbour.shape == (3, 64, 64)
        assert sample.frame.dtype == torch.uint8
        moved += not torch.equal(sample.frame, sample.neighbour)
        assert torch.equal(still[number].frame, still[number].neighbour)
    assert moved >= 4


def test_batches_go_on_where_they_stopped() -> None:
    assert list(ConsecutiveBatches(2, 4, batch=3)) == [[6, 7, 8], [9, 10, 11]]


def test_broken_and_small_photographs_are_left_out(photos: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(InputError, match="no frame is readable"):
        crops(tmp_path, 64, 0, seed=0)[0]
    (tmp_path / "good.png").write_bytes((photos / "cat.png").read_bytes())
    assert crops(tmp_path, 64, 0, seed=0)[0].frame.shape == (3, 64, 64)


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image"):
        crops(tmp_path, 64, 0, seed=0)
    with pytest.raises(InputError, match="not a folder"):
        crops(tmp_path / "missing", 64, 0, seed=0)


def test_luma_is_limited_range_bt709() -> None:
    primaries = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])[:, :, None, None]
    codes = rgb_to_luma(primaries).flatten() * 255
    expected = torch.tensor([235.0, 16.0, 16 + 219 * 0.2126, 16 + 219 * 0.7152, 16 + 219 * 0.0722])
    torch.testing.assert_close(codes, expected)


def limits_of(config: TrainingConfig, count: int) -> torch.Tensor:
    """The configured gain limits, which the samples of a batch take in turn."""
    return draw(changed(config, run={"batch": count}), 0, 1).gain_limit


def prepared(config: TrainingConfig, photos: Path, step: float = 20.0) -> tuple[WeightedLoss, LossInputs]:
    loss = WeightedLoss(config.loss, config.proxy, config.network.planes)
    dataset = crops(photos, 64, 4, seed=0)
    batch = collate([dataset[i] for i in range(4)])
    return loss, loss.prepare(batch, torch.full((4,), step), limits_of(config, 4), torch.zeros(4, 2))


@pytest.mark.parametrize("planes", ["luma", "rgb"])
def test_the_loss_is_the_weighted_sum_of_the_papers_four_terms(
    photos: Path, planes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = dataclasses.replace(TINY.network, planes=planes)
    config = dataclasses.replace(TINY, network=network, loss=LossConfig())
    loss, inputs = prepared(config, photos)
    scored: list[torch.Tensor] = []
    points = loss.scorers.vmaf_points
    monkeypatch.setattr(loss.scorers, "vmaf_points", lambda *given: scored.append(points(*given)) or scored[-1])
    enhanced = inputs.source + 0.02 * torch.sin(torch.arange(64.0))
    terms = loss(inputs, enhanced)
    assert torch.equal(inputs.gain_limit, torch.full((4,), 100.0))
    perceptual = 100.0 - (100.0 - 3.0 * torch.nn.functional.softplus((100.0 - scored[0]) / 3.0)).mean()
    named = terms.named
    expected = 1e-2 * perceptual + named["bits_per_pixel"] + (5.0 * named["l1_before"] + named["l1_after"]) / 255.0
    torch.testing.assert_close(terms.total, expected)


def test_structure_adds_the_log_of_what_ms_ssim_misses(photos: Path) -> None:
    weighted = dataclasses.replace(TINY.loss, structure=0.1)
    loss = WeightedLoss(weighted, TINY.proxy, "luma")
    plain = WeightedLoss(TINY.loss, TINY.proxy, "luma")
    dataset = crops(photos, 176, 4, seed=0)
    batch = collate([dataset[i] for i in range(2)])
    losses = []
    for step in (10.0, 40.0):
        inputs = loss.prepare(batch, torch.full((2,), step), limits_of(TINY, 2), torch.zeros(2, 2))
        terms = loss(inputs, inputs.source)
        structure = terms.named["structure"]
        torch.testing.assert_close(terms.total, plain(inputs, inputs.source).total + 0.1 * structure)
        losses.append(float(structure))
    assert losses[0] < losses[1] < 0


def test_structure_needs_crops_that_ms_ssim_can_halve() -> None:
    with pytest.raises(UsageError, match="above 160"):
        dataclasses.replace(TINY, loss=dataclasses.replace(TINY.loss, structure=0.1))


def test_an_unchanged_frame_has_no_rate_change_and_no_distance(photos: Path) -> None:
    loss, inputs = prepared(TINY, photos)
    terms = loss(inputs, inputs.source)
    assert terms.named["rate_change"] == 0
    assert terms.named["l1_before"] == 0
    assert terms.named["l1_after"] > 0


def test_one_samples_gradient_cannot_drown_the_others(photos: Path) -> None:
    loss, inputs = prepared(TINY, photos)
    gradient = torch.ones_like(inputs.source)
    gradient[0] *= 1000.0
    gradient[1, 0, 0, 0] = float("nan")
    capped = loss.cap(gradient).flatten(1).norm(dim=1)
    assert torch.isfinite(capped).all()
    assert capped[0] <= 2.001 * capped[2]


def test_training_improves_the_loss_it_is_given(photos: Path) -> None:
    """Gradient descent on one batch: the whole chain from loss to weights pulls the right way."""
    loss, inputs = prepared(TINY, photos)
    network = build_network(TINY.network, seed=0)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    totals = []
    for _ in range(25):
        terms = loss(inputs, network(inputs.source))
        optimiser.zero_grad()
        terms.total.backward()
        optimiser.step()
        totals.append(float(terms.total.detach()))
    assert min(totals[-5:]) < totals[0] - 0.003


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    readings: list[Progress] = []
    result = train(TINY, photos, out, validation=photos, on_progress=readings.append)
    assert result.steps == 4
    assert readings[-1].done == readings[-1].total == 4
    return out


def test_a_run_leaves_weights_logs_and_a_record(finished: Path) -> None:
    network = load_model(finished / "last.safetensors")
    assert network.config == TINY.network
    untrained = build_network(TINY.network, seed=3)
    pairs = zip(network.parameters(), untrained.parameters(), strict=True)
    assert any((p != q).any() for p, q in pairs)
    record = read_record(finished / "best.safetensors")
    assert record["config"]["run"]["seed"] == 3
    assert record["steps"] in (2, 4)
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert {line["phase"] for line in lines} == {"train", "validation"}
    assert {"vmaf_gain_limit_100_gain", "vmaf_gain_limit_1_gain", "rate_change"} <= set(lines[-1])
    assert list(finished.glob("events.out.tfevents.*"))


class KilledError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_stopped_run_goes_on_bit_for_bit(photos: Path, finished: Path, tmp_path: Path, stop_after: int) -> None:
    def stop(reading: Progress) -> None:
        if reading.done == stop_after:
            raise KilledError

    with pytest.raises(KilledError):
        train(TINY, photos, tmp_path, validation=photos, on_progress=stop)
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    ours, theirs = load_file(tmp_path / "last.safetensors"), load_file(finished / "last.safetensors")
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


def test_a_folder_that_holds_a_run_is_not_overwritten(photos: Path, finished: Path) -> None:
    with pytest.raises(UsageError, match="`resume`"):
        train(TINY, photos, finished)


def test_resuming_with_another_configuration_is_refused(photos: Path, finished: Path) -> None:
    other = dataclasses.replace(TINY, run=dataclasses.replace(TINY.run, batch=3))
    with pytest.raises(UsageError, match="another configuration"):
        train(other, photos, finished, resume=True)


def test_a_finished_run_goes_on_for_longer_bit_for_bit(photos: Path, finished: Path, tmp_path: Path) -> None:
    shorter = dataclasses.replace(TINY, run=dataclasses.replace(TINY.run, steps=2))
    assert train(shorter, photos, tmp_path, validation=photos).steps == 2
    assert train(TINY, photos, tmp_path, validation=photos, resume=True).steps == TINY.run.steps > 2
    ours, theirs = load_file(tmp_path / "last.safetensors"), load_file(finished / "last.safetensors")
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    with pytest.raises(UsageError, match=f"at step {TINY.run.steps}, and the configuration ends at 2"):
        train(shorter, photos, tmp_path, validation=photos, resume=True)


def test_resuming_nothing_or_rubbish_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to resume"):
        train(TINY, photos, tmp_path / "new", resume=True)
    (tmp_path / "last.state").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError):
        train(TINY, photos, tmp_path, resume=True)


def test_divergence_stops_with_a_clear_error(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: NetworkConfig, seed: int | None = None) -> torch.nn.Module:
        network = build_network(config, seed)
        with torch.no_grad():
            network.tail.bias.fill_(float("nan"))  # type: ignore[union-attr]
        return network

    monkeypatch.setattr("scene.training.conditioning.build_network", broken)
    with pytest.raises(SceneError, match="no longer finite"):
        train(TINY, photos, tmp_path)
    assert not list(tmp_path.glob("last.*")), "diverged weights must not replace a good checkpoint"


def test_the_logged_gradient_norm_is_that_of_the_loss(photos: Path, finished: Path) -> None:
    loss = WeightedLoss(TINY.loss, TINY.proxy, "luma")
    dataset = crops(photos, TINY.data.crop, TINY.data.pan, TINY.run.seed)
    inputs = loss.prepare(collate([dataset[i] for i in range(TINY.run.batch)]), *draw(TINY, 0, 1))
    network = build_network(TINY.network, seed=TINY.run.seed)
    loss(inputs, network(inputs.source)).total.backward()
    expected = torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm()
    logged = json.loads((finished / "log.jsonl").read_text().splitlines()[0])
    assert logged["gradient_norm"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("package", ["schedulefree", "tensorboard", "vmaf_torch", "pytorch_msssim", "PIL"])
def test_a_missing_package_of_the_extra_is_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package or name == "torch.utils.tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    project = {"PIL": "pillow"}.get(package, package.replace("_", "-"))
    with pytest.raises(MissingError, match=rf"needs .*: pip install ({project}|'\.\[train\]' in a checkout)$"):
        train(TINY, photos, tmp_path, validation=photos)
