"""`scene calibrate` with a real encoder: a file that every command takes, resumed to the same, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from scene.cli import run
from scene.model import load_model
from scene.model.checkpoint import read_record

SMALL = ["--pans", "2", "--population", "2", "--clips-a-generation", "1", "--jobs", "2", "--seed", "5"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for folder, names in (("fit", ("astronaut", "coffee")), ("held", ("chelsea", "rocket"))):
        path = tmp_path_factory.mktemp(folder)
        for name in names:
            Image.fromarray(getattr(data, name)()).save(path / f"{name}.png")
        folders[folder] = path
    return folders


@pytest.mark.slow
def test_a_calibration_is_resumed_used_and_accounted_for(photographs: dict[str, Path], tmp_path: Path) -> None:
    sources = ["--photographs", str(photographs["fit"]), "--held-out-photographs", str(photographs["held"])]
    out, again = tmp_path / "lite.safetensors", tmp_path / "again.safetensors"
    assert run(["calibrate", "--out", str(out), *sources, *SMALL, "--generations", "2"]) == 0
    # Killed after the first generation, and begun again.
    first = out.with_suffix(".jsonl").read_text().splitlines()[0]
    again.with_suffix(".jsonl").write_text(f'{first}\n{{"gen')
    words = ["calibrate", "--out", str(again), *sources, *SMALL, "--generations", "2"]
    subprocess.run([Path(sys.executable).with_name("scene"), *words], check=True)
    assert load_model(again).calibrations == load_model(out).calibrations
    assert again.with_suffix(".jsonl").read_text() == out.with_suffix(".jsonl").read_text()
    account = read_record(out)["calibrations"]["x264"]
    assert account["held_out"] == ["chelsea.png", "rocket.png"] and account["preset"] == "medium"
    assert set(account["held_out_savings"]) == {"vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y"}
    # A second encoder joins the first.
    both = tmp_path / "both.safetensors"
    svtav1 = ["--codec", "svtav1", "--preset", "12", "--generations", "1", "--aim", "faithful"]
    assert run(["calibrate", str(out), "--out", str(both), *sources, *SMALL, *svtav1]) == 0
    assert set(load_model(both).calibrations) == {"x264", "svtav1"}
    assert load_model(both).calibrations["x264"] == load_model(out).calibrations["x264"]
    account = read_record(both)["calibrations"]["svtav1"]
    assert account["aim"] == "faithful"
    assert set(account["held_out_savings"]) == {"vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y", "xpsnr_y"}
    # The log of one encoder is not that of another.
    log = out.with_suffix(".jsonl").read_text()
    assert run(["calibrate", "--out", str(out), *sources, *SMALL, "--codec", "x265", "--generations", "1"]) == 3
    assert out.with_suffix(".jsonl").read_text() == log


def test_photographs_are_not_calibrated_on_and_held_out(
    photographs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(photographs["fit"])
    out = tmp_path / "lite.safetensors"
    sources = ["--photographs", folder, "--held-out-photographs", folder]
    assert run(["calibrate", "--out", str(out), *sources, *SMALL]) == 3
    assert "held out" in capsys.readouterr().err
    assert run(["calibrate", "--out", str(out), "--photographs", folder]) == 2
    assert "--held-out" in capsys.readouterr().err or not out.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"), [("missing/lite.safetensors", "does not exist"), ("lite.pt", ".safetensors")]
)
def test_where_nothing_can_be_written_is_said_before_work(
    name: str, said: str, photographs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = ["--photographs", str(photographs["fit"]), "--held-out-photographs", str(photographs["held"])]
    assert run(["calibrate", "--out", str(tmp_path / name), *sources, *SMALL]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_log_of_other_arguments_is_kept(photographs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "lite.safetensors"
    log = out.with_suffix(".jsonl")
    line = json.dumps(
        {"generation": 0, "subject": "another", "clips": [0], "vectors": [[0.0]], "objectives": [1.0], "mean": [0.0]}
    )
    log.write_text(line + "\n")
    sources = ["--photographs", str(photographs["fit"]), "--held-out-photographs", str(photographs["held"])]
    assert run(["calibrate", "--out", str(out), *sources, *SMALL]) == 3
    assert log.read_text() == line + "\n" and not out.exists()
