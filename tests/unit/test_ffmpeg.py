"""Finding and running the ffmpeg program, with stand-ins for it."""

import threading
import time
from pathlib import Path

import pytest

from scene.errors import MissingError
from scene.video.ffmpeg import FFmpeg, ProcessError, StoppedError, find_ffmpeg, input_name


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_the_program_is_the_given_one_then_the_environments_then_the_carried_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, named = (
        program(tmp_path / name, f"echo 'ffmpeg version {name}-1 Copyright'") for name in ("given", "named")
    )
    monkeypatch.setenv("SCENE_FFMPEG", str(named))
    assert find_ffmpeg(given).version == "given-1"
    assert find_ffmpeg().version == "named-1"
    assert find_ffmpeg(given).build != find_ffmpeg().build
    monkeypatch.delenv("SCENE_FFMPEG")
    assert "ffmpeg" in find_ffmpeg().path.name


@pytest.mark.parametrize("body", ["exit 3", "echo nothing of the kind", "kill -9 $$"])
def test_what_is_not_ffmpeg_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(MissingError, match="is not ffmpeg"):
        find_ffmpeg(program(tmp_path / "fake", body))


def test_a_program_that_does_not_exist_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not a program"):
        find_ffmpeg(tmp_path / "none")
    with pytest.raises(MissingError, match="cannot be run"):
        FFmpeg(tmp_path / "none", "1", "1").run([])


def test_a_failure_says_what_ffmpeg_said(tmp_path: Path) -> None:
    fake = FFmpeg(program(tmp_path / "fake", "echo one >&2; echo two >&2; exit 7"), "1", "1")
    with pytest.raises(ProcessError, match="code 7: one; two"):
        fake.run([])


def test_arguments_arrive_as_they_are(tmp_path: Path) -> None:
    fake = FFmpeg(program(tmp_path / "fake", 'for last; do :; done; printf %s "$last"'), "1", "1")
    for name in ("a b;$(id)`id`'\"\\*.mp4", "-x.mp4", "line\nbreak"):
        assert fake.run(["-i", input_name(Path(name))]).stdout.decode() == f"file:{name}"


def test_a_stop_kills_what_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    fake = FFmpeg(program(tmp_path / "fake", "exec sleep 60"), "1", "1")
    threading.Timer(0.3, fake.stop.set).start()
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(StoppedError):
            fake.run([])
    assert time.monotonic() - started < 10
