"""The hull of a video as one HTML page that loads nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from scene.jobs.ladder.hull import Hull, LadderPlan
from scene.measure.names import display_name
from scene.pages import page_part, page_templates, policy_hash

# Of the picture, in its own units, and where its axes lie.
_WIDTH, _HEIGHT = 920, 500
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 900, 16, 446
# Rates that get a line are these, times a power of ten.
_ROUND = (1, 2, 5)
_SCORE_STEP = 10


@dataclass(frozen=True, slots=True)
class _Mark:
    x: float
    y: float
    name: str
    text: str


class _Chart:
    """Where everything lies in the picture: the rate's logarithm to the right, the score upwards."""

    width, height, left, right, top, bottom = _WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM

    def __init__(self, plan: LadderPlan, model: str, codec: str) -> None:
        kinds = [("plain", plan.plain, f"{codec} alone")]
        if plan.enhanced is not None:
            kinds.append(("enhanced", plan.enhanced, f"with {model}"))
        points = [point for _, hull, _ in kinds for point in hull.points]
        self._low, self._high = (math.log(chosen(p.kbps for p in points)) for chosen in (min, max))
        self._least = _SCORE_STEP * math.floor(min(point.score for point in points) / _SCORE_STEP)
        self.curves = [self._curve(kind, hull, size) for kind, hull, _ in kinds for size in hull.sizes]
        self.hulls = [{"kind": kind, "title": title, "points": self._points(hull.front)} for kind, hull, title in kinds]
        self.rungs = [
            _Mark(
                *self._place(rung.kbps, rung.score),
                f"{rung.rung.size[0]}x{rung.rung.size[1]}",
                f"CRF {rung.rung.crf:g}, {rung.kbps:.0f} kbit/s, NEG {rung.score:.1f}",
            )
            for rung in plan.rungs
        ]
        self.x_ticks = [
            {"at": self._place(rate, 0)[0], "text": f"{rate:g}"}
            for power in range(1, 7)
            for factor in _ROUND
            if self._low <= math.log(rate := factor * 10**power) <= self._high
        ]
        self.y_ticks = [
            {"at": self._place(1, score)[1], "text": str(score)} for score in range(self._least, 101, _SCORE_STEP)
        ]

    def _curve(self, kind: str, hull: Hull, size: tuple[int, int]) -> dict[str, object]:
        own = [point for point in hull.points if point.size == size]
        dots = [
            _Mark(
                *self._place(point.kbps, point.score),
                "",
                f"{size[0]}x{size[1]}, CRF {point.crf:g}: {point.kbps:.0f} kbit/s, NEG {point.score:.1f}",
            )
            for point in own
        ]
        return {"kind": kind, "points": self._points([(p.kbps, p.score) for p in own]), "dots": dots}

    def _points(self, curve: Sequence[tuple[float, float]]) -> str:
        return " ".join("{:.1f},{:.1f}".format(*self._place(rate, score)) for rate, score in sorted(curve))

    def _place(self, kbps: float, score: float) -> tuple[float, float]:
        across = (math.log(kbps) - self._low) / max(self._high - self._low, 1e-9)
        up = (score - self._least) / (100 - self._least)
        return round(_LEFT + across * (_RIGHT - _LEFT), 1), round(_BOTTOM - up * (_BOTTOM - _TOP), 1)


def hull_page(plan: LadderPlan, *, name: str, model: str, codec: str, command: str) -> str:
    """An HTML document with the hull, its rungs and what enhancement saves. No name of a file can become markup.

    Args:
        name: of the video.
        model: that enhanced it.
        command: that made the ladder.
    """
    style = page_part(__package__, "page.css")
    plain = [rung.plain_kbps for rung in plan.rungs]
    return (
        page_templates(__package__, {"change": _change})
        .get_template("page.html")
        .render(
            # The project's own, and the policy names its very bytes.
            style=Markup(style),
            style_hash=policy_hash(style),
            name=display_name(name),
            model=model,
            codec=codec,
            command=command,
            saving=plan.saving,
            seconds=plan.seconds,
            rungs=plan.rungs,
            stored=sum(rung.kbps for rung in plan.rungs),
            stored_plain=None if None in plain else sum(rate for rate in plain if rate is not None),
            chart=_Chart(plan, model, codec),
        )
    )


def _change(percent: float) -> str:
    return f"{percent:+.1f} %".replace("-", "\u2212")
