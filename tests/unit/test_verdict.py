"""What a report recommends: what saves bits by VMAF NEG without losing MS-SSIM, clip by clip."""

from __future__ import annotations

from typing import Any

import pytest

from scene.evaluation.report.verdict import Verdict, verdicts

# VMAF NEG and MS-SSIM of three clips.
Figures = dict[str, list[tuple[float | None, float | None]]]
CLIPS = ("one", "two", "three")


def document(figures: Figures, codec: str = "x264", **methods: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for method, values in figures.items():
        common = {"codec": codec, "method": method, "anchor": "none"}
        for index, metric in enumerate(("vmaf_neg", "ms_ssim")):
            own = [pair[index] for pair in values]
            rows += [
                {"clip": clip, **common, "metric": metric, "percent": percent}
                for clip, percent in zip(CLIPS, own, strict=False)
            ]
            kept = [percent for percent in own if percent is not None]
            mean = {"percent": sum(kept) / len(kept) if kept else None, "clips": len(kept), "of_clips": len(own)}
            rows.append({"clip": "mean", **common, "metric": metric, **mean})
    entries = [{"method": name, "identity": identity, "codecs": [codec]} for name, identity in methods.items()]
    return {"bd_rate": rows, "environment": {"methods": entries}}


def verdict(figures: Figures, **options: Any) -> Verdict:
    (only,) = verdicts(document(figures, **options))
    return only


def test_what_saves_by_neg_is_used_but_where_it_loses_by_ms_ssim() -> None:
    said = verdict(
        {"scene": [(-10.0, -3.0), (-6.0, 2.3), (-8.0, 0.4)], "contrast": [(-4.0, 3.0), (-1.0, 1.0), (2.0, 5.0)]}
    )
    assert said.method == "scene"
    assert said.advice == "With x264, use scene"
    assert said.clips == (("two", "leave it alone (at equal MS-SSIM +2.3 % bits)"),)
    assert said.sentence == ("At equal VMAF NEG these 3 clips need 8.0 % fewer bits on average; MS-SSIM -0.1 %.")


def test_a_knob_that_saves_more_but_loses_ms_ssim_is_not_recommended() -> None:
    assert verdict({"contrast": [(-20.0, 4.0)], "scene": [(-3.0, -1.0)]}).method == "scene"


def test_a_knob_that_is_better_is_recommended_all_the_same() -> None:
    assert verdict({"contrast": [(-9.0, -4.0)], "scene": [(-3.0, -1.0)]}).method == "contrast"


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ((0.9, -3.0), "at equal VMAF NEG +0.9 % bits"),
        ((-0.4, -3.0), "at equal VMAF NEG -0.4 % bits"),
        ((None, -3.0), "its curves of VMAF NEG allow no comparison"),
        ((-5.0, None), "its curves of MS-SSIM allow no comparison"),
    ],
)
def test_a_clip_without_a_saving_is_left_alone_and_told_why(
    figures: tuple[float | None, float | None], why: str
) -> None:
    said = verdict({"scene": [(-10.0, -3.0), figures]})
    assert said.clips == (("two", f"leave it alone ({why})"),)


def test_another_method_is_named_for_a_clip_where_it_saves_more() -> None:
    said = verdict(
        {"scene": [(-10.0, -3.0), (-6.0, 3.0), (-5.0, -1.0)], "asconvsr": [(-2.0, -3.0), (-4.0, -1.0), (-8.0, -1.0)]}
    )
    assert said.method == "scene"
    assert said.clips == (
        ("two", "use asconvsr (-4.0 % bits at equal VMAF NEG)"),
        ("three", "use asconvsr (-8.0 % bits at equal VMAF NEG, scene -5.0 %)"),
    )


def test_where_nothing_pays_nothing_is_recommended() -> None:
    said = verdict({"unsharp": [(3.0, 6.0)], "contrast": [(-4.0, 6.0)]})
    assert (said.method, said.spoken_of) == (None, "contrast")
    assert said.advice == "With x264, leave it alone: nothing here saves bits at equal VMAF NEG without losing MS-SSIM"
    assert said.clips == ()
    assert said.sentence == "At equal VMAF NEG one needs 4.0 % fewer bits; MS-SSIM +6.0 %."


@pytest.mark.parametrize(
    ("codec", "identity", "strength"),
    [("x264", "0.8", 0.8), ("x264", "1", None), ("svtav1", "0.4", 0.8), ("svtav1", "0.5", None), ("h266", "0.5", 0.5)],
)
def test_the_strength_is_the_one_that_was_asked_for(codec: str, identity: str, strength: float | None) -> None:
    said = verdict({"scene": [(-9.0, -4.0)]}, codec=codec, scene=f"network:f0b3:strength={identity}:v1")
    assert said.strength == strength
    assert said.advice.endswith("use scene" if strength is None else f"use scene at strength {strength}")


def test_a_recorded_strength_goes_before_what_it_came_to_with_the_codec() -> None:
    """A calibrated model has a factor of its own, which no document can be read for."""
    results = document({"scene": [(-9.0, -4.0)]}, scene="network:f0b3:strength=0.56:v1")
    results["environment"]["methods"][0]["strength"] = 0.8
    (said,) = verdicts(results)
    assert said.strength == 0.8
    results["environment"]["methods"][0]["strength"] = 1.0
    (said,) = verdicts(results)
    assert said.strength is None


def test_a_strength_in_the_name_is_said_once() -> None:
    figures: Figures = {"scene:0.80": [(-9.0, -4.0)]}
    methods = {"scene:0.80": "network:f0b3:strength=0.8:v1"}
    (said,) = verdicts(document(figures, **methods))
    assert said.method == "scene:0.80"
    assert said.advice == "With x264, use scene at strength 0.8"


def test_documents_without_bd_rates_have_none() -> None:
    assert verdicts({}) == verdicts({"bd_rate": []}) == []
