"""The process that encodes chunks for `scene.jobs.chunks.runners.parallel`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from scene.errors import SceneError
from scene.jobs.chunks.folder import BusyError
from scene.jobs.chunks.run import run_chunk
from scene.progress import Progress
from scene.signals import Ended
from scene.video.python_process import Requests

_EVERY_S = 0.2


def serve() -> None:
    """Takes {"work", "index"}; answers {"frames"} now and then, and at the end what became of the chunk.

    That is {"done"} with its frames, {"busy"} where another process is at it, or {"error", "kind"}.
    """
    requests = Requests()
    told = 0.0

    def report(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told > _EVERY_S:
            told = time.monotonic()
            requests.answer({"frames": progress.done})

    with contextlib.suppress(Ended, KeyboardInterrupt):
        for request in requests:
            try:
                requests.answer({"done": run_chunk(Path(request["work"]), request["index"], report).frames})
            except BusyError:
                requests.answer({"busy": True})
            except SceneError as error:
                requests.answer({"error": str(error), "kind": type(error).__name__})
            except Exception as error:
                requests.answer({"error": f"unexpected {type(error).__name__}: {error}", "kind": "SceneError"})
