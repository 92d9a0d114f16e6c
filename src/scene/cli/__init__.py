"""The command line. Each command is one file beside this one: arguments in, one library call, result out.

What a command needs it imports when it is called, so that `scene --help` and `scene COMMAND --help` load no torch.
"""

from __future__ import annotations

import re
import sys

import cyclopts

from scene import __version__
from scene.cli import (
    batch,
    bench,
    calibrate,
    compare,
    completion,
    demo,
    distill,
    doctor,
    encode,
    evaluate,
    export,
    filter,
    job,
    ladder,
    live,
    map,
    models,
    search,
    train,
)
from scene.cli.console import LogFormat, complain
from scene.cli.habits import translate
from scene.cli.memory import keep_freed_memory
from scene.cli.standard_streams import secure_standard_streams
from scene.errors import SceneError, UsageError
from scene.signals import Ended, raise_on_signals

app = cyclopts.App(
    name="scene",
    help="Enhance video before a standard encoder, so that it needs fewer bits for the same quality.",
    version=__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
    # A file may have a name that looks like JSON.
    default_parameter=cyclopts.Parameter(json_list=False, json_dict=False),
)
app.command(batch.batch, usage="Usage: scene batch [OPTIONS] DIR|LIST --out OUT")
app.command(bench.bench)
app.command(calibrate.calibrate)
app.command(compare.compare)
app.command(completion.completion)
app.command(demo.demo)
app.command(distill.distill)
app.command(doctor.doctor)
app.command(encode.encode, usage="Usage: scene encode [OPTIONS] SRC... DST")
app.command(evaluate.evaluate)
app.command(export.export)
app.command(filter.filter)
app.command(job.job)
app.command(ladder.ladder)
app.command(live.live)
app.command(map.map)
app.command(models.models)
app.command(search.search)
app.command(train.train)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the `scene` command; leaves with the exit codes of scene.errors, or 128 and a signal's number."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    keep_freed_memory()
    secure_standard_streams()
    raise_on_signals()
    sys.exit(run(arguments, debug=debug))


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Runs a command, says what went wrong, and gives the exit code."""
    log_format = _log_format(arguments)
    try:
        _refuse_empty_words(arguments)
        app(
            translate(arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_none",
        )
        if sys.stdout is not None:
            sys.stdout.flush()
    except cyclopts.CycloptsError as error:
        return complain(f"{_usage_text(error)} See `scene --help`.", 2, log_format)
    except SceneError as error:
        if debug:
            raise
        return complain(str(error), error.exit_code, log_format)
    except KeyboardInterrupt:
        return complain("interrupted", 130, log_format)
    except Ended as ended:
        return complain(str(ended), 128 + ended.number, log_format)
    except BrokenPipeError:
        # Whoever read our stdout has left.
        return 0
    except Exception as error:
        if debug:
            raise
        return complain(
            f"unexpected {type(error).__name__}: {error} (run again with --debug to see where)", 1, log_format
        )
    return 0


# Options whose value may be nothing, as a script's variable is.
_MAY_BE_EMPTY = {"--encoder-args"}


def _refuse_empty_words(arguments: list[str]) -> None:
    """An empty name would become that of the current folder. Raises UsageError."""
    for index, word in enumerate(arguments):
        option, _, value = word.partition("=") if word.startswith("--") else (None, "", word)
        before = arguments[index - 1] if index else ""
        if option is None and not value and before not in _MAY_BE_EMPTY:
            what = f"the value of {before}" if before.startswith("--") else f"argument {index}"
            raise UsageError(f"{what} is empty; is a variable of your shell not set?")
        if option is not None and word.endswith("=") and option not in _MAY_BE_EMPTY:
            raise UsageError(f"the value of {option} is empty; is a variable of your shell not set?")


def _log_format(arguments: list[str]) -> LogFormat:
    """The format of the last line, which must be known where the arguments themselves are the mistake."""
    found = re.search(r"(^|\0)--log-format[=\0]json(\0|$)", "\0".join(arguments))
    return "json" if found else "text"


def _usage_text(error: cyclopts.CycloptsError) -> str:
    text = " ".join(str(error).split())
    return text if text.endswith((".", "?")) else text + "."
