"""Writes into docs/commands.md, between its marks, what `scene COMMAND --help` prints, for every command.

    python scripts/make_commands.py

A test holds that the page is what the commands print.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import cyclopts

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
_COLUMNS = 100
MARKS = ("<!-- commands -->", "<!-- /commands -->")


def commands(app: cyclopts.App, name: str = "scene") -> Iterator[str]:
    """Every command by its words, the groups of commands too, each before what is in it."""
    yield name
    for word in app:
        if not word.startswith("-"):
            yield from commands(app[word], f"{name} {word}")


def help_of(command: str) -> str:
    """What a command prints with --help, at a width of 100 columns."""
    from scene.cli import run

    os.environ["COLUMNS"] = str(_COLUMNS)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = run([*command.split()[1:], "--help"])
    if code:
        raise SystemExit(f"{command} --help ended with {code}")
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def page() -> str:
    """The whole of docs/commands.md.

    Raises:
        ValueError: the page has lost its marks.
    """
    from scene.cli import app

    head, start, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    if not end:
        raise ValueError(f"{PAGE.name} lacks its marks, {' and '.join(MARKS)}")
    parts = [f"## {command}\n\n```text\n{help_of(command)}\n```\n" for command in commands(app)]
    return f"{head}{start}\n\n" + "\n".join(parts) + f"\n{end}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
