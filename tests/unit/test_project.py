"""What holds the project together: one-way imports, a quick --help, one set of commands everywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import scene
from scene import errors
from scene.cli import _run

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "scene"

# docs/architecture.md: what each part may import, beside the leaves.
ARROWS = {
    "errors": set(),
    "files": set(),
    "picture": set(),
    "progress": set(),
    "model": set(),
    "proxy": {"model"},
    "metrics": {"model"},
    "video": {"model"},
    "enhance": {"model"},
    "training": {"evaluation", "enhance", "video", "metrics", "proxy", "model"},
    "evaluation": {"enhance", "video", "metrics", "proxy", "model"},
    "jobs": {"enhance", "video", "metrics", "proxy", "model"},
    "cli": {"jobs", "training", "evaluation", "enhance", "video", "metrics", "proxy", "model"},
}
LEAVES = {"errors", "files", "picture", "progress"}


def imported_parts(file: Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        parts |= {name.split(".")[1] for name in names if name.startswith("scene.") and name != "scene.__version__"}
    return parts


@pytest.mark.parametrize("part", sorted(ARROWS))
def test_imports_point_one_way(part: str) -> None:
    path = PACKAGE / f"{part}.py"
    files = [path] if path.exists() else sorted((PACKAGE / part).rglob("*.py"))
    assert files
    for file in files:
        forbidden = imported_parts(file) - ARROWS[part] - LEAVES - {part}
        assert not forbidden, f"{file.relative_to(ROOT)} imports {forbidden}"


def test_every_part_is_on_the_map() -> None:
    parts = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir() if p.suffix in ("", ".py")}
    assert parts - {"__init__", "__main__", "__pycache__", "weights"} == set(ARROWS)


def test_only_video_touches_pyav_or_starts_processes() -> None:
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name == "video":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"av", "subprocess"}, file


@pytest.mark.parametrize(
    "arguments",
    [
        [*command, "--help"]
        for command in (
            [],
            ["encode"],
            ["search"],
            ["evaluate"],
            ["compare"],
            ["train"],
            ["distill"],
            ["doctor"],
            ["bench", "training"],
            ["bench", "semantics"],
        )
    ],
)
def test_help_loads_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom scene.cli import _run\n"
        f"code = _run({arguments!r}, debug=False)\n"
        "assert code == 0 and not {'torch', 'av', 'numpy', 'matplotlib'} & set(sys.modules), sorted(sys.modules)\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    # Half a second on a quiet machine; the modules above are the real check.
    assert time.monotonic() - began < 10


def test_exit_codes_are_the_documented_ones() -> None:
    codes = {error.__name__: error.exit_code for error in _leaves(errors.SceneError)}
    assert codes == {
        "SceneError": 1,
        "UsageError": 2,
        "InputError": 3,
        "CheckpointError": 3,
        "VerificationError": 4,
        "TargetError": 5,
        "MissingError": 6,
    }


def _leaves(error: type[errors.SceneError]) -> list[type[errors.SceneError]]:
    return [error] + [
        leaf for child in error.__subclasses__() if child.__module__ == "scene.errors" for leaf in _leaves(child)
    ]


def test_the_readmes_commands_are_those_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = re.findall(r"^    (python3\S* -m venv .*)$", readme, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert command in ci


def test_the_version_is_the_packages() -> None:
    assert f'version = "{scene.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_public_surface_is_locked() -> None:
    assert set(scene.__all__) == {
        "EncodeRequest",
        "EncodeResult",
        "EncoderSettings",
        "Enhancer",
        "SceneError",
        "__version__",
        "encode_file",
        "load_model",
        "model_names",
    }
    for name in scene.__all__:
        assert getattr(scene, name) is not None


def test_models_lists_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["models"], debug=False) == 0
    listed = capsys.readouterr().out
    assert "asconvsr@" in listed
    assert "scene@" in listed
    assert "student-mobilenetv2@" in listed
    assert "none" in listed
