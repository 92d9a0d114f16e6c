"""The lines of `--log-format json`: one object a line on stderr. Their schema is docs/log.schema.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Of the schema: raised when a field changes its meaning or goes, not when one comes.
LOG_FORMAT_VERSION = 1


def log_event(level: str, message: str) -> str:
    """A line of the log. `level` is info, warning or error."""
    return _line("log", level=level, message=message)


def progress_event(
    task: str,
    unit: str,
    done: int,
    total: int | None,
    elapsed_s: float,
    eta_s: float | None,
    fields: Mapping[str, float | int | str],
) -> str:
    """How far a task is. `fields` are figures of the task's own, such as fps and bytes."""
    left = {} if total is None else {"eta_s": None if eta_s is None else round(eta_s, 1)}
    return _line(
        "progress",
        task=task,
        unit=unit,
        done=done,
        total=total,
        elapsed_s=round(elapsed_s, 2),
        **left,
        **fields,
    )


def result_event(message: str, result: Mapping[str, Any]) -> str:
    """What a command did: the sentence of the log, and the same as fields."""
    return _line("result", message=message, **result)


def error_event(message: str, code: int) -> str:
    """Why a command ends, and the exit code that follows."""
    return _line("error", message=message, code=code)


def _line(event: str, **fields: Any) -> str:
    return json.dumps({"v": LOG_FORMAT_VERSION, "event": event, **fields})
