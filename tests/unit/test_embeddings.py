"""The embeddings of a data set on disk: right, computed once, and safe against whatever stops a run."""

from __future__ import annotations

import fcntl
import logging
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data as photographs
from torch import Tensor

from scene.errors import InputError, SceneError
from scene.model.semantics.encoder import SemanticEncoder, unit_mean_square
from scene.progress import Progress
from scene.training.data import embedding_table, embeddings
from scene.training.data.embedding_table import EmbeddingTable
from scene.training.data.embeddings import compute_embeddings

WIDTH = 6


class Windows:
    """Windows of three frames of one photograph; some are smaller, some cannot be read."""

    def __init__(self, count: int, *, unreadable: tuple[int, ...] = (), small: tuple[int, ...] = ()) -> None:
        self.count = count
        self.unreadable = unreadable
        self.small = small
        self.photograph = photographs.astronaut()
        self.identity = f"windows {count}"

    def __len__(self) -> int:
        return self.count

    def length(self, sequence: int) -> int:
        return 3

    def name(self, sequence: int, frame: int) -> str:
        return f"window-{sequence}.{frame}"

    def read(self, sequence: int, frame: int) -> np.ndarray:
        if sequence in self.unreadable:
            raise InputError(f"{self.name(sequence, frame)} cannot be read")
        side = 24 if sequence in self.small else 32
        # Everything differs: sequences, frames, and an image from its mirror images.
        return self.photograph[frame * 40 :, sequence:][:side, :side]


class Regions(SemanticEncoder):
    """Mean colours and gradients of the frame or of its quarters; counts what it is given."""

    width = WIDTH
    identity = "test/regions"

    def __init__(self, *, fails_after: int | None = None, broken: float | None = None) -> None:
        super().__init__()
        self.frames = 0
        self.fails_after = fails_after
        self.broken = broken

    def forward(self, pictures: Tensor, *, spatial: bool = False) -> Tensor:
        if self.fails_after is not None and self.frames >= self.fails_after:
            raise RuntimeError("the device was lost")
        self.frames += len(pictures)
        ramp = torch.linspace(-1, 1, pictures.shape[-1])
        features = torch.cat([pictures, pictures * ramp], dim=1) + 0.1
        pooled = torch.nn.functional.adaptive_avg_pool2d(features, 2 if spatial else 1)
        embedded = unit_mean_square(pooled)
        if self.broken is not None:
            embedded[-1, 0] = self.broken
        return embedded


def expected(source: Windows, sequence: int, *, spatial: bool = False) -> Tensor:
    picture = torch.from_numpy(source.read(sequence, 1).copy()).permute(2, 0, 1)[None].float() / 255
    return Regions()(picture, spatial=spatial)[0]


def compute(source: Windows, encoder: Regions, folder: Path, *, spatial: bool = False) -> EmbeddingTable:
    return compute_embeddings(source, encoder, folder, spatial=spatial, device="cpu")


def files(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_BATCH", 8)


@pytest.mark.parametrize("spatial", [False, True])
def test_rows_are_the_encoders_for_whole_middle_frames(tmp_path: Path, spatial: bool) -> None:
    source = Windows(21, small=(3, 10, 20))
    conditioned: list[Progress] = []
    table = compute_embeddings(
        source, Regions(), tmp_path / "cache", spatial=spatial, device="cpu", on_progress=conditioned.append
    )
    assert len(table) == 21 and table.shape == ((WIDTH, 2, 2) if spatial else (WIDTH, 1, 1))
    rows = table.lookup([20, 0, 0, 7])
    assert rows.dtype == torch.float32 and rows.shape == (4, *table.shape)
    for row, number in zip(rows, (20, 0, 0, 7), strict=True):
        # float16 rounds to 11 bits, and batches of other sizes may sum in another order.
        torch.testing.assert_close(row, expected(source, number, spatial=spatial), rtol=2**-10, atol=1e-4)
    assert torch.equal(table.lookup(torch.tensor([20, 0, 0, 7])), rows)
    assert [(p.done, p.total) for p in conditioned] == [(8, 21), (16, 21), (21, 21)]
    with pytest.raises(IndexError):
        table.lookup([21])


def test_rows_are_the_encoders_output_to_the_last_bit_of_float16(tmp_path: Path) -> None:
    source = Windows(8)
    pictures = torch.from_numpy(np.stack([source.read(n, 1) for n in range(8)])).permute(0, 3, 1, 2).float() / 255
    table = compute(source, Regions(), tmp_path)
    assert torch.equal(table.lookup(range(8)), Regions()(pictures).half().float())


def test_a_table_is_computed_once_for_each_source_encoder_and_kind(tmp_path: Path) -> None:
    encoder = Regions()
    table = compute(Windows(10), encoder, tmp_path)
    assert encoder.frames == 10 and files(tmp_path) == {".npy", ".lock"}
    again = compute(Windows(10), encoder, tmp_path)
    assert encoder.frames == 10 and torch.equal(again.lookup(range(10)), table.lookup(range(10)))
    compute(Windows(10), encoder, tmp_path, spatial=True)
    compute(Windows(11), encoder, tmp_path)
    assert encoder.frames == 31
    encoder.identity = "test/another"
    compute(Windows(10), encoder, tmp_path)
    assert encoder.frames == 41


def test_tables_travel_to_other_processes(tmp_path: Path) -> None:
    table = compute(Windows(9), Regions(), tmp_path)
    pickled = pickle.dumps(table)
    assert len(pickled) < 500
    assert torch.equal(pickle.loads(pickled).lookup([4]), table.lookup([4]))  # noqa: S301


def test_unreadable_frames_get_zeros_and_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Windows(20, unreadable=(0, 1, 9, 19))
    encoder = Regions()
    table = compute(source, encoder, tmp_path, spatial=True)
    assert encoder.frames == 16
    assert [n for n in range(20) if not table.lookup([n]).any()] == [0, 1, 9, 19]
    torch.testing.assert_close(table.lookup([18])[0], expected(source, 18, spatial=True), rtol=2**-10, atol=1e-4)
    assert "window-9.1 cannot be read" in caplog.text


def test_a_source_without_a_readable_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not one frame"):
        compute(Windows(20, unreadable=tuple(range(20))), Regions(), tmp_path)
    assert files(tmp_path) == {".lock"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])
def test_embeddings_that_are_not_finite(tmp_path: Path, value: float) -> None:
    with pytest.raises(SceneError, match=r"test/regions gives no finite embedding of window-7\.1"):
        compute(Windows(20), Regions(broken=value), tmp_path)
    assert files(tmp_path) == {".lock"}


def test_grids_of_different_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Regions,
        "forward",
        lambda _, pictures, spatial: (
            torch.ones(len(pictures), WIDTH, 1, 2)
            if pictures.shape[-1] == 24
            else torch.ones(len(pictures), WIDTH, 2, 2)
        ),
    )
    for small in (3, 15):
        with pytest.raises(SceneError, match="different shapes"):
            compute(Windows(20, small=(small,)), Regions(), tmp_path / str(small), spatial=True)


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_run_that_fails_goes_on_where_it_stopped(tmp_path: Path, batches: int) -> None:
    source = Windows(30)
    whole = compute(source, Regions(), tmp_path / "whole").lookup(range(30))
    with pytest.raises(RuntimeError, match="device"):
        compute(source, Regions(fails_after=8 * batches), tmp_path)
    assert files(tmp_path) - {""} == {".partial", ".journal", ".lock"}
    encoder = Regions()
    table = compute(source, encoder, tmp_path)
    assert encoder.frames == 30 - 8 * batches
    torch.testing.assert_close(table.lookup(range(30)), whole, rtol=2**-10, atol=1e-4)
    assert files(tmp_path) - {""} == {".npy", ".lock"}


def test_a_table_that_was_complete_but_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(SceneError, match="cannot be written"):
        patch.setattr(Path, "replace", _refuse_partial(Path.replace))
        compute(Windows(20), Regions(), tmp_path)
    encoder = Regions()
    assert len(compute(Windows(20), encoder, tmp_path)) == 20 and encoder.frames == 0


def _refuse_partial(replace):  # type: ignore[no-untyped-def]
    def refusing(path: Path, target: Path) -> Path:
        if path.suffix == ".partial":
            raise OSError(5, "Input/output error")
        return replace(path, target)

    return refusing


@pytest.mark.parametrize("damage", ["shorter", "longer", "foreign", "empty", "other shape", "pickle"])
def test_a_damaged_table_is_computed_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    table = compute(Windows(20), Regions(), tmp_path)
    rows = table.lookup(range(20))
    (path,) = tmp_path.glob("*.npy")
    del table
    content = path.read_bytes()
    if damage == "other shape":
        np.save(path, np.zeros((19, WIDTH, 1, 1), np.float16))
    elif damage == "pickle":
        np.save(path, np.array([{}]), allow_pickle=True)
    else:
        path.write_bytes(
            {"shorter": content[:-1], "longer": content + b"\0", "foreign": b"foreign" * 100, "empty": b""}[damage]
        )
    encoder = Regions()
    assert torch.equal(compute(Windows(20), encoder, tmp_path).lookup(range(20)), rows)
    assert encoder.frames == 20 and "computed again" in caplog.text


@pytest.mark.parametrize("damage", ["shorter", "foreign", "journal", "nonsense", "none"])
def test_a_damaged_unfinished_table_is_begun_anew(tmp_path: Path, damage: str) -> None:
    with pytest.raises(RuntimeError, match="device"):
        compute(Windows(20), Regions(fails_after=16), tmp_path)
    (partial,), (journal,) = tmp_path.glob("*.partial"), tmp_path.glob("*.journal")
    content = partial.read_bytes()
    match damage:
        case "shorter":
            partial.write_bytes(content[:-1])
        case "foreign":
            partial.write_bytes(b"x" * len(content))
        case "journal":
            journal.write_text(journal.read_text()[:-9])
        case "nonsense":
            journal.write_text('{"done": 99, "shape": [6, 1, 1]}')
        case "none":
            # Rows that were written after the journal was: not counted, and overwritten.
            partial.write_bytes(content + b"torn")
    encoder = Regions()
    table = compute(Windows(20), encoder, tmp_path)
    assert encoder.frames == (4 if damage == "none" else 20)
    fresh = compute(Windows(20), Regions(), tmp_path / "fresh")
    torch.testing.assert_close(table.lookup(range(20)), fresh.lookup(range(20)), rtol=2**-10, atol=1e-4)


def test_the_journal_is_written_after_the_rows_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, write = os.fsync, embedding_table.write_atomically

    def synchronise(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().suffix)
        fsync(descriptor)

    def journal(path: Path, content: str) -> None:
        write(path, content)
        events.append(path.suffix)

    monkeypatch.setattr(os, "fsync", synchronise)
    monkeypatch.setattr(embedding_table, "write_atomically", journal)
    monkeypatch.setattr(embedding_table, "_SAVE_EVERY_S", -1.0)
    compute(Windows(16), Regions(), tmp_path)
    assert events == [".partial", ".part", ".journal"] * 3


def test_a_full_disk_is_told_before_and_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 100})
    with monkeypatch.context() as patch, pytest.raises(SceneError, match="free and the embeddings need"):
        patch.setattr("shutil.disk_usage", lambda _: usage)
        compute(Windows(20), Regions(), tmp_path)
    assert files(tmp_path) == {".lock"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Header and the first batch fit, the second does in part.
    resource.setrlimit(resource.RLIMIT_FSIZE, (128 + 10 * WIDTH * 2, limits[1]))
    try:
        with pytest.raises(SceneError, match=r"cannot be written .*make room"):
            compute(Windows(20), Regions(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    encoder = Regions()
    table = compute(Windows(20), encoder, tmp_path)
    assert encoder.frames == 12
    torch.testing.assert_close(table.lookup([19])[0], expected(Windows(20), 19), rtol=2**-10, atol=1e-4)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SceneError, match="cannot be written"):
        compute(Windows(3), Regions(), tmp_path / "file" / "cache")


def test_a_second_process_waits_for_the_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    compute(Windows(20), Regions(), tmp_path)
    (lock,) = tmp_path.glob("*.lock")
    found: list[EmbeddingTable] = []
    encoder = Regions()
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: found.append(compute(Windows(20), encoder, tmp_path)))
        second.start()
        while "waiting for another process" not in caplog.text:
            time.sleep(0.03)
        assert not found
    second.join()
    assert len(found[0]) == 20 and encoder.frames == 0


KILLED = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from scene.training.data import embedding_table
    from scene.training.data import embeddings
    import test_embeddings as t
    embeddings._BATCH, embedding_table._SAVE_EVERY_S = 8, 0.0
    class Slow(t.Regions):
        def forward(self, pictures, *, spatial=False):
            time.sleep(0.03)
            return super().forward(pictures, spatial=spatial)
    print("begins", flush=True)
    t.compute(t.Windows(200), Slow(), Path({folder!r}))
"""


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    code = textwrap.dedent(KILLED).format(here=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_killed_process_loses_little(tmp_path: Path, killed: subprocess.Popen[str]) -> None:
    assert killed.stdout is not None and killed.stdout.readline() == "begins\n"
    while not list(tmp_path.glob("*.journal")):
        assert killed.poll() is None
        time.sleep(0.001)
    # Anywhere in the first third of what is left.
    time.sleep(random.uniform(0, 0.2))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert files(tmp_path) >= {".partial", ".lock"} and ".npy" not in files(tmp_path)
    encoder = Regions()
    table = compute(Windows(200), encoder, tmp_path)
    assert 0 < encoder.frames <= 192
    whole = compute(Windows(200), Regions(), tmp_path / "whole")
    torch.testing.assert_close(table.lookup(range(200)), whole.lookup(range(200)), rtol=2**-10, atol=1e-4)
