"""Measures a tiny grid in a process of its own: `grid_child.py CLIP CACHE {hang,interrupt,ray,ray-interrupt}`.

`hang` stops in the middle, with points in the cache and raw video on the disk, and waits for whoever kills it;
`interrupt` is a Ctrl-C there. `ray` measures through a Ray of this machine and compares with measuring without.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from scene.evaluation.grid.grid import Grid, Measured, measure_grid
from scene.evaluation.grid.methods import parse_methods
from scene.measure.cache import PointCache
from scene.measure.clip import Recipe, open_clips
from scene.measure.encode import codec_run
from scene.progress import Progress
from scene.video.ffmpeg import find_ffmpeg


def tiny_grid(clip: Path) -> Grid:
    """Eight points and a effect."""
    runs = (codec_run("x264", preset="veryfast", crfs=(24, 36)), codec_run("svtav1", preset="10", crfs=(30, 50)))
    return Grid(open_clips([clip]), Recipe(frames=4), parse_methods(["contrast"]), runs)


def main(clip: Path, cache: Path, what: str) -> None:
    def watch(reading: Progress) -> None:
        if reading.done < 3:
            return
        if what == "hang":
            print("middle", flush=True)
            threading.Event().wait()
        if what.endswith("interrupt") and reading.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    def measure(folder: Path, ray: str | None) -> Measured:
        return measure_grid(tiny_grid(clip), find_ffmpeg(), PointCache(folder), jobs=2, ray=ray, on_progress=watch)

    spread = measure(cache, "auto" if what.startswith("ray") else None)
    print("equal" if spread == measure(cache.with_name("here"), None) else "different")
    print(f"{spread.timing.jobs} jobs" if spread.timing else "no timing")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
