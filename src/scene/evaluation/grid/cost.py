"""What the tasks of a grid cost beside one another, roughly: by picture, encoder and network."""

from __future__ import annotations

from collections.abc import Sequence

from scene.evaluation.grid.methods import Method
from scene.evaluation.grid.tasks import PointTask, Task
from scene.measure.clip import Recipe
from scene.video.encoders import find_encoder

# Of a picture: a metric's work is 1. Measured beside the encoders' own figures; see `Encoder.cost`.
_SCORE, _NETWORK, _FILTER = 1.0, 1.2, 0.2


def costs(tasks: Sequence[Task], recipe: Recipe) -> list[float]:
    """Of each task, in any unit.

    Pictures that several tasks share are made before the first of them, and cost nothing after. A clip whose number of
    frames is not known counts as one with the mean of the others'.
    """
    known = [count for count in (_frames(task, recipe) for task in tasks) if count is not None]
    usual = sum(known) / len(known) if known else 1.0
    made: set[tuple[str, str, float | None]] = set()
    found = []
    for task in tasks:
        work = _SCORE + (find_encoder(task.run.codec.name).cost if isinstance(task, PointTask) else 0.0)
        pictures = (task.clip.sha256, task.method.identity, task.step)
        if pictures not in made:
            made.add(pictures)
            work += _making(task.method)
        width, height = recipe.size(task.clip)
        found.append(work * width * height * (_frames(task, recipe) or usual))
    return found


def _making(method: Method) -> float:
    return _NETWORK if method.network is not None else _FILTER


def _frames(task: Task, recipe: Recipe) -> int | None:
    counts = [count for count in (recipe.frames, task.clip.frames) if count is not None]
    return min(counts, default=None)
