"""What computes a network, and which is remembered as the fastest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino_child
import pytest
import torch
from openvino_child import CPU, changing_network

from scene.benchmarks import runtimes
from scene.benchmarks.runtimes import bench_runtimes
from scene.enhance import Enhancer
from scene.errors import MissingError, UsageError
from scene.model import Network, save_network
from scene.picture import Picture, PictureFormat
from scene.runtimes import fastest_runtime, open_runtime, remember_fastest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "scene"


@pytest.mark.parametrize("what", ["computes_what_torch_does", "other_weights_have_another_graph"])
def test_openvino(cache: Path, what: str) -> None:
    done = subprocess.run([sys.executable, openvino_child.__file__, what], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def test_what_openvino_cannot_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"`runtime` openvino computes on the processor; give torch for cuda"):
        open_runtime(changing_network(), "openvino", torch.device("cuda"))
    with pytest.raises(UsageError, match="cannot be computed by OpenVINO; use torch"):
        open_runtime(changing_network(planes="yuv420", guidance="features"), "openvino", CPU)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingError, match=r"OpenVINO cannot be used: .*pip install openvino"):
        open_runtime(changing_network(), "openvino", CPU)


def test_auto_is_torch_until_a_benchmark_says_otherwise(tmp_path: Path, cache: Path) -> None:
    network = changing_network(guidance="features")
    assert fastest_runtime(network) == "torch" and not cache.exists()
    other = changing_network(guidance="features", channels=6)
    assert remember_fastest({network: "torch-bf16"}) == cache / "runtimes.json"
    remember_fastest({other: "openvino"})
    assert (fastest_runtime(network), fastest_runtime(other)) == ("torch-bf16", "openvino")
    # Other weights of the same shape are as fast.
    assert fastest_runtime(changing_network(guidance="features")) == "torch-bf16"
    luma = np.random.default_rng(4).integers(16, 235, (64, 96), np.uint8)
    picture = Picture(PictureFormat(96, 64, 8, "400"), (luma,))
    auto, half, full = (
        Enhancer(network, device="cpu", step=20, runtime=runtime)([picture])[0].planes[0]
        for runtime in ("auto", "torch-bf16", "torch")
    )
    assert np.array_equal(auto, half) and not np.array_equal(auto, full)
    # What cannot be read, or names no runtime, counts for nothing.
    known = json.loads((cache / "runtimes.json").read_text())
    for content in ("{", "[]", json.dumps(dict.fromkeys(known, "abacus"))):
        (cache / "runtimes.json").write_text(content)
        assert fastest_runtime(network) == "torch"


def test_a_benchmark_remembers_the_fastest_that_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = changing_network(guidance="features")
    save_network(network, tmp_path / "mine.safetensors")

    def wrong(network: Network, name: str, device: torch.device):
        compute = open_runtime(network, "torch", device)
        if name == "openvino":
            raise MissingError("no OpenVINO here.")
        # Nothing is faster than this, and the one with a code more is nothing that may be used.
        return (lambda x, *_: x * 0) if name == "torch-bf16" else compute

    monkeypatch.setattr(runtimes, "open_runtime", wrong)
    result = bench_runtimes([str(tmp_path / "mine.safetensors")], (96, 64), turns=2)
    assert [speed.runtime for speed in result.speeds] == ["torch", "torch-bf16", "openvino-bf16"]
    assert result.speeds[1].apart > 1 and result.speeds[0].apart == result.speeds[2].apart == 0
    assert result.missing == {"openvino": "no OpenVINO here."}
    (found,) = result.fastest.values()
    assert found != "torch-bf16" and fastest_runtime(network) == found
    assert set(result.peaks) == {"float32", "bfloat16"} and min(result.peaks.values()) > 0
    for speed in result.speeds:
        assert speed.flops > 0 and speed.ms > 0 and speed.peak_share > 0
    for models, size, turns in ((["scene-lite"], (96, 64), 1), (["scene"], (32, 64), 1), (["scene"], (96, 64), 0)):
        with pytest.raises(UsageError):
            bench_runtimes(models, size, turns=turns)
