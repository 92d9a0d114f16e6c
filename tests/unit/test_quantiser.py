"""The quantiser steps of CRFs against the numbers of the standards."""

from __future__ import annotations

import itertools

import pytest

from scene.enhance.calibrated import conditioning_step
from scene.errors import UsageError
from scene.model import Calibration, NetworkConfig, build_network
from scene.video.encoders import ENCODERS, find_encoder


@pytest.mark.parametrize("codec", ["x264", "x265", "vvenc"])
def test_the_step_doubles_every_six_qps(codec: str) -> None:
    assert find_encoder(codec).quantiser_step(0) == 0.625
    assert find_encoder(codec).quantiser_step(30) == 20
    assert find_encoder(codec).quantiser_step(51) == pytest.approx(226.3, abs=0.1)
    assert find_encoder(codec).quantiser_step(23.5) == pytest.approx(find_encoder(codec).quantiser_step(17.5) * 2)


@pytest.mark.parametrize(
    ("crf", "step"),
    # qindex 0, 96, 160, 240, 244, 249 and 255 of the specification's table.
    [(0, 4), (24, 104), (40, 305), (60, 1369), (61, 1479), (62, 1628), (63, 1828)],
)
def test_svtav1s_step_is_av1s_ac_quantiser(crf: float, step: int) -> None:
    assert find_encoder("svtav1").quantiser_step(crf) == step / 8


def test_fractions_of_svtav1_lie_between() -> None:
    assert find_encoder("svtav1").quantiser_step(24.25) == pytest.approx((0.75 * 104 + 0.25 * 112) / 8)
    assert find_encoder("svtav1").quantiser_step(62.75) == pytest.approx((0.25 * 1628 + 0.75 * 1828) / 8)


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_higher_crf_has_a_larger_step(codec: str) -> None:
    steps = [find_encoder(codec).quantiser_step(crf / 4) for crf in range(4 * 51 + 1)]
    assert all(low < high for low, high in itertools.pairwise(steps))
    assert steps[0] > 0


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="mpeg2"):
        find_encoder("mpeg2").quantiser_step(20)
    with pytest.raises(UsageError, match="0 to 63"):
        find_encoder("svtav1").quantiser_step(63.5)
    with pytest.raises(UsageError, match="CRF nan"):
        find_encoder("x264").quantiser_step(float("nan"))


def test_networks_are_conditioned_on_less_before_an_encoder_that_keeps_more() -> None:
    for codec in ("x264", "x265", "vvenc"):
        assert (find_encoder(codec).fit.step, find_encoder(codec).fit.strength) == (1.0, 1.0)
    fit = find_encoder("svtav1").fit
    assert 0 < fit.step < 1
    assert 0 < fit.strength < 1
    network = build_network(NetworkConfig(guidance="features", planes="luma", channels=4, quantiser=(6.0, 60.0)))
    svtav1 = find_encoder("svtav1")
    assert conditioning_step(network, svtav1, 35) == fit.step * svtav1.quantiser_step(35)
    network.calibrations = {"svtav1": Calibration(step=0.5)}
    assert conditioning_step(network, svtav1, 35) == 0.5 * svtav1.quantiser_step(35)
