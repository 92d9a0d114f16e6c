"""`scene job` and the options of `scene encode` that work in chunks, as users and schedulers see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from chunked import FRAMES, make_shots, times
from making import decoded, encode, make_video

import scene
from scene.cli import run
from scene.cli.job import status_lines
from scene.jobs.chunks.folder import WorkFolder
from scene.jobs.chunks.status import JobStatus

OPTIONS = ["--model", "none", "--preset", "veryfast"]
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "log.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_shots(tmp_path_factory.mktemp("clip") / "in.mkv")


def job(*words):
    return run(["job", *map(str, words)])


def test_step_by_step(clip, tmp_path, capfd):
    destination, work = tmp_path / "out.mkv", tmp_path / "work"
    plan = ("plan", clip, destination, "--work", work, "--chunk-seconds", 0.4, *OPTIONS)
    assert job(*plan) == 0
    out, err = capfd.readouterr()
    chunks = int(out)
    assert chunks >= 3
    assert f"scene: {work}: {FRAMES} frames, 4 shots, {chunks} chunks" in err
    assert job("join", work) == 1
    assert f"{chunks} of {chunks} chunks are missing or damaged: 0, 1, 2." in capfd.readouterr().err
    assert job("status", work) == 0
    said = capfd.readouterr().out
    assert f"0 of {chunks} chunks, 0 of {FRAMES} frames (0 %)" in said
    assert "unknown before the first chunk is done" in said and f"waiting   0-{chunks - 1}" in said

    assert job("run", work, "--index", 1) == 0
    assert job("run", work, "--index", 1) == 0
    assert "done before" in capfd.readouterr().err
    assert job("run", work, "--index", chunks) == 2
    assert f"chunks 0 to {chunks - 1}, and none with --index {chunks}" in capfd.readouterr().err
    with WorkFolder(work).locked(0):
        assert job("status", work, "--json") == 0
        status = json.loads(capfd.readouterr().out)
        assert (status["done"], status["running"], status["waiting"]) == (1, [0], list(range(2, chunks)))
        assert status["seconds_left"] > 0
    assert job("run", work) == 0
    assert job(*plan) == 0
    assert int(capfd.readouterr().out) == chunks

    assert job("status", work) == 0
    assert "next      scene job join" in capfd.readouterr().out
    assert job("join", work) == 0
    assert f"{destination}: {FRAMES} frames in" in capfd.readouterr().err
    assert len(decoded(destination)) == FRAMES
    # Again it finds its own output; another's it leaves as it is.
    assert job("join", work) == 0
    destination.write_bytes(b"another")
    assert job("join", work) == 2
    assert "give --overwrite" in capfd.readouterr().err


def test_two_processes_that_take_what_is_left(clip, tmp_path):
    """Every chunk is encoded by one of them, and by one alone."""
    work = tmp_path / "work"
    assert job("plan", clip, tmp_path / "out.mkv", "--work", work, "--chunk-seconds", 0.4, *OPTIONS) == 0
    words = [sys.executable, "-m", "scene", "job", "run", str(work), "--log-format", "json"]
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    results = []
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        lines = map(json.loads, err.splitlines())
        results += [line for line in lines if line["event"] == "result" and not line["done_before"]]
    assert sorted(result["index"] for result in results) == list(range(scene.job_status(work).chunks))
    assert job("join", work) == 0


def test_a_folder_without_a_plan(tmp_path, capfd):
    for step in ("run", "join", "status"):
        assert job(step, tmp_path / "nowhere") == 3
        assert "plan.json does not exist; plan the job first." in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_line_of_json_keeps_the_schema(clip, tmp_path, capfd):
    work = tmp_path / "work"
    plan = ("plan", clip, tmp_path / "out.mkv", "--work", work, "--chunk-seconds", 0.4, *OPTIONS)
    for words in (plan, ("run", work), ("join", work)):
        assert job(*words, "--log-format", "json") == 0
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        for line in lines:
            jsonschema.validate(line, SCHEMA, cls=jsonschema.Draft202012Validator)
        assert lines[-1]["event"] == "result"
        assert {line["unit"] for line in lines if line["event"] == "progress"} == {"frames"}
    assert (lines[-1]["frames"], lines[-1]["destination"]) == (FRAMES, str(tmp_path / "out.mkv"))


@pytest.mark.parametrize("workers", ["2", "auto"])
def test_encode_with_workers(clip, tmp_path, capfd, workers):
    assert encode(clip, tmp_path / "out.mp4", *OPTIONS, "--workers", workers) == 0
    assert f"out.mp4: {FRAMES} frames in" in capfd.readouterr().err
    assert encode(clip, tmp_path / "one.mp4", *OPTIONS) == 0
    assert times(tmp_path / "out.mp4") == times(tmp_path / "one.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.mp4", "out.mp4"]


def test_what_is_lost_is_said_once(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", frames=30, subtitles=True)
    assert encode(source, tmp_path / "out.mp4", *OPTIONS, "--workers", "1") == 0
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning: " in line]
    assert len(warnings) == len(set(warnings)) > 0
    assert any("loses its styling" in line for line in warnings)


def test_many_files_in_chunks(clip, tmp_path, capfd):
    (tmp_path / "broken.mkv").write_bytes(b"nonsense")
    (tmp_path / "out").mkdir()
    assert encode(clip, tmp_path / "broken.mkv", tmp_path / "out", *OPTIONS, "--resume") == 1
    assert "1 of 2 files failed" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in.mkv"]


@pytest.mark.parametrize(
    "arguments,said",
    [
        (["--workers", "0"], "--workers 0 makes no sense"),
        (["--workers", "-2"], "--workers -2 makes no sense"),
        (["--resume", "--guard"], "--guard has nothing to decide without a model"),
        (["--workers", "2", "--bitrate", "300"], "a --bitrate is kept over the whole video"),
        (["--resume", "--crf", "99"], "0 to 51"),
    ],
)
def test_what_is_refused_leaves_nothing(clip, tmp_path, capfd, arguments, said):
    assert encode(clip, tmp_path / "out.mkv", "--model", "none", *arguments) == 2
    assert said in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_is_that_of_one_encode(clip, tmp_path, capfd):
    assert encode(clip, tmp_path / "out.mkv", *OPTIONS, "--workers", "2", "--dry-run") == 0
    assert "encoder   x264" in capfd.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_status_for_people():
    status = JobStatus(Path("a\n.mkv"), Path("b.mkv"), 9, 900, 3, 300, 2_500_000, (3, 4), (5, 7, 8), 65.0)
    assert status_lines(status) == [
        "a\\n.mkv -> b.mkv",
        "  done      3 of 9 chunks, 300 of 900 frames (33 %)",
        "            2.50 MB of video",
        "  running   3-4",
        "  waiting   5, 7-8",
        "  left      about 1 min with 2 at work",
    ]


def test_the_plan_says_what_it_found(clip, tmp_path):
    request = scene.EncodeRequest(clip, tmp_path / "out.mkv", enhancement=scene.EnhanceOptions(model="none"))
    plan = scene.plan_job(scene.JobRequest(request, tmp_path / "work", 0.4))
    assert plan.frames == FRAMES and plan.shots == (0, 23, 28, 45)
    assert [plan.span(index)[0] for index in range(plan.chunks)] == list(plan.starts)
    assert plan.span(plan.chunks - 1)[1] == FRAMES
