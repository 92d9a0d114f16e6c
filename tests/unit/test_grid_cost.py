"""What the time to the end of an evaluation goes by."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from scene.evaluation.grid.cost import costs
from scene.evaluation.grid.methods import NONE, parse_methods
from scene.evaluation.grid.tasks import PointTask, PrefilterTask, Task
from scene.measure.clip import Clip, Recipe
from scene.measure.encode import codec_run


def clip(name: str, width: int, height: int, frames: int | None) -> Clip:
    return Clip(Path(name), name, name, 0, Fraction(25), width, height, 8, "bt709", frames=frames)


SMALL, LARGE = clip("small", 320, 240, 100), clip("large", 640, 480, 300)


def point(of: Clip, codec: str, crf: float, method: str = "none") -> Task:
    (*_, chosen) = parse_methods(["none", method]) if method != "none" else (NONE,)
    return PointTask(of, chosen, codec_run(codec), crf, 50, {"of": of.name, "codec": codec, "crf": crf})


def test_pictures_and_frames_count() -> None:
    first, large = costs([point(SMALL, "x264", 30), point(LARGE, "x264", 30)], Recipe())
    assert large == pytest.approx(12 * first)
    first, large = costs([point(SMALL, "x264", 30), point(LARGE, "x264", 30)], Recipe(frames=50))
    assert large == pytest.approx(4 * first)


def test_a_slower_encoder_costs_more() -> None:
    common = point(SMALL, "x264", 20)
    _, *others = costs([common, *(point(SMALL, name, 30) for name in ("x264", "svtav1", "x265", "vvenc"))], Recipe())
    assert others == sorted(others) and others[-1] > 1.5 * others[0]


def test_a_network_is_paid_for_by_the_first_point_that_needs_it() -> None:
    """Without the quantiser as an input once a clip, with it once a CRF."""
    again = point(SMALL, "x264", 24, "contrast")
    effect = PrefilterTask(SMALL, again.method, {})
    _, *rest = costs([effect, *(point(SMALL, "x264", crf, "contrast") for crf in (24, 30))], Recipe())
    assert rest[0] == rest[1]
    first, second, same = costs(
        [point(SMALL, "x264", 24, "scene"), point(SMALL, "x264", 30, "scene"), point(SMALL, "x264", 30, "scene")],
        Recipe(),
    )
    assert first == second == pytest.approx(same + 1.2 * 320 * 240 * 100)


def test_a_clip_of_unknown_length_counts_as_a_usual_one() -> None:
    unknown = clip("unknown", 320, 240, None)
    one, other, between = costs(
        [point(each, "x264", 30) for each in (SMALL, clip("b", 320, 240, 300), unknown)], Recipe()
    )
    assert between == pytest.approx((one + other) / 2)
    assert costs([point(unknown, "x264", 30)], Recipe()) == [pytest.approx(1.4 * 320 * 240)]
