"""Networks in folders, for real, and on the Hub, for which a module that keeps folders stands in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import scene
from scene.errors import CheckpointError, InputError, MissingError, UsageError
from scene.model import Network, NetworkConfig, build_network, read_record, resolve_model


def same(one: Network, other: Network) -> bool:
    states = one.state_dict(), other.state_dict()
    return (
        one.config == other.config
        and one.semantics == other.semantics
        and one.calibrations == other.calibrations
        and one.record == other.record
        and list(states[0]) == list(states[1])
        and all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    )


@pytest.mark.parametrize("name", ["scene-lite", "asconvsr", "scene"])
def test_a_folder_gives_back_what_was_saved(name: str, tmp_path: Path) -> None:
    network = Network.from_pretrained(name)
    assert network.identity == scene.load_model(name).identity
    folder = tmp_path / "deep" / "my-model"
    network.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors"]
    back = Network.from_pretrained(folder)
    assert same(network, back) and not back.training
    assert back.record == read_record(resolve_model(name))
    assert back.identity.startswith("my-model@")
    assert same(network, Network.from_pretrained(folder / "model.safetensors"))


def test_the_card_says_what_the_checkpoint_says(tmp_path: Path) -> None:
    Network.from_pretrained("scene").save_pretrained(tmp_path / "a")
    card = (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: scene-codec\n")
    assert "conditioned on student-mobilenetv2@52a82e22c27f and on the quantiser step" in card
    assert "Trained for 450 steps, 400 s on cpu (x86_64)." in card
    assert '"objective": "saving"' in card
    Network.from_pretrained("scene-lite").save_pretrained(tmp_path / "b")
    card = (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert "No network" in card and "Calibrated for svtav1, vvenc, x264, x265." in card


def test_an_untrained_network_has_a_card_without_a_record(tmp_path: Path) -> None:
    network = build_network(NetworkConfig(channels=4, guidance="features"), seed=0)
    network.save_pretrained(tmp_path / "new")
    card = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert "conditioned on its own features." in card and "Record" not in card
    assert same(network, Network.from_pretrained(tmp_path / "new"))


def test_what_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model is called 'nonesuch'"):
        Network.from_pretrained("nonesuch")
    with pytest.raises(InputError, match="does not exist"):
        Network.from_pretrained(tmp_path / "missing.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors does not exist"):
        Network.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        Network.from_pretrained(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be a folder"):
        scene.load_model("scene-lite").save_pretrained(tmp_path / "file")


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingError, match="needs huggingface_hub: pip install huggingface_hub"):
        Network.from_pretrained("someone/some-model")
    with pytest.raises(MissingError, match="pushing to the Hub needs huggingface_hub"):
        scene.load_model("scene-lite").push_to_hub("someone/some-model")


class Hub:
    """What of huggingface_hub is called, on a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[Any] = []

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str | None = None) -> str:
        self.calls.append(("download", repo_id, filename, revision))
        path = self.root / repo_id / filename
        if not path.exists():
            raise OSError("404 Client Error.\nRepository Not Found")
        return str(path)

    def api(self, token: str | None) -> SimpleNamespace:
        self.calls.append(("token", token))
        return SimpleNamespace(create_repo=self.create_repo, upload_folder=self.upload_folder)

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> None:
        self.calls.append(("create", repo_id, private, exist_ok))
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return f"https://hub/{repo_id}/commit/1"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path / "hub")
    module = SimpleNamespace(hf_hub_download=made.hf_hub_download, HfApi=made.api)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)  # type: ignore[arg-type]
    return made


def test_pushed_and_fetched(hub: Hub) -> None:
    network = scene.load_model("scene")
    assert network.push_to_hub("someone/light", private=True, token="t") == "https://hub/someone/light/commit/1"
    assert hub.calls == [("token", "t"), ("create", "someone/light", True, True)]
    assert "# light\n" in (hub.root / "someone" / "light" / "README.md").read_text(encoding="utf-8")
    assert 'from_pretrained("someone/light")' in (hub.root / "someone" / "light" / "README.md").read_text("utf-8")
    back = Network.from_pretrained("someone/light", revision="main")
    assert hub.calls[-1] == ("download", "someone/light", "model.safetensors", "main")
    assert same(network, back) and back.identity.startswith("light@")
    with pytest.raises(InputError, match=r"someone/other is neither here nor can it be fetched \(404 Client Error\)"):
        Network.from_pretrained("someone/other")


def test_the_stand_ins_calls_are_those_of_the_real_package() -> None:
    """Names and parameters; nothing is sent."""
    import inspect

    real = pytest.importorskip("huggingface_hub")
    assert {"repo_id", "filename", "revision"} <= set(inspect.signature(real.hf_hub_download).parameters)
    assert {"repo_id", "private", "exist_ok"} <= set(inspect.signature(real.HfApi.create_repo).parameters)
    assert {"repo_id", "folder_path", "commit_message"} <= set(inspect.signature(real.HfApi.upload_folder).parameters)
    assert "token" in inspect.signature(real.HfApi.__init__).parameters
