"""In the place of `scene.jobs.chunks.runners.worker`: processes that die or hang, where the environment says how often.

`FAILING` names a folder. Its file `times` says how many requests of each chunk fail, its file `how` in which way.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from scene.jobs.chunks.run import run_chunk
from scene.jobs.chunks.runners import worker


def _failing(work: Path, index: int, on_progress: object) -> object:
    folder = Path(os.environ["FAILING"])
    counter = folder / f"{index}.count"
    number = int(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text(str(number))
    if number <= int((folder / "times").read_text()):
        if (folder / "how").read_text() == "hang":
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)
    return run_chunk(work, index, on_progress)


def serve() -> None:
    worker.run_chunk = _failing
    worker.serve()
