"""`scene encode` with a model that takes semantic embeddings: encoders, controls, and everything that can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from making import decoded, encode, make_network, make_video
from safetensors.torch import load_file, save_file

from scene.cli import run
from scene.evaluation.grid.methods import parse_method
from scene.model import NetworkConfig, Semantics, build_network, save_network
from scene.model.semantics import load_encoder
from scene.model.semantics.student import StudentConfig, StudentEncoder, save_student
from scene.model.tensors import read_tensors


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_video(tmp_path / "in.mkv", frames=3)


@pytest.fixture
def student(tmp_path: Path) -> Path:
    path = tmp_path / "student.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_student(StudentEncoder(StudentConfig(12, 32, (4, 4, 8, 8), (0, 0, 1), 8)), path)
    return path


@pytest.fixture
def model(tmp_path: Path, student: Path) -> Path:
    network = build_network(NetworkConfig(planes="luma", channels=8, embedding_width=12, semantic_hidden=6), seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.tail.weight.normal_(std=0.02, generator=generator)
        network.references.normal_(generator=generator)
        network.blocks[0].control.expand.weight.mul_(50)  # type: ignore[union-attr, operator]
    network.semantics = Semantics(str(student), load_encoder(str(student)).identity)
    path = tmp_path / "model.safetensors"
    save_network(network, path)
    return path


def luma(path: Path) -> np.ndarray:
    return np.stack([frame.planes[0] for frame in decoded(path)])


def test_what_steers_the_model_changes_the_output(tmp_path: Path, source: Path, model: Path) -> None:
    outputs = {}
    for semantics in ("auto", "none", "constant", "random", "shuffled"):
        destination = tmp_path / f"{semantics}.mkv"
        arguments = ["--model", str(model), "--semantics", semantics, "--encoder-args", "qp=0"]
        assert run(["encode", str(source), str(destination), *arguments], debug=True) == 0
        outputs[semantics] = luma(destination)
    kinds = list(outputs)
    for index, kind in enumerate(kinds):
        for other in kinds[:index]:
            assert not np.array_equal(outputs[kind], outputs[other]), (kind, other)


def test_mistakes_are_one_sentence(
    tmp_path: Path, source: Path, model: Path, student: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = make_network(tmp_path / "plain.safetensors")
    wide = tmp_path / "wide.safetensors"
    save_student(StudentEncoder(StudentConfig(16, 32, (4, 4, 8, 8), (0, 0, 1), 8)), wide)
    cases = [
        (["--model", str(plain), "--semantics", "none"], 2, "takes no semantic embedding"),
        (["--model", str(model), "--semantics", "clip"], 2, "no semantic encoder is called"),
        (["--model", str(model), "--semantics", str(wide)], 2, "gives 16 numbers"),
        (["--model", str(model), "--semantics", str(tmp_path / "gone.safetensors")], 3, "does not exist"),
        (["--model", str(model), "--semantic-interval", "-1"], 2, "interval"),
    ]
    for arguments, code, text in cases:
        assert run(["encode", str(source), str(tmp_path / "out.mkv"), *arguments]) == code
        err = capfd.readouterr().err
        assert len(err.splitlines()) == 1 and text in err
        assert not (tmp_path / "out.mkv").exists()
    student.unlink()
    assert run(["encode", str(source), str(tmp_path / "out.mkv"), "--model", str(model)]) == 3
    assert "--semantics" in capfd.readouterr().err


def test_models_that_name_rubbish_are_refused(tmp_path: Path, source: Path, model: Path) -> None:
    tensors, metadata = load_file(model), dict(read_tensors(model).metadata)
    for rubbish in ("x", "{}", '{"encoder": 3, "identity": "a"}', '{"encoder": "a", "identity": "a", "control": "b"}'):
        save_file(tensors, model, {**metadata, "semantics": rubbish})
        assert encode(source, tmp_path / "out.mkv", "--model", model) == 3


def test_controls_are_methods_of_an_evaluation(model: Path, tmp_path: Path) -> None:
    plain = parse_method(str(model))
    assert (plain.label, plain.semantics) == ("model", "auto")
    shuffled = parse_method(f"{model}:shuffled")
    assert (shuffled.label, shuffled.semantics) == ("model:shuffled", "shuffled")
    assert len({plain.identity, shuffled.identity, parse_method(f"{model}:none").identity}) == 3


def test_the_cost_of_semantics_is_measured(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "semantics", str(model), "--size", "64x48"]) == 0
    out = capsys.readouterr().out
    assert "student@" in out and "model@" in out and "% of the time" in out
    assert run(["bench", "semantics", str(model), "--size", "64"]) == 2
