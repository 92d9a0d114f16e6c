"""The saving at equal rate as a loss: units, signs, what cannot break it, and runs that train on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import TINY, assert_same, changed, read_log, write_config, write_photos

from scene.errors import UsageError
from scene.metrics.loss_metrics import LOSS_METRICS, LossMetric, LumaPair, Scorers
from scene.model import build_network, load_model
from scene.progress import Progress
from scene.training import TrainingConfig, loop, read_config, train
from scene.training.data.crops import Crops, Sample, collate
from scene.training.data.sources import open_source
from scene.training.losses import LossInputs
from scene.training.processes import Processes
from scene.training.rate_saving import RateSavingLoss, open_loss, saving_sums, savings
from scene.training.step import draw
from scene.training.validation import ProxyValidator

CPU = torch.device("cpu")
# Windows of 64 pixels, for which there is no MS-SSIM.
SAVING = changed(
    TINY,
    network={"quantiser": (10.0, 40.0)},
    proxy={"frames": 3, "smoothing": 0.4},
    loss={"objective": "saving", "ms_ssim": 0.0, "before": 0.0, "after": 0.0},
    optimiser={"gradient_norm": 1.0},
)
WHOLE = changed(SAVING, data={"crop": 176}, loss={"ms_ssim": 1.0})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


def open_tiny(config: TrainingConfig) -> RateSavingLoss:
    loss = open_loss(config, Processes(0, 1, CPU))
    assert isinstance(loss, RateSavingLoss)
    return loss


def batch_of(config: TrainingConfig, photos: Path, count: int = 4) -> Sample:
    crops = Crops(open_source(photos, "images"), config.crop_side, config.data.pan, seed=0)
    return collate([crops[number] for number in range(count)])


def given(config: TrainingConfig, loss: RateSavingLoss, batch: Sample) -> LossInputs:
    """A batch with what the first step draws for it."""
    return loss.prepare(batch, *draw(changed(config, run={"batch": len(batch.frame)}), 0, 1))


def part_of(inputs: LossInputs, part: slice) -> LossInputs:
    """Some samples of a batch."""
    return LossInputs(*(getattr(inputs, entry.name)[part] for entry in dataclasses.fields(inputs)))


# The formula


def test_the_saving_is_the_score_over_the_codecs_own_slope_less_the_rate() -> None:
    # 2 points for 0.1 of the log rate: 20 points a unit. 1 point more is worth 0.05, 0.02 more rate costs 0.02.
    scores = torch.tensor([[[91.0, 81.0]], [[90.0, 80.0]], [[88.0, 78.0]]])
    rates = torch.tensor([[0.02, 1.02], [0.0, 1.0], [-0.1, 0.9]])
    torch.testing.assert_close(savings(saving_sums(scores, rates)), torch.tensor([0.03]))


def test_sums_come_before_ratios() -> None:
    """A sample without slope would have a ratio without bound."""
    scores = torch.tensor([[[91.0, 95.5]], [[90.0, 95.0]], [[86.0, 95.0]]])
    rates = torch.tensor([[0.0, 0.0], [0.0, 0.0], [-0.1, -0.1]])
    torch.testing.assert_close(savings(saving_sums(scores, rates)), torch.tensor([0.75 / 20.0]))


def test_sums_of_two_batches_are_those_of_both_together() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, rates = torch.randn(3, 2, 6, generator=generator), torch.randn(3, 6, generator=generator)
    parts = saving_sums(scores[..., :2], rates[:, :2]) + saving_sums(scores[..., 2:], rates[:, 2:])
    torch.testing.assert_close(parts, saving_sums(scores, rates))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_score_that_is_not_finite_takes_its_sample_out_of_that_metric(wrong: float, which: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores, rates = torch.randn(3, 2, 4, generator=generator), torch.randn(3, 4, generator=generator)
    without = saving_sums(scores[..., 1:], rates[:, 1:])
    whole = saving_sums(scores, rates)
    scores[which, 0, 0] = wrong
    sums = saving_sums(scores, rates)
    torch.testing.assert_close(sums[:, 0], without[:, 0])
    torch.testing.assert_close(sums[:, 1], whole[:, 1])


def test_nothing_at_all_saves_nothing() -> None:
    scores = torch.full((3, 2, 4), float("nan"))
    assert torch.equal(savings(saving_sums(scores, torch.zeros(3, 4))), torch.zeros(2))


# The loss


def test_an_unchanged_picture_saves_nothing(photos: Path) -> None:
    loss = open_tiny(WHOLE)
    inputs = given(WHOLE, loss, batch_of(WHOLE, photos))
    assert inputs.source.shape[-1] == 184
    terms = loss(inputs, inputs.source)
    assert torch.equal(savings(terms.sums), torch.zeros(3))
    assert terms.total == terms.named["rate_change"] == terms.named["l1_before"] == 0
    assert terms.named["l1_after"] > 0 > terms.named["structure"]
    # Points for a unit of the log of the rate, of all three metrics.
    slopes = terms.sums[3] / terms.sums[4]
    assert ((slopes > 2.0) & (slopes < 60.0)).all()


def test_less_rate_at_equal_scores_is_a_saving_of_that_much(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = open_tiny(SAVING)
    inputs = given(SAVING, loss, batch_of(SAVING, photos))
    code, calls = loss.proxy.forward, []

    def cheaper(*arguments: torch.Tensor) -> Any:
        """The third time it is the processed windows."""
        out = code(*arguments)
        calls.append(arguments)
        return out._replace(bits_per_pixel=out.bits_per_pixel * 0.9) if len(calls) == 3 else out

    monkeypatch.setattr(loss.proxy, "forward", cheaper)
    terms = loss(inputs, inputs.source)
    saved = savings(terms.sums)
    assert ((saved > 0.08) & (saved < -torch.log(torch.tensor(0.9)) + 1e-6)).all()
    bounded = 0.5 * torch.tanh(saved / 0.5)
    torch.testing.assert_close(terms.total, -(0.3 * bounded[0] + bounded[1]) / 1.3)


def test_a_shift_of_brightness_is_a_loss_to_psnr_alone(photos: Path) -> None:
    config = changed(SAVING, loss={"psnr": 1.0})
    assert config.loss.saving_metrics == ("vmaf", "vmaf_neg", "psnr")
    loss = open_tiny(config)
    inputs = given(config, loss, batch_of(config, photos))
    vmaf, neg, psnr = savings(loss(inputs, inputs.source + 4 / 255).sums).tolist()
    assert psnr < -0.1 < min(vmaf, neg)
    # Some 5 dB for a unit of the log of the rate, as along every codec's curve; more in windows as small as these.
    sums = loss(inputs, inputs.source).sums
    assert 3.0 < float(sums[3, 2] / sums[4, 2]) < 9.0


def test_coarser_coding_saves_nothing_by_itself(photos: Path) -> None:
    """The codec's own curve is the unit: to go along it is worth next to nothing."""
    loss = open_tiny(SAVING)
    inputs = given(SAVING, loss, batch_of(SAVING, photos))
    blurred = torch.nn.functional.avg_pool2d(inputs.source, 3, 1, 1, count_include_pad=False)
    terms = loss(inputs, blurred)
    assert terms.named["rate_change"] < -0.1
    assert (savings(terms.sums) < -terms.named["rate_change"]).all()


def test_l1_terms_are_added_where_they_have_weights(photos: Path) -> None:
    weighted = changed(SAVING, loss={"before": 2.0, "after": 3.0})
    plain, with_l1 = open_tiny(SAVING), open_tiny(weighted)
    inputs = given(SAVING, plain, batch_of(SAVING, photos))
    enhanced = inputs.source + 0.01
    terms = with_l1(inputs, enhanced)
    expected = plain(inputs, enhanced).total + (2.0 * terms.named["l1_before"] + 3.0 * terms.named["l1_after"]) / 255.0
    torch.testing.assert_close(terms.total, expected)
    assert float(terms.named["l1_before"]) == pytest.approx(2.55, rel=1e-3)


def test_motion_is_that_of_the_windows(photos: Path) -> None:
    loss = open_tiny(SAVING)
    batch = batch_of(SAVING, photos)
    ones = torch.ones(4)
    still, moved = (loss.prepare(batch, ones, ones, torch.full((4, 2), s)).motion for s in (0, 4))
    assert torch.equal(still, torch.zeros(4))
    assert (moved > 0.1).all()
    one = open_tiny(changed(SAVING, proxy={"frames": 1}))
    assert (one.prepare(batch, ones, ones, torch.full((4, 2), 4)).motion != moved).any()


@pytest.mark.parametrize("crops", ["flat", "one flat", "black and white"])
def test_crops_without_detail_leave_loss_and_gradient_finite(photos: Path, crops: str) -> None:
    loss = open_tiny(WHOLE)
    batch = batch_of(WHOLE, photos, 2)
    frame = batch.frame.clone()
    frame[0] = 90
    if crops != "one flat":
        frame[1] = 0
    if crops == "black and white":
        frame[1, ..., 92:] = 255
    inputs = given(WHOLE, loss, batch._replace(frame=frame))
    network = build_network(WHOLE.network, seed=0)
    for _ in range(2):
        terms = loss(inputs, network(inputs.source, None, inputs.step))
        assert torch.isfinite(terms.total)
        network.zero_grad()
        terms.total.backward()
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())
        with torch.no_grad():
            network.tail.bias += 0.01  # type: ignore[operator]


def test_descent_on_one_batch_saves_rate(photos: Path) -> None:
    """The whole chain from savings to weights pulls the right way, and the step reaches the network."""
    loss = open_tiny(SAVING)
    inputs = given(SAVING, loss, batch_of(SAVING, photos))
    network = build_network(SAVING.network, seed=0)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    totals = []
    for _ in range(25):
        terms = loss(inputs, network(inputs.source, None, inputs.step))
        optimiser.zero_grad()
        terms.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        totals.append(float(terms.total.detach()))
    assert totals[0] == 0.0
    assert min(totals[-5:]) < -0.01
    assert network.head.weight.grad is not None
    assert network.head.weight.grad[:, -1].abs().sum() > 0


def test_rgb_and_jpeg_tables_serve_a_single_frame(photos: Path) -> None:
    config = changed(SAVING, network={"planes": "rgb"}, proxy={"frames": 1, "tables": "jpeg"})
    loss = open_tiny(config)
    inputs = given(config, loss, batch_of(config, photos))
    assert inputs.source.shape == (4, 3, 64, 64)
    leaf = inputs.source.clone().requires_grad_()
    terms = loss(inputs, leaf)
    terms.total.backward()
    assert leaf.grad is not None and (leaf.grad.flatten(1).norm(dim=1) > 0).all()
    # A single frame does not move.
    still = dataclasses.replace(inputs, shifts=torch.zeros_like(inputs.shifts))
    assert torch.equal(loss(still, inputs.source + 0.01).sums, loss(inputs, inputs.source + 0.01).sums)


def test_two_processes_have_the_joint_savings_and_half_the_gradient_each(photos: Path) -> None:
    """`Processes.mean` averages over processes; so do their gradients."""
    joint = open_tiny(changed(SAVING, loss={"gradient_cap": 1e9}))
    inputs = given(SAVING, joint, batch_of(SAVING, photos))
    leaf = (inputs.source * 1.02).requires_grad_()
    whole = joint(inputs, leaf)
    whole.total.backward()
    halves = [slice(0, 2), slice(2, 4)]
    sums = [joint(part_of(inputs, half), leaf.detach()[half]).sums for half in halves]
    gradients = []
    for half in halves:
        loss = RateSavingLoss(
            dataclasses.replace(SAVING.loss, gradient_cap=1e9),
            SAVING.proxy,
            "luma",
            mean=lambda _: (sums[0] + sums[1]) / 2,
        )
        part = leaf.detach()[half].requires_grad_()
        terms = loss(part_of(inputs, half), part)
        terms.total.backward()
        torch.testing.assert_close(terms.total, whole.total)
        torch.testing.assert_close(savings(terms.sums), savings(whole.sums))
        gradients.append(part.grad)
    torch.testing.assert_close(torch.cat(gradients) / 2, leaf.grad)


# Configurations


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[proxy]\nframes = 3\n", 2, "needs tables = 'flat'"),
        ('[network]\nplanes = "luma"\n[proxy]\ntables = "flat"\nframes = 3\n', 5, "needs objective = 'saving'"),
        ('[loss]\nobjective = "saving"\n[proxy]\ntables = "flat"\nframes = 3\n', 5, "planes = 'luma'"),
        ('[loss]\nobjective = "best"\n', 2, "must be one of weighted, saving"),
        ('[loss]\nobjective = "saving"\nvmaf = 0\nvmaf_neg = 0\nms_ssim = 0\n', 2, "needs a weight above 0"),
        ("[loss]\nvmaf_neg = -1\n", 2, "must be float >= 0"),
        ("[loss]\nbound = 0\n", 2, "must be float > 0"),
        ('[data]\ncrop = 160\n[loss]\nobjective = "saving"\n', 2, "saving in ms_ssim"),
        ("[proxy]\nblocks = []\n", 2, "must be sizes among 4, 8, 16, 32"),
        ("[proxy]\nblocks = [8, 5]\n", 2, "must be sizes among 4, 8, 16, 32"),
        ("[proxy]\nblocks = [8, 16]\n", 2, "needs tables = 'flat'"),
        ('[proxy]\ntables = "flat"\nblocks = [16]\n', 3, "needs objective = 'saving'"),
        ("[proxy]\nshift = 3\n", 2, "multiple of 2"),
        ("[proxy]\nframes = 0\n", 2, "must be int >= 1"),
        ("[proxy]\nframes = 17\n", 2, "must be int <= 16"),
        ('[validation]\nmetrics = ["ssim"]\n', 2, "must be one of vmaf, vmaf_neg, vmaf_v1, ms_ssim"),
        ("[proxy]\ninter_rounding = 0.6\n", 2, "must be float <= 0.5"),
        ("[proxy]\ninter_step = 0\n", 2, "must be float > 0"),
        ("[optimiser]\ngradient_norm = -1.0\n", 2, "must be float >= 0"),
        ("[network]\nquantiser = [5, 60]\n", 2, r"must be what steps in \[proxy\] says, \[6.0, 60.0\]"),
        ("[network]\nquantiser = true\n", 2, "must be array"),
        ("[network]\nquantiser = [6]\n", 2, "must be array of length 2"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        read_config(path)
    assert f"c.toml:{line}:" in str(caught.value)


def test_a_configuration_on_savings_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_config(write_config(tmp_path / "c.toml", WHOLE)) == WHOLE
    assert (WHOLE.crop_side, WHOLE.data.crop, TINY.crop_side) == (184, 176, 64)
    assert WHOLE.loss.saving_metrics == ("vmaf", "vmaf_neg", "ms_ssim")
    assert TINY.loss.saving_metrics == ()


def test_quantiser_steps_are_those_of_a_run_without_shifts() -> None:
    """Shifts are drawn after them."""
    one, several = (draw(changed(SAVING, proxy={"shift": s}), 5, 1) for s in (0, 4))
    assert torch.equal(one[0], several[0])
    assert torch.equal(one[2], torch.zeros(2, 2))
    drawn = torch.cat([draw(SAVING, step, 1)[2] for step in range(60)])
    assert sorted(set(drawn.flatten().tolist())) == [-4, -2, 0, 2, 4]


# Runs


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_LOG_EVERY", 1)
        train(SAVING, photos, out, validation=photos)
    return out


def test_a_run_logs_its_savings(finished: Path) -> None:
    assert load_model(finished / "last.safetensors").config.quantiser == (10.0, 40.0)
    lines = read_log(finished)
    training = [line for line in lines if line["phase"] == "train"]
    assert training[0]["saving_vmaf"] == training[0]["saving_vmaf_neg"] == 0.0
    assert training[-1]["saving_vmaf"] != 0.0
    assert "saving_ms_ssim" not in training[0]
    validation = [line for line in lines if line["phase"] == "validation"][-1]
    of_steps = [validation[f"saving_vmaf_{number}"] for number in range(1, 5)]
    assert validation["saving_vmaf"] == pytest.approx(sum(of_steps) / 4)
    assert not any("gain_limit" in name for name in validation)


@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_stopped_run_goes_on_bit_for_bit(
    photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    monkeypatch.setattr(loop, "_LOG_EVERY", 1)

    def stop(reading: Progress) -> None:
        if reading.done == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SAVING, photos, tmp_path, validation=photos, on_progress=stop)
    train(SAVING, photos, tmp_path, validation=photos, resume=True)
    assert_same(tmp_path, finished)


def test_the_longest_gradient_is_what_the_configuration_says(photos: Path, tmp_path: Path) -> None:
    """Schedule-free's first moment is the gradient's square, which tells how long it was."""
    lengths = {}
    for norm in (0.0, 1e-3):
        config = changed(SAVING, optimiser={"gradient_norm": norm}, run={"steps": 1})
        out = tmp_path / str(norm)
        train(config, photos, out, validation=photos)
        squares = [t.sum() for name, t in load_file(out / "last.state").items() if "/exp_avg_sq/" in name]
        # One minus the second beta, of the first step.
        lengths[norm] = float(torch.stack(squares).sum() / 0.001) ** 0.5
    assert lengths[1e-3] == pytest.approx(1e-3, rel=0.05)
    assert lengths[0.0] > 0.1


def test_validation_pools_the_savings_of_all_crops_at_each_step(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = open_tiny(SAVING)
    network = build_network(SAVING.network, seed=0).eval()
    with torch.no_grad():
        network.tail.weight.add_(
            0.002 * torch.randn(network.tail.weight.shape, generator=torch.Generator().manual_seed(0))
        )
    validator = ProxyValidator(open_source(photos, "images"), SAVING)
    assert len(validator.samples) == 3
    together = validator(network, loss, CPU)
    monkeypatch.setattr("scene.training.validation._BATCH", 1)
    apart = validator(network, loss, CPU)
    assert list(together.savings) == ["vmaf", "vmaf_neg"]
    assert all(len(of_steps) == 4 for of_steps in together.savings.values())
    assert together.savings["vmaf"] == pytest.approx(apart.savings["vmaf"], abs=1e-4)
    assert len(set(together.savings["vmaf"])) == 4
    assert together.score_gains == ()


def test_a_new_loss_metric_is_one_entry(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration, loss, validation and log know it from the table."""

    def fidelity(_: Scorers, pair: LumaPair) -> torch.Tensor:
        return -100.0 * (pair.distorted - pair.reference).abs().mean(dim=(1, 2, 3))

    monkeypatch.setitem(LOSS_METRICS, "fidelity", LossMetric("fidelity", fidelity, 0.0))
    config = changed(SAVING, loss={"fidelity": 0.5}, run={"steps": 2, "validate_every": 2})
    assert read_config(write_config(tmp_path / "c.toml", config)) == config
    train(config, photos, tmp_path / "run", validation=photos)
    log = read_log(tmp_path / "run")
    assert {line["phase"] for line in log if "saving_fidelity" in line} == {"train", "validation"}
    monkeypatch.delitem(LOSS_METRICS, "fidelity")
    with pytest.raises(UsageError, match=r"fidelity = 0.5 is no key of \[loss\]"):
        read_config(tmp_path / "c.toml")
