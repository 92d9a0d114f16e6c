"""The command line. Each command is one file beside this one: arguments in, one library call, result out.

Commands are registered by import path, so that `scene --help` and `scene COMMAND --help` load no torch.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import cyclopts

from scene import __version__
from scene.errors import SceneError

app = cyclopts.App(
    name="scene",
    help="Enhance video before a standard encoder, so that it needs fewer bits for the same quality.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
app.command("scene.cli.demo:demo", name="demo")
app.command("scene.cli.encode:encode", name="encode")
app.command("scene.cli.search:search", name="search")
app.command("scene.cli.evaluate:evaluate", name="evaluate")
app.command("scene.cli.compare:compare", name="compare")
app.command("scene.cli.train:train", name="train")
app.command("scene.cli.distill:distill", name="distill")
app.command("scene.cli.bench:bench", name="bench")
app.command("scene.cli.models:models", name="models")


class _Terminated(BaseException):
    """SIGTERM, raised in the main thread so that every `finally` runs."""


def _on_sigterm(_signum: int, _frame: FrameType | None) -> None:
    raise _Terminated


def main(argv: list[str] | None = None) -> None:
    """Entry point of the `scene` command; leaves with the exit codes of scene.errors, or 130/143 by signal."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    signal.signal(signal.SIGTERM, _on_sigterm)
    sys.exit(_run(arguments, debug))


def _run(arguments: list[str], debug: bool) -> int:
    try:
        app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_none",
        )
    except cyclopts.CycloptsError as error:
        return _complain(f"{_usage_text(error)} See `scene --help`.", 2)
    except SceneError as error:
        if debug:
            raise
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except _Terminated:
        return _complain("terminated", 143)
    except BrokenPipeError:
        # Whoever read our stdout has left; point it at nothing so that the interpreter's flush stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        return _complain(f"unexpected {type(error).__name__}: {error} (run again with --debug to see where)", 1)
    return 0


def _usage_text(error: cyclopts.CycloptsError) -> str:
    text = " ".join(str(error).split())
    return text if text.endswith((".", "?")) else text + "."


def _complain(message: str, code: int) -> int:
    print(f"scene: {message}", file=sys.stderr)
    return code
