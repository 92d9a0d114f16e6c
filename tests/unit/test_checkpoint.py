"""Weights on disk: what is written comes back, and what is not ours is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scene.errors import CheckpointError, InputError, UsageError
from scene.model import NetworkConfig, build_network, load_model, model_names, read_network, read_record, save_network

CONFIG = NetworkConfig(guidance="features", planes="luma", channels=8)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_network(build_network(CONFIG, seed=1), path, {"steps": 3})
    return path


def header_of(path: Path) -> dict[str, str]:
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    return dict(json.loads(raw[8 : 8 + size])["__metadata__"])


def test_a_network_comes_back_as_it_was(checkpoint: Path) -> None:
    network = read_network(checkpoint)
    original = build_network(CONFIG, seed=1)
    assert network.config == CONFIG
    assert not network.training
    assert network.identity.startswith("tiny@")
    assert len(network.identity) == len("tiny@") + 12
    for a, b in zip(network.state_dict().values(), original.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert read_record(checkpoint) == {"steps": 3}


def test_the_range_of_the_quantiser_comes_back(tmp_path: Path) -> None:
    config = NetworkConfig(guidance="features", planes="luma", channels=8, quantiser=(6, 60))
    save_network(build_network(config, seed=1), tmp_path / "told.safetensors")
    network = read_network(tmp_path / "told.safetensors")
    assert network.config == config
    assert network.config.quantiser == (6.0, 60.0)
    assert network.head.in_channels == 5


def test_without_a_quantiser_a_checkpoint_is_as_before_there_was_one(checkpoint: Path) -> None:
    assert "quantiser" not in json.loads(header_of(checkpoint)["network"])
    assert read_network(checkpoint).config.quantiser is None


def test_nothing_is_left_beside_a_checkpoint(checkpoint: Path) -> None:
    assert [p.name for p in checkpoint.parent.iterdir()] == ["tiny.safetensors"]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def oversized_header(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def rewritten(
    change_tensors: Callable[[dict[str, torch.Tensor]], None] = lambda _: None,
    change_header: Callable[[dict[str, str]], None] = lambda _: None,
) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        tensors, header = load_file(path), header_of(path)
        change_tensors(tensors)
        change_header(header)
        save_file(tensors, path, header)

    return apply


def not_a_number(tensors: dict[str, torch.Tensor]) -> None:
    tensors["head.bias"][0] = float("nan")


def wrong_shape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["head.bias"] = torch.zeros(5)


def wrong_type(tensors: dict[str, torch.Tensor]) -> None:
    tensors["head.bias"] = tensors["head.bias"].to(torch.int32)


def missing_tensor(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["head.bias"]


def foreign(header: dict[str, str]) -> None:
    header.clear()
    header["x"] = "y"


def newer(header: dict[str, str]) -> None:
    header["format_version"] = "99"


def unknown_key(header: dict[str, str]) -> None:
    header["network"] = json.dumps({**json.loads(header["network"]), "attention": True})


def backward_steps(header: dict[str, str]) -> None:
    header["network"] = json.dumps({**json.loads(header["network"]), "quantiser": [60, 6]})


def told_without_the_plane(header: dict[str, str]) -> None:
    header["network"] = json.dumps({**json.loads(header["network"]), "quantiser": [6, 60]})


def huge(header: dict[str, str]) -> None:
    header["network"] = json.dumps({**json.loads(header["network"]), "channels": 10**9})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "damaged"),
        (oversized_header, "damaged"),
        (random_bytes, "damaged"),
        (empty, "damaged"),
        (rewritten(not_a_number), "not finite"),
        (rewritten(wrong_shape), "shape"),
        (rewritten(wrong_type), "type"),
        (rewritten(missing_tensor), "missing"),
        (rewritten(change_header=foreign), "not a SCENE network"),
        (rewritten(change_header=newer), "format version"),
        (rewritten(change_header=unknown_key), "cannot be built"),
        (rewritten(change_header=huge), "cannot be built"),
        (rewritten(change_header=backward_steps), "cannot be built"),
        (rewritten(change_header=told_without_the_plane), "shape"),
    ],
)
def test_damage_is_refused(checkpoint: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(checkpoint)
    with pytest.raises(CheckpointError, match=message):
        read_network(checkpoint)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_pickles_are_never_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="pickled"):
        load_model(path)


def test_missing_files_and_folders_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(InputError):
            load_model(path)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="asconvsr"):
        load_model("no-such-model")


def test_every_shipped_model_loads() -> None:
    assert "asconvsr" in model_names()
    for name in model_names():
        network = load_model(name)
        assert network.identity.startswith(f"{name}@")
        record = read_record(Path(str(__import__("scene").__path__[0])) / "weights" / f"{name}.safetensors")
        assert record["steps"] > 0 if network.config.body else set(record["calibrations"]) == set(network.calibrations)
