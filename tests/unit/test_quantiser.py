"""The quantiser steps of CRFs against the numbers of the standards."""

from __future__ import annotations

import itertools

import pytest
from scene.video.encoders.quantiser import conditioning_step, fit_of, step_of

from scene.errors import UsageError
from scene.measure.encode import CODECS


@pytest.mark.parametrize("codec", ["x264", "x265", "vvenc"])
def test_the_step_doubles_every_six_qps(codec: str) -> None:
    assert step_of(codec, 0) == 0.625
    assert step_of(codec, 30) == 20
    assert step_of(codec, 51) == pytest.approx(226.3, abs=0.1)
    assert step_of(codec, 23.5) == pytest.approx(step_of(codec, 17.5) * 2)


@pytest.mark.parametrize(
    ("crf", "step"),
    # qindex 0, 96, 160, 240, 244, 249 and 255 of the specification's table.
    [(0, 4), (24, 104), (40, 305), (60, 1369), (61, 1479), (62, 1628), (63, 1828)],
)
def test_svtav1s_step_is_av1s_ac_quantiser(crf: float, step: int) -> None:
    assert step_of("svtav1", crf) == step / 8


def test_fractions_of_svtav1_lie_between() -> None:
    assert step_of("svtav1", 24.25) == pytest.approx((0.75 * 104 + 0.25 * 112) / 8)
    assert step_of("svtav1", 62.75) == pytest.approx((0.25 * 1628 + 0.75 * 1828) / 8)


@pytest.mark.parametrize("codec", CODECS)
def test_a_higher_crf_has_a_larger_step(codec: str) -> None:
    steps = [step_of(codec, crf / 4) for crf in range(4 * 51 + 1)]
    assert all(low < high for low, high in itertools.pairwise(steps))
    assert steps[0] > 0


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="mpeg2"):
        step_of("mpeg2", 20)
    with pytest.raises(UsageError, match="0 to 63"):
        step_of("svtav1", 63.5)
    with pytest.raises(UsageError, match="CRF nan"):
        step_of("x264", float("nan"))


def test_networks_are_told_less_before_an_encoder_that_keeps_more() -> None:
    for codec in ("x264", "x265", "vvenc"):
        assert conditioning_step(codec, 30) == step_of(codec, 30)
        assert (fit_of(codec).step, fit_of(codec).strength) == (1.0, 1.0)
    fit = fit_of("svtav1")
    assert 0 < fit.step < 1
    assert 0 < fit.strength < 1
    assert conditioning_step("svtav1", 35) == fit.step * step_of("svtav1", 35)
