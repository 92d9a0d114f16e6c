"""The files in examples/: the shells take the scripts, and the commands are those that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scene.cli import app
from scene.cli.batch_settings import fits, read_settings
from scene.cli.encode_options import EncodeOptions

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted([*EXAMPLES.rglob("*.sh"), *EXAMPLES.rglob("*.sbatch")])
TEXTS = sorted(path for path in EXAMPLES.rglob("*") if path.is_file())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_scripts(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


def test_settings_hold_for_the_files_that_they_are_meant_for() -> None:
    settings = read_settings(EXAMPLES / "catalogue" / "settings.toml")
    assert list(settings.tables) == ["*", "trailers/*", "animation/*", "*commentary*"]
    usual = settings.options_of(Path("films/a.mov"), EncodeOptions())
    assert (usual.settings.codec, usual.settings.crf, usual.target) == ("x265", None, ("vmaf-neg=93",))
    trailer = settings.options_of(Path("trailers/2026/a.mov"), EncodeOptions())
    assert (trailer.settings.crf, trailer.target) == (20, ())
    drawn = settings.options_of(Path("animation/a, with commentary.mkv"), EncodeOptions())
    assert (drawn.max_kbps, drawn.map, len(drawn.target)) == (4000, ("-a:1", "-t"), 2)
    assert fits(Path("a/b.mkv"), "*") and not fits(Path("films/trailers/a.mkv"), "trailers/*")


def commands(text: str) -> list[list[str]]:
    """The words of each `scene` command, of which those that a shell or make puts in are left out."""
    found = re.findall(
        r"(?:^|[\s`/)])(?:scene|\$\(SCENE\)) ((?:encode|batch|job)\b[^`\n#]*)", text.replace("\\\n", " ")
    )
    return [[word for word in re.split(r"[\s\"'\[\]]+", line) if word and "$" not in word] for line in found]


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_commands_and_their_options_are_there(text: Path) -> None:
    for words in commands(text.read_text(encoding="utf-8")):
        command = app
        while words and not words[0].startswith("-") and words[0] in command:
            command = command[words.pop(0)]
        assert command.default_command is not None, f"{text.name}: scene {' '.join(words)}"
        known = {name for argument in command.assemble_argument_collection() for name in argument.names}
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, f"{text.name}: {word}"


def test_commands_are_found() -> None:
    text = 'exec srun scene job run "$1" --index 3\n\t$(SCENE) job join x\n`scene batch a --out b` says'
    assert commands(text) == [["job", "run", "--index", "3"], ["job", "join", "x"], ["batch", "a", "--out", "b"]]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_knows_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "in.mkv").touch()
    words = ["make", "-n", "-f", EXAMPLES / "make" / "Makefile", "chunks", "COUNT=3", "DST=film.mkv"]
    printed = subprocess.run(words, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert re.findall(r"scene job run (\S+) --index (\d)", printed) == [("film.mkv.job", number) for number in "012"]
