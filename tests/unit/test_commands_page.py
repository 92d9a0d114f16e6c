"""docs/commands.md is what the commands print with --help."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scene.cli import app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    spec = importlib.util.spec_from_file_location("make_commands", ROOT / "scripts" / "make_commands.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_commands_print() -> None:
    """In a process of its own: consoles keep the width that they began with."""
    code = "import make_commands, sys; sys.stdout.buffer.write(make_commands.page().encode())"
    # The package of this checkout, wherever another one is installed.
    places = os.pathsep.join(str(ROOT / folder) for folder in ("scripts", "src"))
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": places}
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=60)
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert page == made.stdout.decode("utf-8"), "run python scripts/make_commands.py"


def test_every_command_is_on_the_page(script: ModuleType) -> None:
    listed = set(script.commands(app))
    files = {path.stem for path in (ROOT / "src" / "scene" / "cli").glob("*.py")}
    no_commands = {
        "__init__",
        "console",
        "events",
        "habits",
        "memory",
        "sample",
        "batch_display",
        "batch_report",
        "batch_settings",
        "bench_report",
        "encode_options",
        "encode_report",
        "gpu_report",
        "results_report",
        "search_report",
        "standard_streams",
    }
    assert {f"scene {name}" for name in files - no_commands} <= listed
    assert "scene bench training" in listed
