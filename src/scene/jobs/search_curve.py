"""The search of one kind of pictures: probes of CRFs until the answer is known, or what is missed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scene.jobs.crf_rule import Reading, Scale, bracket, crossing, next_place
from scene.jobs.search_bench import Bench, EnhancerFor, Probe
from scene.metrics.targets import Target, score_text, title
from scene.options import BYPASS
from scene.video.encoders.codecs import Codec

log = logging.getLogger(__name__)

# What is being worked on, and at which CRF.
Report = Callable[[str, float | None], None]

# Between two CRFs.
_STEPS = {"x264": 0.5, "x265": 0.5, "svtav1": 1.0}
# Below, SVT-AV1's fast presets give broken pictures (4.1).
_FINEST = {"svtav1": 3}
# Steps from the first CRF to the second where nothing is known.
FAR = 8


@dataclass(frozen=True, slots=True)
class Demands:
    """What an answer has to meet.

    Attributes:
        targets: at least one.
        max_kbps: bound on the rate, None for none.
    """

    targets: tuple[Target, ...]
    max_kbps: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The CRF for one kind of pictures.

    Attributes:
        model: the network's identity, "none" for the source's own pictures.
        probe: what was measured at the CRF.
        bytes: predicted size of the video stream.
        missed: the demand that fails and how near it came, empty if none does.
        exact_kbps: rate at which the targets are just met; None where they are not, or are with room at the coarsest.
        probes: all that were made, by CRF.
    """

    model: str
    probe: Probe
    bytes: float
    missed: str
    exact_kbps: float | None
    probes: tuple[Probe, ...]


class Curve:
    """Probes of one kind of pictures.

    Args:
        bench: with the samples.
        codec: that they are encoded with.
        demands: what is asked for.
        enhancer_for: gives the enhancer for a CRF, None for the source's own pictures.
        report: is called after each sample.
    """

    def __init__(
        self, bench: Bench, codec: Codec, demands: Demands, enhancer_for: EnhancerFor | None, report: Report
    ) -> None:
        self._bench = bench
        self._demands = demands
        self._enhancer_for = enhancer_for
        self._what = "unprocessed" if enhancer_for is None else "enhanced"
        self._report = report
        step = _STEPS[codec.name]
        self._scale = Scale(_FINEST.get(codec.name, 0), codec.max_crf, step)
        self._probes: dict[float, Probe] = {}

    def answer(self, start: float, steps: int) -> Answer:
        """The coarsest CRF that meets all, else the nearest and what it misses.

        Args:
            start: the first CRF.
            steps: of the scale from there to the second.

        Raises:
            SceneError: an encode or a measurement failed.
        """
        demands, way = self._demands, steps * self._scale.step
        readings: list[Reading] = []
        while (crf := next_place(readings, self._scale, start, way)) is not None:
            scores = self._measure(crf).scores
            readings.append(Reading(crf, tuple(scores[t.metric] - t.value for t in demands.targets)))
        below, above = bracket(readings)
        if below is None:
            best = max(self._probes.values(), key=lambda probe: nearness(probe.scores, demands.targets))
            missed = f"{self._misses(best.scores)} at most, at CRF {best.crf:g}"
            return self._answered(self._within_rate()[0] if demands.max_kbps else best, missed, None)
        found = self._probes[below.place]
        exact = None
        if above is not None:
            # Between neighbours a straight line, so that it does not matter what else was measured.
            exact = _between(found, self._probes[above.place], crossing((below, above))).kbps
        if demands.max_kbps is None or found.kbps <= demands.max_kbps:
            return self._answered(found, "", exact)
        # The rate falls along the scale too: what is short at the coarsest CRF of the quality is short at all.
        nearest, at_rate = self._within_rate()
        if nearest.kbps > demands.max_kbps:
            missed = f"{nearest.kbps:.0f} of {demands.max_kbps:g} kbit/s are needed even at CRF {nearest.crf:g}"
        else:
            missed = f"at {demands.max_kbps:g} kbit/s {self._misses(at_rate)}"
        return self._answered(nearest, missed, None)

    def _within_rate(self) -> tuple[Probe, Mapping[str, float]]:
        """The finest CRF that holds the rate, else the coarsest of all; and the scores at exactly the rate."""
        limit = self._demands.max_kbps
        assert limit is not None
        scale = Scale(-self._scale.high, -self._scale.low, self._scale.step)

        def reading(probe: Probe) -> Reading:
            return Reading(-probe.crf, (math.log(limit / probe.kbps),))

        # What the other search measured counts, but not against what this one may measure.
        readings = [reading(probe) for probe in self._around(limit)]
        while (place := next_place(readings, scale, -self._scale.low, FAR * scale.step)) is not None:
            readings.append(reading(self._measure(-place)))
        below, above = bracket(readings)
        if below is None:
            assert above is not None
            nearest = self._probes[-above.place]
            return nearest, nearest.scores
        nearest = self._probes[-below.place]
        if above is None:
            return nearest, nearest.scores
        return nearest, _between(nearest, self._probes[-above.place], -crossing((below, above))).scores

    def _around(self, limit: float) -> list[Probe]:
        """Of the probes the cheapest above a rate and the dearest below it."""
        ordered = sorted(self._probes.values(), key=lambda probe: probe.kbps)
        dearer = [probe for probe in ordered if probe.kbps > limit][:1]
        return [probe for probe in ordered if probe.kbps <= limit][-1:] + dearer

    def _measure(self, crf: float) -> Probe:
        if crf not in self._probes:
            enhancer = self._enhancer_for(crf) if self._enhancer_for else None
            found = self._bench.measure(crf, enhancer, lambda: self._report(self._what, crf))
            scores = ", ".join(f"{title(name)} {score_text(name, value)}" for name, value in found.scores.items())
            log.info("%s, CRF %g: %.0f kbit/s, %s", self._what, crf, found.kbps, scores)
            self._probes[crf] = found
        return self._probes[crf]

    def _misses(self, scores: Mapping[str, float]) -> str:
        """Of the targets the one that is missed by the largest share of it."""
        worst = min(self._demands.targets, key=lambda target: scores[target.metric] / target.value)
        return f"{title(worst.metric)} reaches {score_text(worst.metric, scores[worst.metric])} of {worst.value:g}"

    def _answered(self, found: Probe, missed: str, exact: float | None) -> Answer:
        size = found.kbps * 1000 / 8 * float(self._bench.seconds)
        probes = tuple(self._probes[crf] for crf in sorted(self._probes))
        return Answer(BYPASS, found, size, missed, exact, probes)


def _between(here: Probe, there: Probe, crf: float) -> Probe:
    """What is expected at a CRF between two probes: the rate by its logarithm and the scores in proportion."""
    share = (crf - here.crf) / (there.crf - here.crf)
    scores = {name: value + share * (there.scores[name] - value) for name, value in here.scores.items()}
    return Probe(crf, here.kbps * (there.kbps / here.kbps) ** share, scores, here.worst)


def nearness(scores: Mapping[str, float], targets: Sequence[Target]) -> float:
    """0 where all targets are met exactly; of those that are missed the largest share of it counts."""
    return min(scores[target.metric] / target.value - 1 for target in targets)
