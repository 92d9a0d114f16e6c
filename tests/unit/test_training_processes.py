"""Several processes train as one does with the joint batch, and stop together."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_training import DRIVER, TINY, assert_same, changed, read_log, start, write_config, write_photos

from scene.errors import UsageError
from scene.model import build_network, read_record
from scene.training import TrainingConfig, loop, train
from scene.training.data.crops import ConsecutiveBatches, Crops, Sample, collate
from scene.training.data.sources import open_source
from scene.training.losses import GradientCap
from scene.training.processes import Processes
from scene.training.step import TrainingStep, draw

CPU = torch.device("cpu")
# With this cap the smaller half of the gradients decides, in which all or none of a process's own may lie.
TWO = changed(TINY, loss={"gradient_cap": 1.0}, run={"batch": 2, "steps": 8, "validate_every": 4})
ONE = changed(TWO, run={"batch": 4})
# Slopes, savings and their bounds are those of the joint batch.
SAVING = changed(
    TWO,
    network={"quantiser": (10.0, 40.0)},
    proxy={"frames": 2},
    loss={"objective": "saving", "ms_ssim": 0.0, "before": 0.5, "bound": 0.1},
    optimiser={"gradient_norm": 1.0},
    # Later a level that rounds otherwise makes the runs differ.
    run={"steps": 4},
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_photos(tmp_path_factory.mktemp("data") / "photos")
    Image.fromarray(np.full((200, 240, 3), 90, np.uint8)).save(folder / "flat.png")
    ramp = np.linspace(60, 64, 240).astype(np.uint8)
    Image.fromarray(np.broadcast_to(ramp[None, :, None], (200, 240, 3)).copy()).save(folder / "nearly-flat.png")
    return folder


def torchrun(folder: Path, photos: Path, config: TrainingConfig, *extra: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    driver = folder / "driver.py"
    driver.write_text(DRIVER, encoding="utf-8")
    toml = write_config(folder / "run.toml", config)
    command = ["train", toml, "--data", photos, "--validation", photos, "--out", folder / "out", *extra]
    return start("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, driver, *command)


@pytest.fixture(scope="module")
def joint(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run of two processes that nothing disturbed, and what it printed."""
    folder = tmp_path_factory.mktemp("joint")
    process = torchrun(folder, photos, TWO)
    output, messages = process.communicate(timeout=240)
    assert process.returncode == 0, messages
    return folder / "out", output, messages


def losses(out: Path, phase: str) -> list[float]:
    return [line["loss"] for line in read_log(out) if line["phase"] == phase]


def test_two_processes_train_as_one_with_the_joint_batch(
    photos: Path, joint: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOG_EVERY", 1)
    train(ONE, photos, tmp_path, validation=photos)
    two, one = (read_log(out) for out in (joint[0], tmp_path))
    assert [(line["phase"], line["step"]) for line in two] == [(line["phase"], line["step"]) for line in one]
    assert len(losses(joint[0], "train")) == 8
    for ours, theirs in zip(two, one, strict=True):
        for name in ("loss", *(() if ours["phase"] == "validation" else ("score", "bits_per_pixel", "gradient_norm"))):
            tolerance = 1e-3 if name == "gradient_norm" else 1e-5
            assert ours[name] == pytest.approx(theirs[name], rel=tolerance), (name, ours["phase"], ours["step"])
    weights = [load_file(out / "last.safetensors") for out in (joint[0], tmp_path)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=2e-5)


def test_two_processes_save_what_one_does_with_the_joint_batch(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = torchrun(tmp_path / "two", photos, SAVING)
    _, messages = process.communicate(timeout=240)
    assert process.returncode == 0, messages
    monkeypatch.setattr(loop, "_LOG_EVERY", 1)
    train(changed(SAVING, run={"batch": 4}), photos, tmp_path / "one", validation=photos)
    two, one = (read_log(out) for out in (tmp_path / "two" / "out", tmp_path / "one"))
    assert [(line["phase"], line["step"]) for line in two] == [(line["phase"], line["step"]) for line in one]
    for ours, theirs in zip(two, one, strict=True):
        phase = ours.pop("phase"), theirs.pop("phase")
        assert ours == pytest.approx(theirs, rel=2e-3, abs=2e-4), (phase, ours["step"])
    assert any(abs(line["saving_vmaf"]) > 1e-3 for line in one)


def test_the_joint_median_matters_for_these_photographs(
    photos: Path, joint: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the test above could not tell whether gradients are capped together."""
    monkeypatch.setattr(loop, "_LOG_EVERY", 1)
    capped = GradientCap.__call__

    def alone(self: GradientCap, gradient: torch.Tensor) -> torch.Tensor:
        return torch.cat([capped(self, half) for half in gradient.chunk(2)])

    monkeypatch.setattr(GradientCap, "__call__", alone)
    train(changed(ONE, run={"steps": 4}), photos, tmp_path, validation=photos)
    apart = losses(tmp_path, "train")
    assert apart[0] == pytest.approx(losses(joint[0], "train")[0], rel=1e-5)
    assert apart != pytest.approx(losses(joint[0], "train")[:4], rel=1e-5)


def test_the_first_process_alone_writes(joint: tuple[Path, str, str]) -> None:
    out, output, messages = joint
    assert len(list(out.glob("events.out.tfevents.*"))) == 1
    assert messages.count("train: 8/8 steps") == 1
    assert messages.count("step 8, validation") == 1
    assert set(output.splitlines()) <= {str(out / "best.safetensors"), str(out / "last.safetensors")}
    assert output.splitlines().count(str(out / "best.safetensors")) == 1
    assert read_record(out / "last.safetensors")["steps"] == 8


def test_resuming_with_another_number_of_processes_is_refused(photos: Path, joint: tuple[Path, str, str]) -> None:
    """Samples would be skipped or repeated, however the batch is changed."""
    with pytest.raises(UsageError, match=r"another number of processes \(2, not 1\)"):
        train(TWO, photos, joint[0], validation=photos, resume=True)


def wait_for_log(out: Path, lines: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        log = out / "log.jsonl"
        if log.exists() and len(log.read_text(encoding="utf-8").splitlines()) >= lines:
            return
        time.sleep(0.02)
    pytest.fail("the run does not get anywhere")


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torchrun by SIGTERM", "all by Ctrl-C", "one process"])
def test_processes_stop_together_and_the_resumed_run_is_the_same(photos: Path, tmp_path: Path, to: str) -> None:
    config = changed(TWO, run={"steps": 60, "validate_every": 20})
    whole = torchrun(tmp_path / "whole", photos, config)
    parts = torchrun(tmp_path / "parts", photos, config)
    wait_for_log(tmp_path / "parts" / "out", 3)
    time.sleep(random.uniform(0, 1))
    if to == "torchrun by SIGTERM":
        os.kill(parts.pid, signal.SIGTERM)
    elif to == "all by Ctrl-C":
        os.killpg(parts.pid, signal.SIGINT)
    else:
        children = Path(f"/proc/{parts.pid}/task/{parts.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGTERM)
    _, messages = parts.communicate(timeout=120)
    assert parts.returncode != 0
    assert "unexpected" not in messages, messages
    with pytest.raises(ProcessLookupError):
        os.killpg(parts.pid, 0)
    if to == "one process":
        assert "scene: another process was stopped, and this one after step " in messages
    assert 0 < read_record(tmp_path / "parts" / "out" / "last.safetensors")["steps"] < 60
    resumed = torchrun(tmp_path / "parts", photos, config, "--resume")
    for process in (whole, resumed):
        _, messages = process.communicate(timeout=240)
        assert process.returncode == 0, messages
    assert_same(tmp_path / "parts" / "out", tmp_path / "whole" / "out")


# The parts, without processes


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_joint_batch_in_order(processes: int) -> None:
    batch = 12 // processes
    shares = [list(ConsecutiveBatches(2, 5, batch, rank, processes)) for rank in range(processes)]
    assert [[number for part in step for number in part] for step in zip(*shares, strict=True)] == list(
        ConsecutiveBatches(2, 5, 12)
    )


def test_quantiser_steps_and_gain_limits_are_those_of_the_joint_batch() -> None:
    for one, two in zip(draw(ONE, 7, 1), draw(TWO, 7, 2), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(draw(ONE, 7, 1).step, draw(ONE, 8, 1).step)


def test_each_process_has_its_part_of_the_joint_draw(photos: Path) -> None:
    class PreparedError(Exception):
        """Ends a step with what was drawn for it."""

    class Loss:
        def prepare(self, _: Sample, *drawn: torch.Tensor) -> None:
            raise PreparedError(*drawn)

    dataset = Crops(open_source(photos, "images"), TWO.crop_side, TWO.data.pan, seed=0)
    batch = collate([dataset[number] for number in range(TWO.run.batch)])
    shares = []
    for rank in range(2):
        step = TrainingStep(TWO, build_network(TWO.network, seed=0), Loss(), Processes(rank, 2, CPU))  # type: ignore[arg-type]
        with pytest.raises(PreparedError) as caught:
            step.compute_gradients(7, batch, None)
        shares.append(caught.value.args)
    for joint, *parts in zip(draw(ONE, 7, 1), *shares, strict=True):
        assert torch.equal(torch.cat(parts), joint)
