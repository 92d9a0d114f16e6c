"""Runs `scene` commands, each in a fork of this process, and reports how each went: what a fuzzing test runs once.

Every case begins with all modules loaded and without threads, so that a hundred take seconds, and a crash, a hang or
a gigabyte of memory is that case's own.

    python fuzz_server.py < CASES > REPORTS

One JSON object a line. A case: {"name", "arguments"}. A report: {"name", "code", "seconds", "memory_mb", "messages"},
where a negative code is the signal that ended the case.
"""

import json
import os
import sys
import tempfile
import time

LIMIT_S = 30


def run_case(arguments: list[str]) -> dict:
    """Forks, runs the command there and waits for its end."""
    from scene.cli import main

    with tempfile.TemporaryFile() as messages:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            import signal

            signal.alarm(LIMIT_S)
            os.dup2(messages.fileno(), 1)
            os.dup2(messages.fileno(), 2)
            code = 70
            try:
                main(arguments)
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
    import scene.jobs.encode
    import scene.video.verify  # noqa: F401

    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps({"name": case["name"], **run_case(case["arguments"])}), flush=True)
