"""Runs `scene` commands, each in a fork of this process, and reports how each went: what a fuzzing test runs once.

Every case begins with all modules loaded and without threads, so that a hundred take seconds, and a crash, a hang or
a gigabyte of memory is that case's own.

A report is {"name", "code", "seconds", "memory_mb", "messages"}, where a negative code is the signal that ended the
case.
"""

import json
import os
import resource  # noqa: F401 - os.wait4 needs it, when it may be out of reach
import signal
import subprocess
import sys
import tempfile
import time

LIMIT_S = 30
NOBODY = 65534


def run_forked(cases, user=None):
    """The reports on cases of (name, arguments), from a process of its own; `user` is whom to become before."""
    lines = "\n".join(json.dumps({"name": name, "arguments": arguments}) for name, arguments in cases)
    command = [sys.executable, __file__, *([] if user is None else [str(user)])]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def run_case(arguments):
    """Forks, runs the command there and waits for its end."""
    with tempfile.TemporaryFile() as messages:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            signal.alarm(LIMIT_S)
            os.dup2(messages.fileno(), 1)
            os.dup2(messages.fileno(), 2)
            code = 70
            try:
                scene.cli.main(arguments)
            except SystemExit as left:
                code = int(left.code or 0)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status, used = os.wait4(child, 0)
        seconds = time.monotonic() - began
        messages.seek(0)
        text = messages.read().decode("utf-8", "replace")
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "memory_mb": used.ru_maxrss / 1024,
        "messages": text,
    }


if __name__ == "__main__":
    # Before rights are given up: whoever has none may not read Python's own modules.
    import rich.console
    import rich.progress  # noqa: F401

    import scene.cli
    import scene.jobs.encode
    import scene.video.container.verify

    if sys.argv[1:]:
        os.setuid(int(sys.argv[1]))
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps({"name": case["name"], **run_case(case["arguments"])}), flush=True)
