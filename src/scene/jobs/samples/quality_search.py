"""The search of one kind of pictures: one CRF after another until the answer is known, or what is missed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scene.jobs.samples.sample_encode import CrfScores, EnhancerFor, SampleSet
from scene.metrics.crf_rule import Point, Scale, bracket, crossing, next_position
from scene.metrics.targets import Target, score_text, title
from scene.options import BYPASS
from scene.video.encoders.base import Encoder

log = logging.getLogger(__name__)

# What is being worked on, and at which CRF.
Report = Callable[[str, float | None], None]

# Steps from the first CRF to the second where nothing is known.
FAR = 8


@dataclass(frozen=True, slots=True)
class Constraints:
    """What an answer has to meet.

    Attributes:
        targets: at least one.
        max_kbps: bound on the rate, None for none.
    """

    targets: tuple[Target, ...]
    max_kbps: float | None


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The CRF for one kind of pictures.

    Attributes:
        model: the network's identity, "none" for the source's own pictures.
        measured: scores and rate at the CRF.
        bytes: predicted size of the video stream.
        missed: the constraint that fails and how near it came, empty if none does.
        exact_kbps: rate at which the targets are just met; None where they are not, or are with room at the coarsest.
        tried: all that were measured, by CRF.
    """

    model: str
    measured: CrfScores
    bytes: float
    missed: str
    exact_kbps: float | None
    tried: tuple[CrfScores, ...]


class QualitySearch:
    """Finds the CRF for one kind of pictures.

    Args:
        samples: encoded at each CRF that is tried.
        codec: that they are encoded with.
        constraints: what is asked for.
        enhancer_for: gives the enhancer for a CRF, None for the source's own pictures.
        report: is called after each sample.
        finest: CRF that is tried, None for the encoder's.
    """

    def __init__(
        self,
        samples: SampleSet,
        codec: Encoder,
        constraints: Constraints,
        enhancer_for: EnhancerFor | None,
        report: Report,
        finest: float | None = None,
    ) -> None:
        self._samples = samples
        self._constraints = constraints
        self._enhancer_for = enhancer_for
        self._what = "unprocessed" if enhancer_for is None else "enhanced"
        self._report = report
        self._scale = Scale(codec.finest_search_crf if finest is None else finest, codec.max_crf, codec.search_step)
        self._tried: dict[float, CrfScores] = {}

    def answer(self, start: float, steps: int) -> SearchAnswer:
        """The coarsest CRF that meets all, else the nearest and what it misses.

        Args:
            start: the first CRF.
            steps: of the scale from there to the second.

        Raises:
            SceneError: an encode or a measurement failed.
        """
        constraints, first_step = self._constraints, steps * self._scale.step
        points: list[Point] = []
        while (crf := next_position(points, self._scale, start, first_step)) is not None:
            scores = self._measure(crf).scores
            points.append(Point(crf, tuple(scores[t.metric] - t.value for t in constraints.targets)))
        below, above = bracket(points)
        if below is None:
            best = max(self._tried.values(), key=lambda tried: nearness(tried.scores, constraints.targets))
            missed = f"{self._misses(best.scores)} at most, at CRF {best.crf:g}"
            return self._answered(self._within_rate()[0] if constraints.max_kbps else best, missed, None)
        found = self._tried[below.position]
        exact = None
        if above is not None:
            # Between neighbours a straight line, so that it does not matter what else was measured.
            exact = _between(found, self._tried[above.position], crossing((below, above))).kbps
        if constraints.max_kbps is None or found.kbps <= constraints.max_kbps:
            return self._answered(found, "", exact)
        # The rate falls along the scale too: what is short at the coarsest CRF of the quality is short at all.
        nearest, at_rate = self._within_rate()
        if nearest.kbps > constraints.max_kbps:
            missed = f"{nearest.kbps:.0f} of {constraints.max_kbps:g} kbit/s are needed even at CRF {nearest.crf:g}"
        else:
            missed = f"at {constraints.max_kbps:g} kbit/s {self._misses(at_rate)}"
        return self._answered(nearest, missed, None)

    def _within_rate(self) -> tuple[CrfScores, Mapping[str, float]]:
        """The finest CRF that holds the rate, else the coarsest of all; and the scores at exactly the rate."""
        limit = self._constraints.max_kbps
        assert limit is not None
        scale = Scale(-self._scale.high, -self._scale.low, self._scale.step)

        def point(tried: CrfScores) -> Point:
            return Point(-tried.crf, (math.log(limit / tried.kbps),))

        # What the other search measured counts, but not against what this one may measure.
        points = [point(tried) for tried in self._around(limit)]
        while (position := next_position(points, scale, -self._scale.low, FAR * scale.step)) is not None:
            points.append(point(self._measure(-position)))
        below, above = bracket(points)
        if below is None:
            assert above is not None
            nearest = self._tried[-above.position]
            return nearest, nearest.scores
        nearest = self._tried[-below.position]
        if above is None:
            return nearest, nearest.scores
        return nearest, _between(nearest, self._tried[-above.position], -crossing((below, above))).scores

    def _around(self, limit: float) -> list[CrfScores]:
        """Of what was tried the cheapest above a rate and the dearest below it."""
        ordered = sorted(self._tried.values(), key=lambda tried: tried.kbps)
        dearer = [tried for tried in ordered if tried.kbps > limit][:1]
        return [tried for tried in ordered if tried.kbps <= limit][-1:] + dearer

    def _measure(self, crf: float) -> CrfScores:
        if crf not in self._tried:
            enhancer = self._enhancer_for(crf) if self._enhancer_for else None
            found = self._samples.measure(crf, enhancer, lambda: self._report(self._what, crf))
            scores = ", ".join(f"{title(name)} {score_text(name, value)}" for name, value in found.scores.items())
            log.info("%s, CRF %g: %.0f kbit/s, %s", self._what, crf, found.kbps, scores)
            self._tried[crf] = found
        return self._tried[crf]

    def _misses(self, scores: Mapping[str, float]) -> str:
        """Of the targets the one that is missed by the largest share of it."""
        worst = min(self._constraints.targets, key=lambda target: scores[target.metric] / target.value)
        return f"{title(worst.metric)} reaches {score_text(worst.metric, scores[worst.metric])} of {worst.value:g}"

    def _answered(self, found: CrfScores, missed: str, exact: float | None) -> SearchAnswer:
        size = found.kbps * 1000 / 8 * float(self._samples.seconds)
        tried = tuple(self._tried[crf] for crf in sorted(self._tried))
        return SearchAnswer(BYPASS, found, size, missed, exact, tried)


def _between(here: CrfScores, there: CrfScores, crf: float) -> CrfScores:
    """What is expected at a CRF between two others: the rate by its logarithm and the scores in proportion."""
    share = (crf - here.crf) / (there.crf - here.crf)
    scores = {name: value + share * (there.scores[name] - value) for name, value in here.scores.items()}
    return CrfScores(crf, here.kbps * (there.kbps / here.kbps) ** share, scores, here.worst)


def nearness(scores: Mapping[str, float], targets: Sequence[Target]) -> float:
    """0 where all targets are met exactly; of those that are missed the largest share of it counts."""
    return min(scores[target.metric] / target.value - 1 for target in targets)
