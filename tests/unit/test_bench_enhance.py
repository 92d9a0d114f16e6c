"""`scene bench enhance`: the stages of enhancement alone."""

from __future__ import annotations

import json

import pytest

from scene.cli import run


def speeds(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    assert run(["bench", "enhance", "--frames", "6", "--turns", "1", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["speeds"]


def test_each_model_at_each_size_by_its_stages(capsys):
    found = speeds(capsys, "--models", "scene-fast,scene-lite", "--sizes", "192x128,480p")
    names = [(speed["model"].partition("@")[0], speed["width"], speed["height"]) for speed in found]
    assert names == [(m, *size) for size in ((192, 128), (854, 480)) for m in ("scene-fast", "scene-lite")]
    for speed in found:
        filtered = speed["model"].startswith("scene-lite")
        assert (speed["temporal"] is not None) == filtered
        assert speed["copy_ms"] > 0
        for stage in (speed["model_alone"], speed["whole"], *([speed["temporal"]] if filtered else [])):
            assert stage["fps"] > 0 and stage["cpu_ms"] > 0
    # What lies between is an order of magnitude.
    assert found[3]["whole"]["cpu_ms"] > 2 * found[3]["model_alone"]["cpu_ms"]
    assert found[2]["model_alone"]["cpu_ms"] > found[2]["copy_ms"]


def test_without_a_filter_before_an_encoder_that_has_one(capsys):
    (found,) = speeds(capsys, "--models", "scene-lite", "--sizes", "192x128", "--codec", "svtav1")
    assert found["temporal"] is None


def test_a_table_and_what_makes_no_sense(capsys):
    assert run(["bench", "enhance", "--frames", "4", "--turns", "1", "--sizes", "128x96"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[2].startswith("scene-fast@") and "128x96" in lines[2] and "  -  " in lines[2]
    for arguments in (["--frames", "1"], ["--turns", "0"], ["--sizes", "65x64"], ["--models", "none"]):
        assert run(["bench", "enhance", *arguments]) == 2
        assert capsys.readouterr().err
