"""A job on a Ray cluster of two nodes, one of which is lost: every frame is there, and none twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cluster_child
import pytest
from chunked import make_shots, times
from making import assert_same_pictures, decoded

import scene
from scene.cli import run
from scene.errors import MissingError, SceneError, UsageError

pytest.importorskip("ray")


@pytest.fixture
def job(tmp_path):
    """The work folder of a planned job, and the file that an encode in one go makes."""
    source = make_shots(tmp_path / "in.mkv", lengths=(60, 50, 70, 45, 55, 65))
    settings = scene.EncoderSettings(preset="placebo", encoder_args="qp=0")
    bypass = scene.EnhanceOptions(model="none")
    scene.encode(scene.EncodeRequest(source, tmp_path / "one.mkv", settings, bypass))
    plan = scene.plan_job(
        scene.JobRequest(scene.EncodeRequest(source, tmp_path / "out.mkv", settings, bypass), tmp_path / "work", 1.6)
    )
    assert plan.chunks >= 5
    return tmp_path / "work", tmp_path / "one.mkv"


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["lose"], ["stage"], ["lose", "stage"]], ids=" ".join)
def test_a_cluster_of_two_nodes(job, how):
    work, one = job
    words = [sys.executable, cluster_child.__file__, str(work), *how]
    lose = "lose" in how
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "done (345, 345)" in done.stdout
    assert ("lost" in done.stdout) == lose
    if lose:
        assert "a worker was lost" in done.stderr and "It is tried again." in done.stderr
    scene.join_job(work)
    # The copies on a machine that is lost cannot be removed.
    left = list(work.parent.glob("local/*/*/*"))
    assert len(left) == (how == ["lose", "stage"])
    assert times(work.parent / "out.mkv") == times(one)
    assert_same_pictures(decoded(one), decoded(work.parent / "out.mkv"))


def test_clusters_that_cannot_be_meant(tmp_path, capfd, monkeypatch):
    source = make_shots(tmp_path / "in.mkv", lengths=(20, 20))
    request = scene.EncodeRequest(source, tmp_path / "out.mkv", enhancement=scene.EnhanceOptions(model="none"))
    scene.plan_job(scene.JobRequest(request, tmp_path / "work", 0.4))
    with pytest.raises(UsageError, match="HOST:PORT"):
        scene.run_on_cluster(tmp_path / "work", "nowhere")
    with pytest.raises(SceneError, match="no Ray cluster answers at"):
        scene.run_on_cluster(tmp_path / "work", "127.0.0.1:1")
    assert run(["job", "run", str(tmp_path / "work"), "--ray", "auto", "--index", "0"]) == 2
    assert "leave --index out" in capfd.readouterr().err
    assert run(["job", "run", str(tmp_path / "work"), "--stage", str(tmp_path)]) == 2
    assert "--stage belongs to --ray" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match="needs Ray: pip install ray"):
        scene.run_on_cluster(tmp_path / "work", "auto")
    assert scene.job_status(tmp_path / "work").done == 0
    assert Path(tmp_path / "work" / "plan.json").exists()
