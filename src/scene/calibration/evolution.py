"""Numbers evolved by CMA-ES (Hansen): each generation is judged by the encoder, and kept in a log to resume from."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.errors import InputError, UsageError
from scene.files import write_atomically
from scene.model import Calibration
from scene.model.calibration import BANDS, Bank

# Of the first generation, relative to the scales below.
_FIRST_SPREAD = 0.2
# By how much each number is expected to move: that makes all of them alike for the evolution.
_TEMPORAL_SCALES = (2.0, 0.2)
_BANK_SCALES = {"gain": 0.08, "gain_slope": 0.05, "faint": 0.4, "faint_slope": 0.2}
# Of the logarithm of what a factor is.
_REACH_SCALE = 1.0
_NETWORK_SCALES = (0.2, 0.3)
_LARGEST_SIGMA = 20.0
_LEAST_REACH, _MOST_REACH = 0.02, 10.0


@dataclass(frozen=True, slots=True)
class Encoding:
    """Which of a calibration's numbers are free, as a vector in units of their scales around a start.

    Attributes:
        start: where the evolution begins; without a temporal filter it stays without.
        network: whether the strength and the step factor of a network are free too.
    """

    start: Calibration
    network: bool

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return 2 + (len(_BANK_SCALES) + 1) * BANDS + (2 if self.network else 0)

    def calibration(self, vector: Sequence[float]) -> Calibration:
        """The calibration of a vector; what would be out of range is at its end."""
        temporal = None
        if self.start.temporal is not None:
            moved = zip(self.start.temporal, vector, _TEMPORAL_SCALES, strict=False)
            level, slope = (begin + x * scale for begin, x, scale in moved)
            temporal = (round(min(max(level, 0.0), _LARGEST_SIGMA), 4), round(slope, 4))
        rest = iter(vector[2:])
        rows = {
            name: tuple(round(number + next(rest) * scale, 5) for number in getattr(self.start.bank, name))
            for name, scale in _BANK_SCALES.items()
        }
        reach = (number * 2 ** (next(rest) * _REACH_SCALE) for number in self.start.bank.reach)
        bank = Bank(**rows, reach=tuple(round(min(max(number, _LEAST_REACH), _MOST_REACH), 5) for number in reach))
        strength, step = self.start.strength, self.start.step
        if self.network:
            strength = max(0.0, round(strength + next(rest) * _NETWORK_SCALES[0], 5))
            step = round(step * 2 ** (next(rest) * _NETWORK_SCALES[1]), 5)
        return Calibration(
            temporal=temporal,
            neighbours=self.start.neighbours,
            bank=bank,
            strength=strength,
            step=step,
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """One step of an evolution.

    Attributes:
        number: from 0.
        subject: of the evolution.
        clips: on which it was judged.
        vectors: the candidates.
        objectives: of each, the higher the better.
        mean: the distribution's centre afterwards.
    """

    number: int
    subject: str
    clips: list[int]
    vectors: list[list[float]]
    objectives: list[float]
    mean: list[float]


Objective = Callable[[Sequence[float], Sequence[int]], float]


def evolve(
    judge: Objective,
    width: int,
    clips: int,
    *,
    generations: int,
    population: int,
    clips_a_generation: int,
    seed: int,
    log: Path,
    subject: str,
) -> Iterator[Generation]:
    """Runs an evolution, and yields every generation, those of an earlier run's log first.

    Args:
        judge: a vector's objective on some clips.
        width: numbers in a vector.
        clips: how many there are; generations take them in turns, so that all candidates of one are judged alike.
        generations: in all.
        population: candidates in each.
        seed: the same one gives the same candidates.
        log: JSON lines; with the same arguments a run that was ended goes on after its last whole generation.
        subject: what `judge` measures; a log of another is refused.

    Raises:
        InputError: the log is of other arguments, or is no log.
        UsageError: a number that makes no sense.
    """
    if min(generations, population - 1, clips_a_generation) < 1 or clips_a_generation > clips:
        raise UsageError("give at least one generation, two candidates, and one clip that there is.")
    import cma

    options = {"seed": seed + 1, "popsize": population, "verbose": -9}
    evolution = cma.CMAEvolutionStrategy([0.0] * width, _FIRST_SPREAD, options)
    kept = _read(log)
    order = [int(index) for index in np.random.default_rng(seed).permutation(clips)]
    for number in range(generations):
        first = number * clips_a_generation
        chosen = [order[(first + offset) % clips] for offset in range(clips_a_generation)]
        vectors = [[float(x) for x in vector] for vector in evolution.ask()]
        if number < len(kept):
            generation = kept[number]
            if generation.subject != subject or generation.clips != chosen or not _alike(generation.vectors, vectors):
                raise InputError(f"{log} is of a calibration with other arguments; give another output, or delete it.")
            evolution.tell(vectors, [-value for value in generation.objectives])
        else:
            objectives = [judge(vector, chosen) for vector in vectors]
            evolution.tell(vectors, [-value for value in objectives])
            mean = [float(x) for x in evolution.mean]
            generation = Generation(number, subject, chosen, vectors, objectives, mean)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_as_json(generation)) + "\n")
        yield generation


def _alike(kept: Sequence[Sequence[float]], vectors: Sequence[Sequence[float]]) -> bool:
    return len(kept) == len(vectors) and all(
        len(a) == len(b) and all(math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-9) for x, y in zip(a, b, strict=True))
        for a, b in zip(kept, vectors, strict=True)
    )


def _as_json(generation: Generation) -> dict[str, object]:
    return {
        "generation": generation.number,
        "subject": generation.subject,
        "clips": generation.clips,
        "best": max(generation.objectives),
        "median": statistics.median(generation.objectives),
        "objectives": generation.objectives,
        "mean": generation.mean,
        "vectors": generation.vectors,
    }


_BEGINNING = '{"generation"'
_FIELDS = ("generation", "subject", "clips", "vectors", "objectives", "mean")


def _read(log: Path) -> list[Generation]:
    """The whole generations of a log; a last line that was cut off is dropped from it."""
    if not log.exists():
        return []
    kept = []
    lines = log.read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        try:
            data = json.loads(line)
        except ValueError as error:
            if number == len(lines) - 1 and _BEGINNING.startswith(line[: len(_BEGINNING)]):
                break
            raise InputError(f"{log} is no log of a calibration (line {number + 1}).") from error
        try:
            kept.append(Generation(*(data[name] for name in _FIELDS)))
        except (KeyError, TypeError) as error:
            raise InputError(f"{log} is no log of a calibration (line {number + 1}).") from error
    if len(kept) < len(lines):
        write_atomically(log, "".join(f"{line}\n" for line in lines[: len(kept)]))
    return kept
