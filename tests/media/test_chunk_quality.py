"""A quality for every chunk: `--target` where an encode is done in chunks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import av
import numpy as np
import pytest
from making import decoded, encode

import scene
from scene import ChunkQuality, EncodeRequest, EncoderSettings, EnhanceOptions, JobRequest
from scene.cli import run
from scene.errors import TargetError, UsageError
from scene.metrics.targets import Target

BYPASS = EnhanceOptions(model="none")
LENGTH = 24
SIZE = (192, 192)
FAST = {"x264": "veryfast", "x265": "ultrafast", "svtav1": "12"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots of a second: coarse texture that moves, and fine noise."""
    path = tmp_path_factory.mktemp("clip") / "in.mkv"
    random = np.random.default_rng(3)
    coarse = np.kron(random.integers(60, 180, (12, 12)), np.ones((16, 16)))
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        for number in range(2 * LENGTH):
            luma = np.roll(coarse, 2 * number, 1) if number < LENGTH else 125 + random.normal(0, 12, SIZE[::-1])
            planes = [
                luma.round().clip(16, 235),
                *np.full((2, SIZE[1] // 2, SIZE[0] // 2), 128 if number < LENGTH else 90),
            ]
            data = np.concatenate([plane.astype(np.uint8).ravel() for plane in planes]).reshape(-1, SIZE[0])
            out.mux(video.encode(av.VideoFrame.from_ndarray(data, "yuv420p")))
        out.mux(video.encode())
    return path


def psnr(clip: Path, output: Path, first: int, end: int) -> float:
    """Of luma, the mean over frames."""
    pairs = zip(decoded(clip)[first:end], decoded(output)[first:end], strict=True)
    errors = [np.mean((one.planes[0].astype(float) - other.planes[0]) ** 2) for one, other in pairs]
    return float(np.mean([10 * math.log10(255**2 / error) for error in errors]))


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_each_shot_reaches_the_target_at_a_crf_of_its_own(clip, tmp_path, codec):
    work, destination = tmp_path / "work", tmp_path / "out.mkv"
    request = EncodeRequest(clip, destination, EncoderSettings(codec, preset=FAST[codec]), BYPASS)
    quality = ChunkQuality((Target("psnr_y", 36.0),))
    plan = scene.plan_job(JobRequest(request, work, 0.9, quality))
    assert plan.starts == (0, LENGTH)
    # Planned again it is the same job; with another target it is not.
    assert scene.plan_job(JobRequest(request, work, 0.9, quality)) == plan
    with pytest.raises(UsageError, match="`targets`, or how they are searched for, were others"):
        scene.plan_job(JobRequest(request, work, 0.9))
    coarse, fine = scene.run_job(work)
    # Noise needs a finer one; chunks of different CRFs are one file.
    assert coarse.crf > fine.crf + 3
    scene.join_job(work)
    assert len(decoded(destination)) == 2 * LENGTH
    reached = [psnr(clip, destination, *span) for span in ((0, LENGTH), (LENGTH, 2 * LENGTH))]
    # What was measured was the shot alone, on one thread.
    assert min(reached) > 36 - 0.3
    # The coarsest that does: a few CRFs more, and it would not.
    assert reached[1] < 36 + 1.0
    again = scene.run_job(work)
    assert [result.done_before for result in again] == [True, True]
    assert [result.crf for result in again] == [coarse.crf, fine.crf]
    with av.open(str(destination)) as file:
        tags = json.dumps({**file.metadata, **file.streams.video[0].metadata})
    assert "crf by chunk for psnr-y=36" in tags


def test_enhancement_counts(clip, tmp_path):
    found = {}
    for model in ("none", "scene-fast"):
        request = EncodeRequest(
            clip, tmp_path / "out.mkv", EncoderSettings(preset="veryfast"), EnhanceOptions(model=model)
        )
        quality = ChunkQuality((Target("vmaf", 80.0),))
        scene.plan_job(JobRequest(request, tmp_path / model, 0.9, quality))
        found[model] = [result.crf for result in scene.run_job(tmp_path / model)]
    assert found["scene-fast"] != found["none"]


def test_what_cannot_be_reached_is_said_and_best_effort_takes_the_nearest(clip, tmp_path):
    request = EncodeRequest(clip, tmp_path / "out.mkv", EncoderSettings(preset="ultrafast"), BYPASS)
    hard = Target("psnr_y", 60.0)
    scene.plan_job(JobRequest(request, tmp_path / "work", 0.9, ChunkQuality((hard,))))
    with pytest.raises(
        TargetError, match=r"from 1\.0 s on: PSNR reaches [0-9.]+ of 60 at most, at CRF 1; ask for less"
    ):
        scene.run_chunk(tmp_path / "work", 1)
    assert not any((tmp_path / "work" / "chunks").iterdir())
    scene.plan_job(JobRequest(request, tmp_path / "best", 0.9, ChunkQuality((hard,), best_effort=True)))
    assert scene.run_chunk(tmp_path / "best", 1).crf == 1


def test_the_command_line(clip, tmp_path, capfd):
    out = tmp_path / "out.mkv"
    words = (clip, out, "--model", "none", "--preset", "veryfast", "--target", "psnr-y=36")
    assert encode(*words, "--max-kbps", 900, "--resume") == 2
    assert "--max-kbps bounds the whole file" in capfd.readouterr().err
    assert encode(*words, "--crf", 20, "--resume") == 2
    assert run(["job", "plan", str(clip), str(out), "--samples", "2"]) == 2
    assert "belong to --target" in capfd.readouterr().err
    assert encode(*words, "--workers", 1) == 0 and len(decoded(out)) == 2 * LENGTH
    work = tmp_path / "work"
    plan = ["job", "plan", *map(str, words), "--overwrite", "--work", str(work), "--chunk-seconds", "0.9"]
    assert run(plan) == 0
    assert capfd.readouterr().out == "2\n"
    assert run(["job", "run", str(work)]) == 0
    assert "chunk 0: 24 frames, CRF " in capfd.readouterr().err
    assert encode(*words[:4], "--target", "psnr-y=60", "--workers", 1, "-y") == 5
