"""`scene bench encode`: real encodes of a made clip, with a model and without, each in a process of its own."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import av
import numpy as np
import pytest

from scene.benchmarks.encode import SIZES, bench_encode, write_clip
from scene.cli import run
from scene.errors import UsageError
from scene.options import EnhanceOptions
from scene.progress import Progress
from scene.video.encoders.settings import EncoderSettings


def test_the_sizes_are_the_usual_ones() -> None:
    assert SIZES == {"480p": (854, 480), "720p": (1280, 720), "1080p": (1920, 1080)}


def test_both_are_measured_in_one_run() -> None:
    readings: list[Progress] = []
    began = time.monotonic()
    result = bench_encode(
        *(EncoderSettings("x264", crf=30, preset="veryfast"), EnhanceOptions(device="cpu")),
        sizes=[(128, 96), (256, 192)],
        frames=6,
        turns=1,
        on_progress=readings.append,
    )
    assert [reading.done for reading in readings] == [1, 2, 3, 4] and {reading.total for reading in readings} == {4}
    assert (result.codec, result.preset, result.crf, result.device) == ("x264", "veryfast", 30, "cpu")
    assert result.model.startswith("scene-lite@")
    assert [(size.width, size.height) for size in result.sizes] == [(128, 96), (256, 192)]
    for size in result.sizes:
        assert size.ratio == size.enhanced.fps / size.plain.fps
        # Torch alone takes more than 100 MB; without a model nobody loads it, whatever this process holds.
        assert 20e6 < size.plain.memory < size.enhanced.memory - 50e6
    speeds = [speed for size in result.sizes for speed in (size.plain, size.enhanced)]
    assert all(speed.fps > 0 and speed.start_s > 0 for speed in speeds)
    # All five frames after the first, one encode after the other, took no longer than the whole.
    assert sum(5 / speed.fps + speed.start_s for speed in speeds) < time.monotonic() - began


def test_the_clip_moves_and_has_noise(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.y4m", 160, 96, 4)
    with av.open(str(tmp_path / "clip.y4m")) as file:
        lumas = [frame.to_ndarray(format="gray").astype(float) for frame in file.decode(video=0)]
    assert len(lumas) == 4 and lumas[0].shape == (96, 160)
    for before, after in itertools.pairwise(lumas):
        assert np.abs(after - before).mean() > 3
        # Moved by four columns they differ by the noise alone, two codes in each.
        moved = after[:, :-4] - before[:, 4:]
        assert 2.5 < moved.std() < 4


@pytest.mark.parametrize(
    ("settings", "options", "given", "message"),
    [
        (EncoderSettings(), EnhanceOptions(model="none"), {}, "nothing to compare"),
        (EncoderSettings(), EnhanceOptions(model="no-such"), {}, "no model is called 'no-such'"),
        (EncoderSettings("vvenc"), EnhanceOptions(), {}, "program of its own"),
        (EncoderSettings(crf=90), EnhanceOptions(), {}, "90"),
        (EncoderSettings(), EnhanceOptions(), {"frames": 1}, "at least 2 and 1"),
        (EncoderSettings(), EnhanceOptions(), {"sizes": [(65, 48)]}, "65x48 must be even"),
    ],
)
def test_what_cannot_be_measured_is_refused_first(settings, options, given, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        bench_encode(settings, options, **given)


def test_the_command_prints_a_table_or_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "encode", "--sizes", "128x96", "--frames", "2", "--turns", "1", "--device", "cpu"]
    assert run([*command, "--json"]) == 0
    captured = capsys.readouterr()
    assert "2/2 encodes" in captured.err
    (size,) = json.loads(captured.out)["sizes"]
    assert (size["width"], size["height"]) == (128, 96) and size["plain"]["fps"] > 0
    assert run(command) == 0
    head, columns, row = capsys.readouterr().out.splitlines()
    assert head.startswith("x264 medium, CRF 23; scene-lite@") and head.endswith("2 frames, medians of 1")
    assert row.split()[0] == "128x96" and len(row.split()) == 8
    assert len(row) == len(columns)


@pytest.mark.parametrize("sizes", ["480", "0x90", "99999x2", "480p;720p"])
def test_a_size_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], sizes: str) -> None:
    assert run(["bench", "encode", "--sizes", sizes]) == 2
    assert "must be WIDTHxHEIGHT" in capsys.readouterr().err
