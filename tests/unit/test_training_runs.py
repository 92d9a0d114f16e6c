"""Training runs that are stopped, killed, starved of disk or fed with rubbish: what they keep, and how they go on."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_training import (
    DRIVER,
    TINY,
    assert_same,
    changed,
    outcome,
    read_log,
    start,
    write_config,
    write_photos,
    write_student,
)

from scene.errors import InputError, SceneError, UsageError
from scene.metrics.vmaf import DifferentiableVmaf
from scene.model import load_model, read_record
from scene.progress import Progress
from scene.training import TrainingConfig, conditioning, loop, run, train
from scene.training.config import ValidationConfig
from scene.training.data.crops import Crops
from scene.training.data.images import read_image
from scene.training.data.sources import open_source
from scene.training.encoder_validation import EncoderValidation, EncoderValidator
from scene.training.loop import _count_steps
from scene.training.losses import LossInputs, WeightedLoss
from scene.training.processes import StopSignals
from scene.training.run import rewind_log
from scene.training.step import TrainingStep
from scene.training.validation import Validator


class TerminatedError(BaseException):
    pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(autouse=True, scope="module")
def log_every_step() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_LOG_EVERY", 1)
        yield


@pytest.fixture(autouse=True)
def sigterm_raises() -> Iterator[None]:
    """As on the command line."""

    def on_sigterm(_number: int, _frame: object) -> None:
        raise TerminatedError

    previous = signal.signal(signal.SIGTERM, on_sigterm)
    yield
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("finished")
    result = train(TINY, photos, out, validation=photos)
    assert (result.weights, result.best, result.steps) == (out / "last.safetensors", out / "best.safetensors", 6)
    return out


def after(step: int, act: Callable[[], object]) -> Callable[[Progress], None]:
    def callback(reading: Progress) -> None:
        if reading.done == step:
            act()

    return callback


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def reached(out: Path) -> int:
    """The step of the weights for use and of the state, which must agree."""
    record = run.load_state(out / "last.state", load_model(out / "last.safetensors"), _NoOptimiser())  # type: ignore[arg-type]
    return int(record["step"])


class _NoOptimiser:
    def __init__(self) -> None:
        self.state: dict[Any, Any] = {}
        self.param_groups: list[dict[str, Any]] = [{}]


# Signals


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminatedError)])
@pytest.mark.parametrize(("step", "saved", "validated"), [(2, 2, []), (3, 4, [2]), (5, 6, [2, 4])])
def test_a_signal_ends_the_step_and_the_resumed_run_is_the_same(
    photos: Path,
    finished: Path,
    tmp_path: Path,
    number: int,
    error: type[BaseException],
    step: int,
    saved: int,
    validated: list[int],
) -> None:
    """Whether it comes before a validation that is due or a step before: that waits for the resumed run."""
    with pytest.raises(error):
        train(TINY, photos, tmp_path, validation=photos, on_progress=after(step, send(number)))
    assert reached(tmp_path) == saved
    assert [line["step"] for line in read_log(tmp_path) if line["phase"] == "validation"] == validated
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    assert_same(tmp_path, finished)


@pytest.mark.parametrize("step", [4, 6])
def test_a_signal_breaks_validation_off_and_the_resumed_run_makes_up_for_it(
    photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    original = Validator.__call__

    def validate(self: Validator, network: Any, now: int, *, last: bool) -> Any:
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the signal should have broken this off")
        return original(self, network, now, last=last)

    with monkeypatch.context() as patch:
        patch.setattr(Validator, "__call__", validate)
        with pytest.raises(TerminatedError):
            train(TINY, photos, tmp_path, validation=photos, on_progress=after(step, lambda: None))
    assert reached(tmp_path) == step, "what was learned before the validation must be kept"
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    assert_same(tmp_path, finished)


def test_an_interruption_between_best_weights_and_state_is_made_up_for(
    photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second, impatient signal may come while the best weights are being written."""
    original = run.save_network
    steps: list[int] = []

    def save(network: Any, path: Path, record: Any) -> None:
        if path.name == "best.safetensors" and record["steps"] > 2:
            steps.append(record["steps"])
            raise KeyboardInterrupt
        original(network, path, record)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "save_network", save)
        train(TINY, photos, tmp_path, validation=photos)
    assert reached(tmp_path) == steps[0]
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    assert_same(tmp_path, finished)


def test_a_signal_while_embeddings_are_computed_is_heeded_at_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    student = write_student(tmp_path / "student.safetensors")
    config = changed(TINY, network={"guidance": "embedding"}, semantics={"encoder": str(student)})

    def compute(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the signal should have broken this off")

    monkeypatch.setattr(conditioning, "compute_embeddings", compute)
    with pytest.raises(KeyboardInterrupt):
        train(config, photos, tmp_path / "out", validation=photos)
    assert not (tmp_path / "out").exists()


def test_a_loading_process_that_dies_during_an_update_costs_no_step(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's handler raises between any two lines; weights that are half updated could not be kept."""
    updates = 0
    original = TrainingStep.update

    def raise_as_torch_does(_number: int, _frame: object) -> None:
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    def update(self: TrainingStep) -> None:
        nonlocal updates
        updates += 1
        if updates == 2:
            os.kill(os.getpid(), signal.SIGCHLD)
        original(self)

    monkeypatch.setattr(TrainingStep, "update", update)
    before = signal.signal(signal.SIGCHLD, raise_as_torch_does)
    try:
        with pytest.raises(SceneError, match="a process that loads data has died"):
            train(TINY, photos, tmp_path, validation=photos)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert reached(tmp_path) == 2


def test_signals_are_noted_delivered_and_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        # Torchrun sends on what the terminal has sent already.
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt), signals.interruptible():
            pytest.fail("a signal that was noted before breaks this off")
        with pytest.raises(KeyboardInterrupt):
            signals.deliver()
        signals._received_at -= 2
        with pytest.raises(TerminatedError):
            os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_ignored_signal_stays_ignored_and_a_default_one_gives_its_exit_code() -> None:
    """A script's background jobs ignore SIGINT, so that Ctrl-C for the script leaves them alone."""
    sigint, sigterm = (signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGINT)
            assert signals.received is None
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(SystemExit) as caught:
                signals.deliver()
            assert caught.value.code == 143
    finally:
        signal.signal(signal.SIGINT, sigint)
        signal.signal(signal.SIGTERM, sigterm)


# Commands


def command(folder: Path, photos: Path, config: TrainingConfig, *extra: object) -> list[object]:
    driver = folder / "driver.py"
    driver.write_text(DRIVER, encoding="utf-8")
    toml = write_config(folder / "run.toml", config)
    return [driver, "train", toml, "--data", photos, "--validation", photos, "--out", folder / "out", *extra]


def wait_for_log(out: Path, lines: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        log = out / "log.jsonl"
        if log.exists() and len(log.read_text(encoding="utf-8").splitlines()) >= lines:
            return
        time.sleep(0.02)
    pytest.fail("the run does not get anywhere")


LONGER = changed(TINY, run={"steps": 30, "validate_every": 10})


@pytest.fixture(scope="module")
def longer(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("longer")
    train(LONGER, photos, out, validation=photos)
    return out


def test_commands_leave_by_signal_with_its_code_and_without_a_trace(photos: Path, longer: Path, tmp_path: Path) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach the loader's processes too; a lost terminal's SIGHUP the command alone."""
    workers = changed(LONGER, data={"workers": 2})
    ends = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "ended by SIGHUP"}
    # One after the other: on a quiet machine the second would be through before the first has ended.
    for number, said in ends.items():
        folder = tmp_path / str(number)
        folder.mkdir()
        config = LONGER if number == signal.SIGHUP else workers
        process = start(*command(folder, photos, config), threads=torch.get_num_threads())
        wait_for_log(folder / "out", 3)
        time.sleep(random.uniform(0, 0.3))
        (os.kill if number == signal.SIGHUP else os.killpg)(process.pid, number)
        output, messages = process.communicate(timeout=60)
        assert process.returncode == 128 + number, messages
        assert output == ""
        assert "Traceback" not in messages
        assert messages.splitlines()[-1] == f"scene: {said}"
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
        assert 0 < reached(folder / "out") < 30
        # Loaded by other processes, but the same samples.
        train(config, photos, folder / "out", validation=photos, resume=True)
        assert_same(folder / "out", longer)
    assert not multiprocessing.active_children()


def test_a_loading_process_that_was_killed_is_named(photos: Path, tmp_path: Path) -> None:
    """As by a system that is short of memory."""
    config = changed(LONGER, data={"workers": 2})
    process = start(*command(tmp_path, photos, config))
    wait_for_log(tmp_path / "out", 3)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(children[-1]), signal.SIGKILL)
    output, messages = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert "Traceback" not in messages
    assert messages.splitlines()[-1].startswith("scene: a process that loads data has died (DataLoader worker (pid")
    assert 0 < reached(tmp_path / "out") < 30


def test_a_loading_process_says_nothing_when_the_one_that_trains_leaves_in_the_middle() -> None:
    """Whoever is handed a batch's file may be gone before it has said who it is."""
    code = """
import socket, sys, time
from multiprocessing.resource_sharer import DupFd
from scene.training.data.crops import _begin_loading
if sys.argv[1] == "loading":
    _begin_loading(0)
address = DupFd(0)._id[0]
with socket.socket(socket.AF_UNIX) as client:
    client.connect(address)
time.sleep(1)
"""
    said = [
        subprocess.run([sys.executable, "-c", code, kind], capture_output=True, text=True, check=True).stderr
        for kind in ("other", "loading")
    ]
    assert "Traceback" in said[0]
    assert said[1] == ""


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_a_killed_run_goes_on_bit_for_bit(photos: Path, longer: Path, tmp_path: Path, attempt: int) -> None:
    process = start(*command(tmp_path, photos, LONGER), threads=torch.get_num_threads())
    wait_for_log(tmp_path / "out", 12)
    time.sleep(random.uniform(0, 1.5))
    process.kill()
    process.communicate()
    with (tmp_path / "out" / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"phase": "train", "st')  # what a power cut leaves
    train(LONGER, photos, tmp_path / "out", validation=photos, resume=True)
    assert_same(tmp_path / "out", longer)


def test_the_command_names_the_best_weights_and_a_disk_that_is_full(photos: Path, tmp_path: Path) -> None:
    short = changed(TINY, run={"steps": 2})

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    folders = [tmp_path / "good", tmp_path / "full"]
    for folder in folders:
        folder.mkdir()
    good = start(*command(folders[0], photos, short))
    full = start(*command(folders[1], photos, short), preexec_fn=small_files)
    output, messages = good.communicate(timeout=60)
    assert (good.returncode, output) == (0, f"{folders[0] / 'out' / 'best.safetensors'}\n"), messages
    output, messages = full.communicate(timeout=60)
    assert (full.returncode, output) == (1, "")
    assert "Traceback" not in messages
    assert messages.splitlines()[-1].startswith("scene: the checkpoint cannot be written (File too large)")
    assert {path.name.split(".")[0] for path in (folders[1] / "out").iterdir()} <= {"log", "events"}


# Disk


@pytest.mark.parametrize("written", ["best.safetensors", "last.safetensors", "last.state"])
def test_a_full_disk_never_damages_a_checkpoint(
    photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    original = Path.replace
    kept: dict[str, bytes] = {}

    def replace(self: Path, target: Path) -> Path:
        if target.name == written and (tmp_path / "last.state").exists():
            kept.update({path.name: path.read_bytes() for path in tmp_path.glob("[bl]*.s*t*")})
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(SceneError, match=r"the checkpoint cannot be written \(No space left on device\)") as caught:
            train(TINY, photos, tmp_path, validation=photos)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.glob(".*")) and not list(tmp_path.glob("*.part"))
    assert {"best.safetensors", "last.safetensors", "last.state"} == kept.keys()
    for name in kept:
        assert load_file(tmp_path / name)
    assert (tmp_path / written).read_bytes() == kept[written]
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    assert_same(tmp_path, finished)


def test_a_log_that_cannot_be_written_is_a_clear_error_and_loses_no_step(
    photos: Path, finished: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"

    def fill() -> None:
        log.rename(tmp_path / "log.kept")
        log.symlink_to("/dev/full")

    with pytest.raises(SceneError, match=r"the log cannot be written \(No space left on device\)"):
        train(TINY, photos, tmp_path, validation=photos, on_progress=after(3, fill))
    log.unlink()
    (tmp_path / "log.kept").rename(log)
    assert reached(tmp_path) == 3
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    assert_same(tmp_path, finished)


def test_event_files_that_cannot_be_written_are_a_clear_error(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(SceneError, match="the log cannot be written"):
        patch.setattr(SummaryWriter, "add_scalar", fail)
        train(TINY, photos, tmp_path / "one", validation=photos)
    with monkeypatch.context() as patch, pytest.raises(SceneError, match="the log cannot be written"):
        patch.setattr(SummaryWriter, "flush", fail)
        patch.setattr(SummaryWriter, "close", fail)
        train(changed(TINY, run={"steps": 1}), photos, tmp_path / "two", validation=photos)
    (tmp_path / "file").touch()
    with pytest.raises(SceneError, match="the log cannot be written"):
        train(TINY, photos, tmp_path / "file" / "three", validation=photos)


def test_a_failing_validation_keeps_what_was_learned(
    photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SceneError("ffmpeg failed")

    with monkeypatch.context() as patch, pytest.raises(SceneError, match="ffmpeg failed"):
        patch.setattr(Validator, "__call__", fail)
        train(TINY, photos, tmp_path, validation=photos)
    assert reached(tmp_path) == 2
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    assert_same(tmp_path, finished)


def test_weights_that_diverged_in_the_last_step_replace_no_checkpoint(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import schedulefree

    original = schedulefree.AdamWScheduleFree.step

    def step(self: Any) -> None:
        original(self)
        if self.param_groups[0]["k"] == 4:
            self.param_groups[0]["params"][0].fill_(float("inf"))

    kept = {}

    def keep() -> None:
        kept.update({name: (tmp_path / name).read_bytes() for name in ("last.safetensors", "last.state")})

    monkeypatch.setattr(schedulefree.AdamWScheduleFree, "step", torch.no_grad()(step))
    with pytest.raises(SceneError, match="no longer finite after step 4"):
        train(TINY, photos, tmp_path, validation=photos, on_progress=after(3, keep))
    assert kept == {name: (tmp_path / name).read_bytes() for name in kept}


# Logs


def test_a_rewound_log_holds_what_the_checkpoint_knows(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [
        '{"phase": "train", "step": 3}',
        '{"phase": "validation", "step": 4}',
        '{"phase": "x264", "step": 4}',
        '{"phase": "train", "step": 4}',
        '{"phase": "train", "ste',
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    rewind_log(path, 4, 4)
    assert path.read_text(encoding="utf-8").splitlines() == lines[:3]
    rewind_log(path, 4, 2)
    assert path.read_text(encoding="utf-8").splitlines() == lines[:1]
    rewind_log(tmp_path / "missing", 4, 2)


def test_a_run_that_died_before_its_first_checkpoint_leaves_no_line_behind(
    photos: Path, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "log.jsonl").write_text('{"phase": "train", "step": 0}\n{"phase": "valida', encoding="utf-8")
    train(TINY, photos, tmp_path, validation=photos)
    assert_same(tmp_path, finished)


def test_tensorboard_shows_every_step_of_a_resumed_run_once(photos: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(KeyboardInterrupt):
        train(TINY, photos, tmp_path, validation=photos, on_progress=after(4, send(signal.SIGINT)))
    # Event files are read in the order of the seconds in their names.
    time.sleep(1.1)
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("validation/loss")] == [2, 4, 6]
    assert [event.step for event in events.Scalars("train/loss")] == [0, 1, 2, 3, 4, 5]


def test_the_shown_speed_is_that_of_the_whole_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    speeds = []

    def step(reading: Progress) -> None:
        speeds.append(reading.fields["steps/s"])

    original = Crops.__getitem__

    def read(self: Crops, number: int) -> Any:
        now[0] += 0.25
        return original(self, number)

    monkeypatch.setattr(Crops, "__getitem__", read)
    train(TINY, photos, tmp_path, validation=photos, on_progress=step)
    assert speeds == pytest.approx([2.0] * 6)


# Data


def test_a_broken_photograph_is_left_out_with_one_line(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_photos(tmp_path / "mixed")
    cat = (folder / "cat.png").read_bytes()
    (folder / "truncated.png").write_bytes(cat[: len(cat) // 2])
    config = changed(TINY, run={"steps": 8})
    with caplog.at_level(logging.WARNING, "scene.training"):
        train(config, folder, tmp_path / "whole", validation=photos)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("left out: ") and "truncated.png" in caplog.messages[0]
    for step in (3,):
        with pytest.raises(KeyboardInterrupt):
            train(
                config,
                folder,
                tmp_path / str(step),
                validation=photos,
                on_progress=after(step, send(signal.SIGINT)),
            )
        train(config, folder, tmp_path / str(step), validation=photos, resume=True)
        assert_same(tmp_path / str(step), tmp_path / "whole")


class Clips:
    """Three frames a sequence, of which one cannot be read."""

    identity = "clips"

    def __len__(self) -> int:
        return 3

    def length(self, sequence: int) -> int:
        return 3

    def name(self, sequence: int, frame: int) -> str:
        return f"{sequence}.{frame}"

    def read(self, sequence: int, frame: int) -> Any:
        if (sequence, frame) == (1, 2):
            raise InputError("1.2 cannot be read")
        return np.full((64, 64, 3), 10 * sequence + frame, np.uint8)


def test_samples_do_not_depend_on_what_was_found_broken_before() -> None:
    """One broken frame leaves the sequence's others in, or a resumed run would see more than the first one did."""
    together = Crops(Clips(), 64, 0, seed=0)
    for number in range(60):
        ours, alone = together[number], Crops(Clips(), 64, 0, seed=0)[number]
        assert torch.equal(ours.frame, alone.frame)
        assert torch.equal(ours.sequence, alone.sequence)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_damaged_photographs_are_read_or_refused(photos: Path, tmp_path: Path, suffix: str) -> None:
    from PIL import Image

    path = tmp_path / f"photo.{suffix}"
    Image.open(photos / "cat.png").resize((40, 32)).save(path)
    whole = path.read_bytes()
    dice = random.Random(5)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[dice.randrange(min(200, len(damaged)))] = dice.randrange(256)
        path.write_bytes(bytes(damaged[: dice.randrange(1, len(damaged))]))
        try:
            assert read_image(path).dtype == np.uint8
        except InputError:
            refused += 1
    assert refused > 0


def test_epochs_see_each_sequence_once(photos: Path, tmp_path: Path) -> None:
    config = changed(TINY, run={"epochs": 3, "steps": 1000})
    assert [_count_steps(config, sequences, processes) for sequences, processes in ((3, 1), (3, 2), (8, 2))] == [
        5,
        3,
        6,
    ]
    crops = Crops(open_source(photos, "images"), 64, 4, seed=3)
    seen = [int(crops[number].sequence) for number in range(9)]
    assert [sorted(seen[start : start + 3]) for start in (0, 3, 6)] == [[0, 1, 2]] * 3
    assert len({tuple(seen[start : start + 3]) for start in (0, 3, 6)}) > 1
    assert train(config, photos, tmp_path, validation=photos).steps == 5


def test_processes_that_load_data_give_the_same_run(photos: Path, finished: Path, tmp_path: Path) -> None:
    train(changed(TINY, data={"workers": 2}), photos, tmp_path, validation=photos)
    assert_same(tmp_path, finished)


def test_an_error_of_a_loaders_process_is_one_clear_line(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"^no frame is readable and at least 64 pixels high and wide$"):
        train(changed(TINY, data={"workers": 1}), folder, tmp_path / "out", validation=photos)


# Resuming with something else


def test_a_state_from_before_there_was_a_key_is_resumed(photos: Path, finished: Path, tmp_path: Path) -> None:
    """What a configuration did not say then is what is its default now."""
    with pytest.raises(KeyboardInterrupt):
        train(TINY, photos, tmp_path, validation=photos, on_progress=after(3, send(signal.SIGINT)))
    tensors = load_file(tmp_path / "last.state")
    with safe_open(tmp_path / "last.state", "pt") as file:
        metadata = file.metadata()
    scalars = json.loads(metadata["scalars"])
    for section, keys in {
        "proxy": ("frames", "shift", "inter_rounding", "inter_step"),
        "loss": ("objective", "vmaf", "vmaf_neg", "ms_ssim", "bound"),
        "optimiser": ("gradient_norm",),
        "network": ("quantiser",),
    }.items():
        for key in keys:
            del scalars["progress"]["config"][section][key]
    save_file(tensors, tmp_path / "last.state", {**metadata, "scalars": json.dumps(scalars)})
    with pytest.raises(UsageError, match="another configuration"):
        train(changed(TINY, proxy={"shift": 2}), photos, tmp_path, validation=photos, resume=True)
    train(TINY, photos, tmp_path, validation=photos, resume=True)
    assert_same(tmp_path, finished)


def test_resuming_with_other_inputs_is_refused(photos: Path, finished: Path, tmp_path: Path) -> None:
    other = write_photos(tmp_path / "other", ("astronaut", "coffee"))
    before = outcome(finished)
    with pytest.raises(UsageError, match="another training data"):
        train(TINY, other, finished, validation=photos, resume=True)
    with pytest.raises(UsageError, match="another validation data"):
        train(TINY, photos, finished, validation=other, resume=True)
    assert outcome(finished) == before
    moved = write_photos(tmp_path / "moved")
    train(TINY, moved, finished, validation=moved, resume=True)
    assert outcome(finished) == before, "the same photographs elsewhere are the same data"


def test_resuming_with_another_encoder_under_the_same_name_is_refused_at_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    student = write_student(tmp_path / "student.safetensors", seed=0)
    config = changed(TINY, network={"guidance": "embedding"}, semantics={"encoder": str(student)}, run={"steps": 1})
    train(config, photos, tmp_path / "out", validation=photos)
    write_student(student, seed=1)
    monkeypatch.setattr(conditioning, "compute_embeddings", lambda *_, **__: pytest.fail("that takes long"))
    with pytest.raises(UsageError, match=r"another semantic encoder \(student@\w+, not student@\w+\)"):
        train(config, photos, tmp_path / "out", validation=photos, resume=True)


# Precision


def test_bfloat16_is_for_the_convolutions_alone(
    photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[str, Any]] = set()
    loss, vmaf, conv = WeightedLoss.forward, DifferentiableVmaf.forward, torch.nn.Conv2d.forward

    def loss_forward(self: WeightedLoss, inputs: LossInputs, enhanced: torch.Tensor) -> Any:
        assert inputs.shifts.dtype == torch.int64
        tensors = (inputs.source, inputs.motion, inputs.step, inputs.gain_limit, enhanced)
        seen.update(("loss", tensor.dtype) for tensor in tensors)
        seen.add(("autocast", torch.is_autocast_enabled("cpu")))
        terms = loss(self, inputs, enhanced)
        seen.update([("total", terms.total.dtype), *(("named", value.dtype) for value in terms.named.values())])
        return terms

    def vmaf_forward(self: DifferentiableVmaf, *arguments: torch.Tensor) -> torch.Tensor:
        seen.update(("vmaf", tensor.dtype) for tensor in arguments)
        return vmaf(self, *arguments)

    def conv_forward(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        result = conv(self, x)
        if torch.is_grad_enabled() and self.weight.requires_grad:
            seen.add(("convolution", result.dtype))
        return result

    monkeypatch.setattr(WeightedLoss, "forward", loss_forward)
    monkeypatch.setattr(DifferentiableVmaf, "forward", vmaf_forward)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", conv_forward)
    train(changed(TINY, run={"precision": "bfloat16"}), photos, tmp_path, validation=photos)
    single = torch.float32
    assert seen == {
        ("loss", single),
        ("autocast", False),
        ("total", single),
        ("named", single),
        ("vmaf", single),
        ("convolution", torch.bfloat16),
    }
    assert {t.dtype for name in ("last.state", "last.safetensors") for t in load_file(tmp_path / name).values()} == {
        single
    }
    ours, theirs = ([line["loss"] for line in read_log(out)] for out in (tmp_path, finished))
    assert ours != theirs
    assert ours == pytest.approx(theirs, rel=2e-2)


# Validation by x264

BY_X264 = changed(TINY, validation={"encode_every": 4, "clips": 1, "frames": 2, "size": (216, 176)})


def test_validation_by_x264_falls_on_a_validation() -> None:
    with pytest.raises(UsageError, match="encode_every = 3 must be a multiple of validate_every = 2"):
        changed(TINY, validation={"encode_every": 3})


@pytest.mark.parametrize(("figures", "best"), [((5.0, -1.0), 6), ((-1.0, 5.0), 4), ((float("inf"), 7.0), 6)])
def test_the_best_weights_are_those_that_save_x264_most(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: tuple[float, float], best: int
) -> None:
    """Every fourth step and after the last; what the proxy says of the others does not matter."""
    readings = iter(figures)
    monkeypatch.setattr(EncoderValidator, "__init__", lambda *_: None)
    monkeypatch.setattr(EncoderValidator, "__call__", lambda *_: EncoderValidation(next(readings), {}, 1))
    result = train(BY_X264, photos, tmp_path, validation=photos)
    assert result.best is not None
    assert read_record(result.best)["steps"] == best
    assert next(readings, None) is None


def test_weights_that_x264_cannot_be_measured_with_are_never_the_best(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncoderValidator, "__init__", lambda *_: None)
    monkeypatch.setattr(EncoderValidator, "__call__", lambda *_: EncoderValidation(float("inf"), {}, 1))
    # Left by some other run.
    (tmp_path / "best.safetensors").write_bytes(b"")
    assert train(BY_X264, photos, tmp_path, validation=photos).best is None


def test_a_run_is_validated_by_real_x264(photos: Path, tmp_path: Path) -> None:
    assert isinstance(BY_X264.validation, ValidationConfig)
    config = changed(BY_X264, run={"steps": 2})
    result = train(config, photos, tmp_path, validation=photos)
    assert result.best is not None
    measured = [line for line in read_log(tmp_path) if line["phase"] == "x264"]
    assert [line["step"] for line in measured] == [2]
    assert "bd_rate_vmaf" in measured[0] or "bd_rate_vmaf_undefined" in measured[0]
