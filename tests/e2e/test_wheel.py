"""The package as it is built: checked, installed where nothing else is, and used from another folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a build reads; copied, so that it leaves nothing in the checkout.
PARTS = ("src", "pyproject.toml", "README.md", "LICENSE")


def environment(folder: Path, *packages: str) -> Path:
    """A virtual environment with some packages; gives the folder of its programs."""
    venv.create(folder, with_pip=True, symlinks=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *packages)
    return folder / "bin"


def run(*words: object, cwd: Path | None = None) -> str:
    kept = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=kept, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wheel_is_whole(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, checkout / name)
    tools = environment(tmp_path / "tools", "build", "twine")
    # The wheel is built from the archive of sources, so that one is whole too.
    run(tools / "python", "-m", "build", "--outdir", tmp_path / "dist", cwd=checkout)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    assert "PASSED" in run(tools / "twine", "check", "--strict", wheel, archive)

    programs = environment(tmp_path / "clean", str(wheel))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(programs / "python", "-c", "import scene; print(scene.__file__)", cwd=elsewhere)
    assert Path(where.strip()).is_relative_to(tmp_path / "clean")
    found = {
        finding["part"]: finding for finding in json.loads(run(programs / "scene", "doctor", "--json", cwd=elsewhere))
    }
    for part in ("x264", "x265", "svtav1", "ffmpeg: libvmaf", "model scene", "semantic encoder student-mobilenetv2"):
        assert found[part]["ok"], found[part]
    # Extras are optional and were not asked for.
    assert not found["extra train"]["ok"] and not found["extra train"]["needed"]
    run(programs / "scene", "demo", cwd=elsewhere)
    assert (elsewhere / "scene-demo" / "report.html").stat().st_size > 100_000
