"""`scene completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that completes commands, options and their choices in a shell.

    For bash, put it into ~/.local/share/bash-completion/completions/scene; for zsh, as _scene into a folder of $fpath;
    for fish, into ~/.config/fish/completions/scene.fish. Print it again after an upgrade.

    Args:
        shell: bash, zsh or fish.
    """
    from scene.cli import app

    print(app.generate_completion(prog_name="scene", shell=shell), end="")
