"""scene doctor: its lines, its JSON and its exit code."""

from __future__ import annotations

import json

import av

from scene.cli import _run


def test_a_line_for_each_part(capsys):
    assert _run(["doctor"], debug=False) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert all(line.startswith(("ok     ", "missing")) for line in lines)
    for text in (
        "encoders: x264: version ",
        "encoders: svtav1",
        "models: scene: loads as scene@",
        "PyAV: " + av.__version__,
    ):
        assert sum(text in line and line.startswith("ok") for line in lines) == 1, text
    # What is missing names a way.
    assert all(line.endswith(")") for line in lines if line.startswith("missing"))


def test_one_object_for_machines_and_no_encoder(capsys, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", frozenset(av.codecs_available) - {"libx264"})
    assert _run(["doctor", "--json"], debug=False) == 6
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["encodes"] is False
    states = {finding["name"]: finding for finding in told["findings"] if finding["group"] == "encoders"}
    assert not states["x264"]["ok"]
    assert "install" in states["x264"]["remedy"]
    assert states["x265"]["ok"]
    assert "x264" in err


def test_a_damaged_model_is_told(capsys, monkeypatch, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    monkeypatch.setattr("scene.model.registry._weights_folder", lambda: tmp_path)
    assert _run(["doctor"], debug=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("missing  models: broken: ") for line in lines)
