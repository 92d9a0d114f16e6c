"""Draws when the three stages of `scene encode` work and when they wait for one another: docs/images/timeline.png.

    python scripts/draw_timeline.py [MODEL...]

Encodes a made clip of 1280x720 with x264's defaults behind each model. What a stage spends outside of the two queues
counts as work, waiting for a processor included, so nothing else should run.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from scene.benchmarks.encode import write_clip
from scene.jobs import pipeline
from scene.jobs.encode import EncodeRequest, encode
from scene.options import EnhanceOptions

ROOT = Path(__file__).resolve().parents[1]
_MODELS = ("none", "scene-fast", "scene-lite")
_SIZE = (1280, 720)
_FRAMES = 120
# Of the pipeline's threads; the enhancement is in the calling one.
_STAGES = {"decode": "decode", "MainThread": "enhance", "encode": "encode"}
# The part that is drawn, in seconds from the first frame; the fastest encode takes a little longer.
_DRAWN = (0.2, 0.9)

Spans = dict[str, list[tuple[float, float]]]


class WatchedChannel(pipeline.Channel[Any]):
    """Notes when each thread waits for it."""

    waits: ClassVar[Spans] = {}

    def put(self, item: Any) -> None:
        """As `Channel.put`."""
        began = time.perf_counter()
        super().put(item)
        self._note(began)

    def __iter__(self) -> Iterator[Any]:
        """As `Channel.__iter__`."""
        items = super().__iter__()
        while True:
            began = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            self._note(began)
            yield item

    def _note(self, began: float) -> None:
        self.waits.setdefault(threading.current_thread().name, []).append((began, time.perf_counter()))


def watch(model: str, folder: Path) -> tuple[Spans, float, float]:
    """The waits of each stage of an encode, and when its first and its last frame were through."""
    WatchedChannel.waits.clear()
    readings: list[float] = []
    encode(
        EncodeRequest(folder / "clip.y4m", folder / "out.mkv", enhancement=EnhanceOptions(model=model), overwrite=True),
        lambda _: readings.append(time.perf_counter()),
    )
    return dict(WatchedChannel.waits), readings[0], readings[-1]


def share(waits: list[tuple[float, float]], first: float, last: float) -> float:
    """Of the time from the first frame to the last, what a stage waits."""
    return sum(max(0.0, min(end, last) - max(begin, first)) for begin, end in waits) / (last - first)


def main(models: list[str]) -> None:
    """Draws, and prints how much each stage waits."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pipeline.Channel = WatchedChannel  # type: ignore[misc]
    figure = Figure(figsize=(11, 1.5 * len(models)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clip(folder / "clip.y4m", *_SIZE, _FRAMES)
        for plot, model in zip(figure.subplots(len(models), 1, squeeze=False)[:, 0], models, strict=True):
            waits, first, last = watch(model, folder)
            for row, (thread, stage) in enumerate(_STAGES.items()):
                plot.broken_barh([(_DRAWN[0], _DRAWN[1] - _DRAWN[0])], (row - 0.4, 0.8), color="tab:blue")
                idle = [(begin - first, end - begin) for begin, end in waits.get(thread, [])]
                plot.broken_barh(idle, (row - 0.4, 0.8), color="lightgrey")
                print(
                    f"{model:14} {stage:8} waits {100 * share(waits.get(thread, []), first, last):5.1f} % of the time"
                )
            plot.set_yticks(range(len(_STAGES)), list(_STAGES.values()))
            plot.invert_yaxis()
            plot.set_xlim(*_DRAWN)
            plot.set_title(f"{model}: {(_FRAMES - 1) / (last - first):.1f} frames/s", fontsize=9, loc="left")
            plot.tick_params(labelsize=8)
        plot.set_xlabel("seconds; blue works, grey waits for another stage", fontsize=8)
    figure.savefig(ROOT / "docs" / "images" / "timeline.png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1:] or list(_MODELS))
