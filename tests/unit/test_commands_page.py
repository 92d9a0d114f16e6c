"""docs/commands.md is what the commands print with --help."""

from __future__ import annotations

import importlib.util
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


def test_the_page_is_what_the_commands_print(script: ModuleType) -> None:
    assert (ROOT / "docs" / "commands.md").read_text("utf-8") == script.page(), "run python scripts/make_commands.py"


def test_every_command_is_on_the_page(script: ModuleType) -> None:
    listed = set(script.commands(app))
    files = {path.stem for path in (ROOT / "src" / "scene" / "cli").glob("*.py")}
    no_commands = {
        "__init__",
        "console",
        "events",
        "habits",
        "sample",
        "encode_report",
        "results_report",
        "search_report",
        "standard_streams",
    }
    assert {f"scene {name}" for name in files - no_commands} <= listed
    assert "scene bench training" in listed
