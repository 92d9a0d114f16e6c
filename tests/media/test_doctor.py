"""`scene doctor`: everything is tried, what is missing says what to do, the exit code says if encoding works."""

import json
import re

import pytest

from scene.cli import run
from scene.video.encoders import ENCODERS


def examined(capfd, code=0):
    assert run(["doctor", "--json"]) == code
    out, err = capfd.readouterr()
    return {finding["part"]: finding for finding in json.loads(out)}, err


def test_everything_that_is_installed_works(capfd):
    found, err = examined(capfd)
    assert err == ""
    for part in (
        "x264",
        "x265",
        "svtav1",
        "ffmpeg program",
        "ffmpeg: libvmaf",
        "ffmpeg: libvvenc",
        "extra train",
        "packager",
    ):
        assert found[part]["ok"], found[part]
        assert found[part]["remedy"] == ""
    assert "10 bit" in found["x264"]["detail"]
    assert found["model scene"]["detail"].startswith("scene@")
    assert found["semantic encoder student-mobilenetv2"]["ok"]


def test_lines_say_the_same(capfd):
    assert run(["doctor"]) == 0
    *lines, verdict = capfd.readouterr().out.splitlines()
    assert verdict == "scene encode works here."
    assert all(line.startswith(("ok        ", "optional  ")) for line in lines)
    assert any(line.split()[1] == "x264" for line in lines)
    # What stands beside one another begins in one column.
    assert len({re.match(r"\S+ +(\S+ )+ +", line).end() for line in lines}) == 1


def test_without_ffmpeg_encoding_still_works(capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("SCENE_FFMPEG", str(tmp_path / "nothing"))
    found, _ = examined(capfd)
    assert not found["ffmpeg program"]["ok"]
    assert "imageio-ffmpeg" in found["ffmpeg program"]["remedy"]
    assert "ffmpeg: libvmaf" not in found


def test_without_a_packager_all_else_works(capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("SCENE_PACKAGER", str(tmp_path / "nothing"))
    found, _ = examined(capfd)
    assert not found["packager"]["ok"] and "$SCENE_PACKAGER names" in found["packager"]["detail"]
    assert "pip install '.[ladder]' in a checkout" in found["packager"]["remedy"]


@pytest.mark.parametrize(("name", "code"), [("x264", 6), ("x265", 0)])
def test_an_encoder_that_is_missing(capfd, monkeypatch, name, code):
    monkeypatch.setattr(type(ENCODERS[name]), "ffmpeg_name", "libnothing")
    assert run(["doctor"]) == code
    (line,) = (line for line in capfd.readouterr().out.splitlines() if line.split()[1] == name)
    assert line.startswith("missing " if code else "optional ")
    found, err = examined(capfd, code)
    assert not found[name]["ok"] and "libnothing" in found[name]["detail"] and found[name]["remedy"]
    assert ("scene encode cannot work here without x264" in err) == (code == 6)


def test_a_full_disk_and_missing_extras_are_told(capfd, monkeypatch):
    monkeypatch.setattr("scene.jobs.doctor._LEAST_FREE_GB", 1e9)
    monkeypatch.setattr("scene.jobs.doctor._EXTRAS", {"train": ("scene train", ("no_such_module",))})
    found, _ = examined(capfd)
    assert not found["temporary folder"]["ok"] and "TMPDIR" in found["temporary folder"]["remedy"]
    assert "without no_such_module" in found["extra train"]["detail"]
    assert "pip install '.[train]' in a checkout" in found["extra train"]["remedy"]
