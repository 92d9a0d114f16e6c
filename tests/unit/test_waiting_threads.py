"""OpenMP's threads wait without spinning, however the package is entered: read in the process that computes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# GNU OpenMP prints what it was told when torch loads it: 0 turns for PASSIVE, 300000 where nobody told it anything.
SPINS = re.compile(r"GOMP_SPINCOUNT = '(\d+)'")
RAY = """
import os, ray
from scene.evaluation.grid.ray import _run_unit
# The processes of a cluster have their own environment; ours does not reach them.
del os.environ["OMP_WAIT_POLICY"]
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir={folder!r})

@ray.remote
def before():
    return os.environ.get("OMP_WAIT_POLICY")

@ray.remote
def after(function):
    import torch
    return os.environ["OMP_WAIT_POLICY"]

print(ray.get(before.remote()), ray.get(after.remote(_run_unit)))
"""
LOADER = """
import os, torch
from torch.utils.data import DataLoader
import scene.training.data.crops

class Policies:
    def __getitem__(self, index):
        return os.environ["OMP_WAIT_POLICY"]

if __name__ == "__main__":
    for how in ("fork", "spawn"):
        print(*DataLoader(Policies(), sampler=[0], num_workers=1, batch_size=None, multiprocessing_context=how))
"""
ENCODER = """
import pathlib, time
import scene.video.encoding.isolated as isolated

process = isolated._EncoderProcess()
place = pathlib.Path("/proc", str(process._process.pid))
while "serve" not in (place / "cmdline").read_text():
    time.sleep(0.01)
print(*[word for word in (place / "environ").read_text().split(chr(0)) if word.startswith("OMP_WAIT_POLICY=")])
process.kill()
"""


def python(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python with OpenMP's own account on stderr and no policy in its environment but what `more` says."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "RAY_"))}
    environment = {**kept, "OMP_DISPLAY_ENV": "verbose", "COLUMNS": "200", **more}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=250, check=True
    )


def spins(messages: str) -> set[str]:
    return set(SPINS.findall(messages))


@pytest.fixture(scope="module", autouse=True)
def gnu_openmp() -> None:
    """These tests read what GNU OpenMP prints, which torch's wheels for Linux carry."""
    if spins(python("-c", "import torch").stderr) != {"300000"}:
        pytest.skip("torch's OpenMP says nothing of how it waits")


@pytest.mark.parametrize(
    "code",
    [
        "import scene; scene.open_enhancer(codec='x264', crf=30)",
        "from scene.training.loop import train",
        "from scene.errors import SceneError; import torch",
    ],
)
def test_from_python(code: str) -> None:
    assert spins(python("-c", code).stderr) == {"0"}


def test_what_the_user_has_set_stays() -> None:
    (turns,) = spins(python("-c", "import scene, torch", OMP_WAIT_POLICY="ACTIVE").stderr)
    assert int(turns) > 300000


def test_the_installed_program() -> None:
    """It enters by `scene.cli`, which loads the file of every command."""
    said = python("-c", "import sys; from scene.cli import main; sys.argv = ['scene', 'models']; main()")
    assert "asconvsr@" in said.stdout
    assert spins(said.stderr) == {"0"}


def test_the_module_as_a_program() -> None:
    assert spins(python("-m", "scene", "models").stderr) == {"0"}


def test_what_torchrun_starts() -> None:
    # The launcher itself loads torch and computes nothing; what it starts is the second to speak.
    said = python("-m", "torch.distributed.run", "--nproc_per_node", "1", "-m", "scene", "models")
    assert SPINS.findall(said.stderr) == ["300000", "0"]


def test_processes_that_load_training_data(tmp_path: Path) -> None:
    script = tmp_path / "loader.py"
    script.write_text(LOADER, encoding="utf-8")
    # `torch` comes first there, so only what is started afresh can hear of it in time.
    done = python(str(script))
    assert done.stdout.split() == ["PASSIVE", "PASSIVE"]
    assert SPINS.findall(done.stderr) == ["300000", "0"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_process_that_encodes() -> None:
    assert python("-c", ENCODER).stdout.strip() == "OMP_WAIT_POLICY=PASSIVE"


def test_rays_processes() -> None:
    pytest.importorskip("ray")
    # Sockets lie in it, and their paths may not be long.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        done = python("-c", RAY.format(folder=folder))
        assert done.stdout.split() == ["None", "PASSIVE"]
        said = "".join(path.read_text(errors="replace") for path in Path(folder).rglob("worker*.err"))
    assert spins(said) == {"0"}
