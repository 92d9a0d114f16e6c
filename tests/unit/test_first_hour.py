"""What a new user meets first: lists that can be copied from, completion, imports that are not paid for twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scene.cli import run
from scene.model import model_names

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("columns", ["30", "80", "200"])
def test_models_cuts_no_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in listed["models"]] == model_names()
    assert run(["models"]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    for thing in listed["models"] + listed["encoders"]:
        assert thing["identity"].partition("@")[0] == thing["name"]
        (line,) = (line for line in printed.splitlines() if line.endswith(thing["identity"]))
        assert line.split()[0] == thing["name"]
        assert f"{thing['parameters']:,}" in line
        assert str(thing.get("guided_by", thing.get("teacher"))) in line


def test_the_cpu_build_of_torch_is_named_before_the_command_that_needs_it() -> None:
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    command = f"pip install --index-url https://download.pytorch.org/whl/cpu torch=={pinned[1]}"
    for page in (ROOT / "README.md", ROOT / "docs" / "index.md"):
        text = page.read_text(encoding="utf-8")
        assert 0 < text.find(command) < text.find("-c constraints.txt"), page


def complete(*words: str) -> list[str]:
    """What bash offers for the last of some words, with the script that the program prints for it."""
    script = subprocess.run(
        [sys.executable, "-m", "scene", "completion", "bash"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    ask = 'eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _scene; printf "%s\\n" "${COMPREPLY[@]}"'
    asked = subprocess.run(
        ["bash", "-c", ask, "bash", script, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return [word.strip() for word in asked.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("scene", "enc"), ["encode"]),
        (("scene", "bench", "sem"), ["semantics"]),
        (("scene", "encode", "--cod"), ["--codec"]),
        (("scene", "encode", "--codec", "sv"), ["svtav1"]),
    ],
)
def test_bash_completes(words: tuple[str, ...], offered: list[str]) -> None:
    assert complete(*words) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_own(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert {"zsh": "#compdef scene", "fish": "complete -c scene"}[shell] in script
    assert "svtav1" in script


@pytest.mark.parametrize("name", ["encode", "filter", "search", "evaluate", "compare", "open_enhancer"])
def test_scipy_and_matplotlib_are_loaded_where_they_are_needed(name: str) -> None:
    code = f"import scene, sys; scene.{name}; assert not {{'scipy', 'matplotlib'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_nobody_is_sent_to_an_index_for_this_package() -> None:
    """It is on none: extras are installed from a checkout."""
    for folder, kinds in (("src", ("py",)), ("docs", ("md",)), ("configs", ("toml",)), ("scripts", ("py", "md"))):
        for kind in kinds:
            for file in (ROOT / folder).rglob(f"*.{kind}"):
                assert "scene-codec[" not in file.read_text(encoding="utf-8"), file
    assert "scene-codec[" not in (ROOT / "README.md").read_text(encoding="utf-8")
