"""Private folders of raw video: whose process is gone is removed, and nothing else."""

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from scene.measure.workspace import PREFIX, remove_leftovers, workspace


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def leftover(parent: Path, name: str = f"{PREFIX}left") -> Path:
    """What a killed process leaves."""
    folder = parent / name
    (folder / "work").mkdir(parents=True)
    (folder / "work" / "reference.y4m").write_bytes(b"raw video")
    (folder / "lock").touch()
    return folder


def test_it_is_private_and_gone_at_the_end(temporary: Path) -> None:
    with workspace() as folder:
        assert folder.is_relative_to(temporary)
        assert (folder.parent.stat().st_mode & 0o777) == 0o700
        (folder / "raw.y4m").write_bytes(b"frames")
    assert list(temporary.iterdir()) == []


def test_it_is_gone_after_an_error(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), workspace():
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_a_folder_in_use_stays() -> None:
    with workspace() as first:
        (first / "raw.y4m").write_bytes(b"frames")
        with workspace() as second:
            assert first != second
        assert remove_leftovers() == []
        assert (first / "raw.y4m").read_bytes() == b"frames"


def test_what_a_killed_process_left_is_removed_by_the_next(temporary: Path) -> None:
    folder = leftover(temporary)
    with workspace():
        assert not folder.exists()


def test_a_locked_folder_is_left_alone_until_the_lock_is_free(temporary: Path) -> None:
    folder = leftover(temporary)
    handle = os.open(folder / "lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert remove_leftovers() == []
    os.close(handle)
    assert remove_leftovers() == [folder]
    assert not folder.exists()


def test_what_is_not_ours_is_left_alone(temporary: Path) -> None:
    elsewhere = leftover(temporary / "elsewhere")
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    other = leftover(temporary, "another-program")
    (temporary / f"{PREFIX}file").write_text("a file")
    without = temporary / f"{PREFIX}without-lock"
    without.mkdir()
    linked = temporary / f"{PREFIX}linked-lock"
    linked.mkdir()
    (linked / "lock").symlink_to(other / "lock")
    assert remove_leftovers() == []
    assert (elsewhere / "work" / "reference.y4m").exists()
    assert without.exists() and linked.exists() and (temporary / f"{PREFIX}file").exists()
