"""Calibrations: what they hold, how they are applied, how they are found."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from scene.calibration.clips import photograph_clips
from scene.calibration.evolution import Encoding, evolve
from scene.calibration.objective import AIMS, Aim, objective, saving_on_curve
from scene.enhance import Enhancer, open_enhancer
from scene.enhance.bank import bank_change, changed_bytes
from scene.enhance.calibrated import calibration_for
from scene.errors import CheckpointError, InputError, UsageError
from scene.evaluation.grid.methods import parse_methods
from scene.metrics.rate_saving import BOUND, RatePoint
from scene.model import Calibration, Network, NetworkConfig, build_network, load_model, save_network
from scene.model.bank import bank_change as tensor_bank_change
from scene.model.calibration import Bank
from scene.options import EnhanceOptions
from scene.picture import Picture, PictureFormat
from scene.video.encoders import find_encoder

BANK = Bank(gain=(-0.1, 0.1, 0.05, 0.0, 0.0), gain_slope=(0.0, 0.02, 0.0, 0.0, 0.0), faint=(0.0, 0.0, 0.1, 0.0, 0.0))
STEPS = (0.5, 1000.0)


def model(**calibrations: Calibration) -> Network:
    network = build_network(NetworkConfig(guidance="features", planes="luma", body=False, quantiser=STEPS))
    network.calibrations = dict(calibrations)
    return network


def noisy_shot(frames: int = 6, bit_depth: int = 8) -> list[Picture]:
    random = np.random.default_rng(0)
    fmt = PictureFormat(160, 128, bit_depth)
    texture = random.normal(128, 30, (132, 164))
    still = (texture[4:, 4:] + texture[:-4, :-4] + texture[2:-2, 2:-2]) / 3
    pictures = []
    for _ in range(frames):
        luma = np.clip(np.rint(still + random.normal(0, 3, still.shape)), 0, 255).astype(np.uint8)
        planes = [luma, *(np.full(shape, 128, np.uint8) for shape in fmt.plane_shapes[1:])]
        if bit_depth > 8:
            planes = [plane.astype(np.uint16) << (bit_depth - 8) for plane in planes]
        pictures.append(Picture(fmt, tuple(planes)))
    return pictures


def test_a_calibration_outlives_its_file(tmp_path: Path) -> None:
    calibrations = {"x264": Calibration((7.0, 0.4), BANK), "x265": Calibration(None, Bank(), 0.5, 0.25)}
    save_network(model(**calibrations), tmp_path / "lite.safetensors")
    network = load_model(tmp_path / "lite.safetensors")
    assert network.calibrations == calibrations
    assert not network.config.body and network.count_parameters() == 0


def test_a_model_without_calibrations_is_written_as_before(tmp_path: Path) -> None:
    network = build_network(NetworkConfig(guidance="features", planes="luma", channels=4))
    save_network(network, tmp_path / "net.safetensors")
    header = (tmp_path / "net.safetensors").read_bytes()
    assert b"calibrations" not in header and b"body" not in header


@pytest.mark.parametrize(
    "damage",
    [
        {"bank": {"gain": [0] * 4}},
        {"bank": {"reach": [0] * 5}},
        {"bank": {"loudness": [0] * 5}},
        {"bank": [0] * 5},
        {"temporal": [-1, 0]},
        {"strength": -1},
        {"step": 0},
        {"step": "much"},
        None,
    ],
)
def test_a_damaged_calibration_is_refused(damage: dict[str, object] | None, tmp_path: Path) -> None:
    from safetensors.torch import save

    good = {"temporal": None, "bank": {"gain": [0] * 5}, "strength": 1, "step": 1}
    calibrations = [] if damage is None else {"x264": {**good, **damage}}
    shape = {"guidance": "features", "planes": "luma", "body": False, "quantiser": list(STEPS)}
    metadata = {"format": "scene-network", "format_version": "1", "network": json.dumps(shape)}
    path = tmp_path / "lite.safetensors"
    path.write_bytes(save({}, {**metadata, "calibrations": json.dumps({"x264": good})}))
    load_model(path)
    path.write_bytes(save({}, {**metadata, "calibrations": json.dumps(calibrations)}))
    with pytest.raises(CheckpointError, match="calibrations"):
        load_model(path)


def test_sigma_follows_the_step() -> None:
    calibration = Calibration((7.0, 0.5))
    assert calibration.sigma(20) == 7
    assert calibration.sigma(80) == pytest.approx(14)
    assert Calibration().sigma(20) == 0


def test_a_bank_of_one_gain_everywhere_is_a_contrast_of_detail() -> None:
    """The bands add up to the picture less what is left of it at a thirty-second of its size."""
    luma = np.random.default_rng(0).uniform(0, 255, (160, 192)).astype(np.float32)
    whole = bank_change(luma, Bank((1.0,) * 5), 20)
    assert abs(float((luma - whole).std())) < 0.05 * float(luma.std())
    assert np.allclose(bank_change(luma, Bank((0.1,) * 5), 20), 0.1 * whole, atol=1e-3)
    # log2(80 / 20) / 2 is 1.
    assert np.allclose(bank_change(luma, Bank(gain_slope=(0.1,) * 5), 80), 0.1 * whole, atol=1e-3)
    assert np.allclose(bank_change(luma, Bank(), 20), 0)


def test_faint_detail_has_a_gain_of_its_own() -> None:
    """By how strong it is beside the quantiser step: at its reach the gain has fallen to 1/e."""
    random = np.random.default_rng(0)
    texture = random.normal(0, 1, (128, 128)).astype(np.float32)
    bank = Bank(faint=(0.2, 0.0, 0.0, 0.0, 0.0), reach=(0.5,) * 5)
    plain = bank_change(texture, Bank((0.2, 0.0, 0.0, 0.0, 0.0)), 100)
    assert np.allclose(bank_change(texture, bank, 100), plain, atol=0.01)
    assert np.abs(bank_change(100 * texture, bank, 10)).mean() < 0.01 * np.abs(100 * plain).mean()
    band = plain / np.float32(0.2)
    assert np.allclose(bank_change(texture, bank, 4), plain * np.exp(-((band / 2) ** 2)), atol=1e-4)
    # log2(80 / 20) / 2 is 1.
    slope = Bank(faint_slope=(0.2, 0.0, 0.0, 0.0, 0.0), reach=(0.5,) * 5)
    assert np.allclose(bank_change(texture, slope, 80), bank_change(texture, bank, 80))
    assert not np.any(bank_change(texture, slope, 20))


@pytest.mark.parametrize(("scale", "strength"), [(1.0, 1.0), (219 / 255, 1.0), (1.0, 1.5)])
@pytest.mark.parametrize("size", [(270, 480), (33, 35), (7, 5), (1, 1)])
def test_bytes_are_changed_as_floats_are_but_for_rounding(size: tuple[int, int], scale: float, strength: float) -> None:
    texture = np.asarray(data.astronaut()[: size[0], : size[1], 1], np.uint8)
    luma = np.clip(texture + np.random.default_rng(0).normal(0, 2, size), 0, 255).astype(np.uint8)
    bank = load_model("scene-lite").calibrations["x264"].bank
    for step in (6.0, 20.0, 60.0):
        exact = luma + bank_change(luma * np.float32(scale), bank, step) * (strength / scale)
        found, exact = changed_bytes(luma, bank, step, scale, strength), np.clip(exact, 0, 255)
        error = found - exact
        # Half a code is the result's own rounding, which alone leaves an error of 0.29 in the mean square.
        assert np.abs(error).max() < 0.5 + strength
        if size[0] > 200:
            assert abs(np.mean(found - np.rint(exact))) < 0.01
            assert np.sqrt(np.mean(error**2)) < 0.35
    assert np.array_equal(changed_bytes(luma, Bank(), 20, scale, strength), luma)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 7), (17, 33), (96, 160), (99, 161)])
def test_banks_take_any_size_as_arrays_and_as_tensors(size: tuple[int, int]) -> None:
    luma = np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)
    bank = Bank((-0.1, 0.1, 0.05, 0.02, 0.03), faint=(0.3, 0.2, -0.1, 0.1, 0.2), faint_slope=(0.1,) * 5)
    change = bank_change(luma, bank, 40)
    assert change.shape == size
    tensors = torch.from_numpy(np.stack([luma, luma]))[:, None]
    changes = tensor_bank_change(tensors, bank, torch.tensor([40.0]))
    assert changes.shape == tensors.shape
    if min(size) > 2:
        assert np.abs(changes.numpy()[:, 0] - change).max() < 1e-3
    # Each picture may have a step of its own.
    coarser = tensor_bank_change(tensors, bank, torch.tensor([40.0, 80.0]))
    assert torch.equal(coarser[0], changes[0]) and (size == (1, 1) or not torch.allclose(coarser[1], changes[1]))


def test_an_enhancer_filters_in_time_then_applies_the_bank() -> None:
    shot = noisy_shot()
    both = list(Enhancer(model(), calibration=Calibration((8.0, 0.0), BANK), step=20).stream(shot))
    steady = list(Enhancer(model(), calibration=Calibration((8.0, 0.0)), step=20).stream(shot))
    banked = list(Enhancer(model(), calibration=Calibration(None, BANK), step=20).stream(steady))
    assert steady[0] is not shot[0] and steady[1] is shot[1]
    for ours, theirs in zip(both, banked, strict=True):
        assert np.array_equal(ours.planes[0], theirs.planes[0])
    change = bank_change(steady[0].planes[0].astype(np.float32), BANK, 20)
    # Bytes are reckoned with in whole codes.
    assert np.abs(both[0].planes[0].astype(float) - steady[0].planes[0] - change).max() < 1


def test_strength_nought_and_modes(tmp_path: Path) -> None:
    shot = noisy_shot()
    path = tmp_path / "lite.safetensors"
    save_network(model(x264=Calibration((8.0, 0.0), BANK)), path)

    def enhanced(**options: object) -> list[Picture]:
        return list(open_enhancer(EnhanceOptions(str(path), **options), crf=30).stream(shot))  # type: ignore[arg-type]

    assert all(a is b for a, b in zip(enhanced(strength=0), shot, strict=True))
    auto, causal, off = (enhanced(temporal=mode) for mode in ("auto", "causal", "off"))
    # The first frame has nothing before it.
    assert np.array_equal(causal[0].planes[0], off[0].planes[0])
    assert not np.array_equal(auto[0].planes[0], off[0].planes[0])
    assert not np.array_equal(causal[4].planes[0], off[4].planes[0])
    with pytest.raises(UsageError, match="quantiser"):
        open_enhancer(EnhanceOptions(str(path)))


def test_ten_bits_are_filtered_as_eight() -> None:
    calibration = Calibration((8.0, 0.0), BANK)
    eight, ten = (
        list(Enhancer(model(), calibration=calibration, step=20).stream(noisy_shot(bit_depth=depth)))
        for depth in (8, 10)
    )
    for a, b in zip(eight, ten, strict=True):
        assert np.abs(a.planes[0] * 4.0 - b.planes[0]).max() < 6
        assert np.abs(np.mean(a.planes[0] * 4.0 - b.planes[0])) < 0.2


def test_an_encoder_has_its_own_numbers_or_those_of_its_kin() -> None:
    by = {name: Calibration((float(index), 0.0), BANK) for index, name in enumerate(("x264", "x265"))}
    network = model(**by)
    for name, expected in (("x264", "x264"), ("x265", "x265"), ("nvenc-hevc", "x265")):
        assert calibration_for(network, find_encoder(name)) == by[expected]
    # An encoder that filters in time itself has none of a filter's kin.
    assert calibration_for(network, find_encoder("vvenc")) == replace(by["x265"], temporal=None)
    # A bank for another encoder is better than none, as the fits of the two differ; a network has the fit.
    fit = find_encoder("svtav1").fit
    borrowed = Calibration(None, BANK.scaled(fit.strength), fit.strength, fit.step)
    assert calibration_for(network, find_encoder("svtav1")) == borrowed
    assert calibration_for(model(), find_encoder("svtav1")) == Calibration()
    network = build_network(NetworkConfig(guidance="features", planes="luma", channels=4, quantiser=STEPS))
    network.calibrations = by
    assert calibration_for(network, find_encoder("svtav1")) == Calibration(strength=fit.strength, step=fit.step)
    assert calibration_for(network, find_encoder("nvenc-h264")) == by["x264"]


def test_methods_are_told_apart_by_the_numbers_of_their_encoder(tmp_path: Path) -> None:
    path = tmp_path / "lite.safetensors"
    save_network(model(x264=Calibration((8.0, 0.0), BANK), x265=Calibration((4.0, 0.0), BANK)), path)
    _, *methods = parse_methods([str(path)])
    x264, x265, svtav1 = (next(m for m in methods if m.serves(codec)) for codec in ("x264", "x265", "svtav1"))
    assert {method.label for method in methods} == {"lite"}
    assert len({x264.identity, x265.identity, svtav1.identity}) == 3
    assert x264.calibration == Calibration((8.0, 0.0), BANK)
    assert x264.step("x264", 30) == pytest.approx(20)


def test_a_saving_is_read_off_the_encoders_own_curve() -> None:
    curve = [RatePoint(100 * 2**n, {"psnr_y": 30.0 + 3 * n}) for n in range(4)]
    assert saving_on_curve(RatePoint(100, {"psnr_y": 30.0}), curve, "psnr_y") == pytest.approx(0)
    # Half a step up the curve, for the rate of the point itself.
    assert saving_on_curve(RatePoint(200, {"psnr_y": 34.5}), curve, "psnr_y") == pytest.approx(math.log(2) / 2)
    # Beyond the curve nothing is known.
    assert saving_on_curve(RatePoint(800, {"psnr_y": 60.0}), curve, "psnr_y") == pytest.approx(0)
    assert saving_on_curve(RatePoint(1, {"psnr_y": 39.0}), curve, "psnr_y") == BOUND


@pytest.mark.parametrize("aim", AIMS.values())
def test_the_objective_punishes_clips_that_lose(aim: Aim) -> None:
    even = {metric: [4.0, 4.0] for metric in aim.metrics}
    assert objective(even, aim) == pytest.approx(4 * sum(aim.weights.values()))
    for metric in aim.metrics:
        uneven = objective({**even, metric: [12.0, -4.0]}, aim)
        if metric in aim.may_lose:
            assert uneven == pytest.approx(objective(even, aim))
        else:
            assert uneven < objective(even, aim)


def test_a_vector_is_a_calibration_within_its_ranges() -> None:
    start = Calibration((7.0, 0.4), BANK, 0.8, 0.5)
    encoding = Encoding(start, network=True)
    assert encoding.calibration([0.0] * encoding.width) == start
    far = encoding.calibration([-50.0] * encoding.width)
    assert far.temporal is not None and far.temporal[0] == 0 and far.strength == 0 and far.step > 0
    assert Encoding(start, network=False).width == encoding.width - 2
    # Where the encoder filters in time itself, nothing is to.
    without = Encoding(replace(start, temporal=None, neighbours=1), network=True)
    moved = without.calibration([1.0] * without.width)
    assert moved.temporal is None and moved.neighbours == 1 and moved.bank != BANK


def _sphere(vector: list[float], clips: list[int]) -> float:
    return -sum((x - 1) ** 2 for x in vector) + 0.01 * sum(clips)


ARGUMENTS = {"subject": "sphere", "generations": 30, "population": 8, "clips_a_generation": 2, "seed": 3}


def test_an_evolution_finds_the_best_and_resumes(tmp_path: Path) -> None:
    log, calls = tmp_path / "log.jsonl", 0

    def judged(vector: list[float], clips: list[int]) -> float:
        nonlocal calls
        calls += 1
        return _sphere(vector, clips)

    whole = list(evolve(judged, 4, 5, log=tmp_path / "whole.jsonl", **ARGUMENTS))  # type: ignore[arg-type]
    assert np.abs(np.array(whole[-1].mean) - 1).max() < 0.2
    assert {clip for generation in whole for clip in generation.clips} == set(range(5))
    calls = 0
    for generation in evolve(judged, 4, 5, log=log, **ARGUMENTS):  # type: ignore[arg-type]
        if generation.number == 10:
            break
    assert calls == 11 * 8
    # Killed in the middle of a line.
    with log.open("a") as file:
        file.write('{"generation": 11, "cli')
    again = list(evolve(judged, 4, 5, log=log, **ARGUMENTS))  # type: ignore[arg-type]
    assert calls == 30 * 8
    assert again == whole
    assert log.read_text() == (tmp_path / "whole.jsonl").read_text()


def test_the_log_of_another_evolution_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    list(evolve(_sphere, 4, 5, log=log, **{**ARGUMENTS, "generations": 2}))  # type: ignore[arg-type]
    before = log.read_text()
    with pytest.raises(InputError, match="other arguments"):
        list(evolve(_sphere, 4, 5, log=log, **{**ARGUMENTS, "seed": 4}))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="other arguments"):
        list(evolve(_sphere, 4, 5, log=log, **{**ARGUMENTS, "subject": "cube"}))  # type: ignore[arg-type]
    assert log.read_text() == before
    # What is none of ours is not taken for a line that was cut off.
    for text in ("hello\nworld\n", "hello\n", '{"generation": 0}\n'):
        log.write_text(text)
        with pytest.raises(InputError, match="line 1"):
            list(evolve(_sphere, 4, 5, log=log, **ARGUMENTS))  # type: ignore[arg-type]
        assert log.read_text() == text


@pytest.mark.parametrize("wrong", [{"generations": 0}, {"population": 1}, {"clips_a_generation": 6}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        list(evolve(_sphere, 4, 5, log=tmp_path / "log.jsonl", **{**ARGUMENTS, **wrong}))  # type: ignore[arg-type]


def test_photographs_are_filmed_panned_and_still(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (360, 700, 3), np.uint8)
    for name, picture in (("a", image), ("b", image[:, ::-1]), ("small", image[:200])):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    panned, still = photograph_clips(tmp_path, 2, frames=3)
    assert (panned.name, still.name) == ("a.png", "b.png")
    changes = [np.abs(clip.pictures[2].planes[0].astype(int) - clip.pictures[0].planes[0]) for clip in (panned, still)]
    assert changes[0].mean() > 10
    # Nothing but noise of 0.7 codes, twice.
    assert 0.5 < changes[1].std() < 1.5
    # Rather a small one than too few.
    assert len(photograph_clips(tmp_path, 3, frames=3)) == 3
