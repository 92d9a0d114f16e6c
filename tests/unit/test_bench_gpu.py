"""`scene bench gpu`, end to end on the CPU, where what needs a GPU is left out: no figure here is a GPU's."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scene.benchmarks.gpu import bench_gpu
from scene.benchmarks.gpu.forms import (
    CHANNELS_LAST,
    EAGER,
    SHOT_KERNELS,
    NetworkForm,
    Subject,
    compiled,
    count,
    furthest,
    open_form,
    open_subject,
)
from scene.benchmarks.gpu.record import FORMAT, Variant, this_machine
from scene.benchmarks.gpu.run import MODELS, SIZES
from scene.benchmarks.gpu.siglip import bench_siglip2_shape
from scene.benchmarks.gpu.timing import DTYPES, arithmetic
from scene.benchmarks.made_clip import made_pictures
from scene.cli import run
from scene.errors import InputError, SceneError, UsageError
from scene.model import build_network, load_model, save_network
from scene.model.network import NetworkConfig
from scene.progress import Progress

CPU = torch.device("cpu")
SMALL = (64, 48)
STATES = {"measured", "left out", "failed", "wrong"}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def identity(entry: dict[str, Any]) -> Variant:
    return Variant(**{field.name: entry[field.name] for field in dataclasses.fields(Variant)})


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], list[Progress]]:
    """A run with two models; its file, what that held after every variant, and the progress."""
    out = tmp_path_factory.mktemp("gpu") / "cpu.json"
    held: list[dict[str, Any]] = []
    readings: list[Progress] = []

    def note(reading: Progress) -> None:
        held.append(read(out))
        readings.append(reading)

    bench_gpu(out, models=["scene", "scene-lite"], sizes=[SMALL], device="cpu", on_progress=note)
    return out, held, readings


def test_the_file_is_whole_after_every_variant(
    everything: tuple[Path, list[dict[str, Any]], list[Progress]],
) -> None:
    out, held, readings = everything
    assert [reading.done for reading in readings] == list(range(1, len(readings) + 1))
    assert {reading.total for reading in readings} == {len(readings)}
    for number, content in enumerate(held, 1):
        assert len(content["variants"]) == number
        assert (content["format"], content["torch"]) == (FORMAT, torch.__version__)
        assert content["card"].startswith("cpu ") and content["drivers"] == []
    assert read(out) == held[-1]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_every_variant_has_figures_or_a_reason(everything: tuple[Path, list[dict[str, Any]], list[Progress]]) -> None:
    out, _, _ = everything
    entries = read(out)["variants"]
    assert len({identity(entry) for entry in entries}) == len(entries)
    for entry in entries:
        figures = dict(entry["figures"])
        assert entry["state"] in {"measured", "left out"}, entry
        assert bool(figures) == (entry["state"] == "measured") == (not entry["reason"]), entry
        # Rounding alone, if anything.
        assert figures.pop("furthest", 0) in (0, 1)
        assert all(number > 0 for number in figures.values()), entry
    left = {(entry["part"], entry["precision"], entry["form"]) for entry in entries if entry["state"] == "left out"}
    assert {("network", "float32", "CUDA graph"), ("network", "float32", "compiled"), ("semantics", "", "")} <= left
    assert all(entry["state"] == "left out" for entry in entries if entry["precision"] in {"tf32", "float16"})
    measured = {(entry["part"], entry["precision"], entry["form"]) for entry in entries if entry["state"] == "measured"}
    assert {("ceiling", "", ""), ("ceiling", "float32", ""), ("enhancer", "bfloat16", "plain")} <= measured
    assert {("network", *pair) for pair in itertools.product(("float32", "bfloat16"), ("eager",))} <= measured


def test_figures_hang_together(everything: tuple[Path, list[dict[str, Any]], list[Progress]]) -> None:
    entries = {identity(entry): entry["figures"] for entry in read(everything[0])["variants"]}
    peak = entries[Variant("ceiling", "matrix product", precision="float32")]["flops_per_s"]
    memory = entries[Variant("ceiling", "memory copy")]["bytes_per_s"]
    model = load_model("scene").identity
    figures = entries[Variant("network", model, "64x48", 4, "float32", "shot kernels")]
    # 4 luma phases and the step's plane into 32 channels, 6 convolutions of 32, and back; at half the size.
    flops = 2 * 9 * (5 * 32 + 6 * 32 * 32 + 32 * 4) * 32 * 24
    # Beside them there are 1x1 convolutions on one vector.
    assert figures["flops"] == pytest.approx(flops, rel=1e-3) and figures["flops"] > flops
    seconds = figures["ms"] / 1000
    assert figures["flops_share"] == pytest.approx(figures["flops"] / seconds / peak)
    assert figures["bytes_share"] == pytest.approx(figures["bytes"] / seconds / memory)


def test_a_second_run_measures_nothing_again(
    everything: tuple[Path, list[dict[str, Any]], list[Progress]], tmp_path: Path
) -> None:
    out = tmp_path / "again.json"
    content = read(everything[0])
    measured = [entry for entry in content["variants"] if entry["state"] == "measured"]
    # Figures that no measurement would give; also of what failed.
    for entry in measured:
        entry["figures"]["ms"] = 12345.5
    measured[-1].update(state="failed", reason="RuntimeError: no", figures={})
    out.write_text(json.dumps(content), encoding="utf-8")
    result = bench_gpu(out, models=["scene", "scene-lite"], sizes=[SMALL], device="cpu")
    assert read(out) == content
    assert len(result.outcomes) == len(content["variants"])
    # More is asked for: what is there stays, and comes first.
    more = bench_gpu(out, models=["scene-lite"], sizes=[SMALL, (96, 64)], device="cpu")
    grown = read(out)["variants"]
    assert grown[: len(content["variants"])] == content["variants"] and len(grown) > len(content["variants"])
    states = {outcome.variant.form: outcome.state for outcome in more.outcomes if outcome.variant.part == "enhancer"}
    assert states == {"plain": "measured", "temporal filter": "measured"}


def test_what_was_left_out_is_tried_again(
    everything: tuple[Path, list[dict[str, Any]], list[Progress]], tmp_path: Path
) -> None:
    out = tmp_path / "again.json"
    content = read(everything[0])
    first = content["variants"][0]
    first.update(state="left out", reason="no such thing", figures={})
    out.write_text(json.dumps(content), encoding="utf-8")
    bench_gpu(out, models=["scene-lite"], sizes=[SMALL], device="cpu")
    entry = read(out)["variants"][0]
    assert identity(entry) == identity(first) and entry["state"] == "measured" and entry["figures"]["ms"] > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"models": ["no-such"]}, "no model is called 'no-such'"),
        ({"sizes": [(64, 8)]}, "64x8 must have at least 16"),
        ({"device": "tpu"}, "'tpu' is unknown"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    out = tmp_path / "cpu.json"
    with pytest.raises(UsageError, match=message):
        bench_gpu(out, **{"sizes": [SMALL], "device": "cpu", **given})
    assert not out.exists()


def test_models_on_other_planes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rgb.safetensors"
    save_network(build_network(NetworkConfig(guidance="features", channels=8), seed=0), path)
    with pytest.raises(UsageError, match="works on rgb"):
        bench_gpu(tmp_path / "cpu.json", models=[str(path)], sizes=[SMALL], device="cpu")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "card": "x"}'])
def test_another_file_is_left_alone(tmp_path: Path, content: str) -> None:
    out = tmp_path / "notes.json"
    out.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="holds no figures"):
        bench_gpu(out, models=["scene-lite"], sizes=[SMALL], device="cpu")
    assert out.read_text(encoding="utf-8") == content


@pytest.mark.parametrize(("field", "value"), [("card", "NVIDIA Other"), ("torch", "1.0")])
def test_figures_of_another_machine_are_left_alone(tmp_path: Path, field: str, value: str) -> None:
    out = tmp_path / "cpu.json"
    content = {"format": FORMAT, **dataclasses.asdict(this_machine(CPU)), "variants": [], field: value}
    out.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match=f"{value}.*give `out` another name"):
        bench_gpu(out, models=["scene-lite"], sizes=[SMALL], device="cpu")
    assert read(out)[field] == value


def test_a_place_that_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        bench_gpu(tmp_path / "none" / "cpu.json", models=["scene-lite"], sizes=[SMALL], device="cpu")
    with pytest.raises(SceneError, match="cannot be read"):
        bench_gpu(tmp_path, models=["scene-lite"], sizes=[SMALL], device="cpu")


def opened(model: str, size: tuple[int, int] = SMALL) -> Subject:
    with arithmetic(tf32=False):
        return open_subject(load_model(model), list(made_pictures(*size, 4)), CPU)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("model", MODELS)
def test_every_form_makes_the_networks_pictures(model: str, precision: str) -> None:
    """Of an odd size too, and at a step that changes the picture by several codes."""
    subject = opened(model, (97, 63))
    assert float((subject.expected - (subject.pictures * 255).round()).abs().max()) >= 2
    for form in (EAGER, CHANNELS_LAST, SHOT_KERNELS):
        with torch.inference_mode():
            module, call, making = open_form(
                subject, form, DTYPES[precision], subject.pictures, channels_last=form == SHOT_KERNELS
            )
            made = call()
        assert made.dtype == torch.float32 and not making
        assert furthest(subject, made) <= (0 if precision == "float32" else 1)
        assert all(number > 0 for number in count(module, subject.pictures))


def test_kernels_are_assembled_once_where_an_embedding_mixes_them() -> None:
    subject = opened("scene")
    for shot in (False, True):
        form = NetworkForm(subject, torch.float32, channels_last=True, shot_kernels=shot)
        assert form.body is not None
        controls = [name for name, _ in form.body.named_modules() if name.endswith(".control")]
        assert controls == (["blocks.1.control"] if shot else ["blocks.0.control", "blocks.1.control"])
    assert "blocks.0.control" in dict(subject.network.named_modules()), "the network itself stays as it is"


def test_a_result_that_is_another_picture_is_wrong(tmp_path: Path) -> None:
    """Weights as large as float32 allows and bfloat16 cannot tell apart."""
    network = load_model("asconvsr")
    with torch.no_grad():
        network.tail.weight.mul_(30)
        for conv in network.blocks[0].convs:
            conv.bank.mul_(1.5)
    path = tmp_path / "loud.safetensors"
    save_network(network, path)
    result = bench_gpu(tmp_path / "cpu.json", models=[str(path)], sizes=[SMALL], device="cpu")
    states = {
        (outcome.variant.precision, outcome.variant.form): outcome
        for outcome in result.outcomes
        if outcome.variant.part == "network" and outcome.variant.batch == 1
    }
    assert states["float32", EAGER].state == "measured"
    wrong = states["bfloat16", EAGER]
    assert wrong.state == "wrong" and "codes from the reference" in wrong.reason
    assert wrong.figures["furthest"] > 1 and wrong.figures["ms"] > 0


def test_numbers_that_are_none_are_wrong() -> None:
    subject = opened("scene-lite")
    assert not furthest(subject, torch.full_like(subject.pictures, torch.nan)) <= 1


def test_what_fails_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Training needs material, and there is none in the folder."""
    out = tmp_path / "cpu.json"
    (tmp_path / "empty").mkdir()
    result = bench_gpu(out, models=["scene-lite"], sizes=[SMALL], data=tmp_path / "empty", device="cpu")
    training = [outcome for outcome in result.outcomes if outcome.variant.part == "training"]
    assert [outcome.variant.precision for outcome in training] == ["float32", "bfloat16"]
    for outcome in training:
        assert outcome.state == "failed" and outcome.reason.startswith("InputError: ") and "\n" not in outcome.reason
    assert result.outcomes[-1].variant.part == "network"


def test_training_is_measured_where_there_is_material(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 256, (120, 140, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    result = bench_gpu(tmp_path / "cpu.json", models=["scene-lite"], sizes=[SMALL], data=tmp_path, device="cpu")
    (one, other) = (outcome for outcome in result.outcomes if outcome.variant.part == "training")
    for outcome in (one, other):
        assert outcome.state == "measured", outcome
        assert outcome.variant.size == "64x64" and outcome.variant.batch == 2
        assert all(number > 0 for number in outcome.figures.values())


def test_a_tower_of_siglip2s_shape_is_timed() -> None:
    (picture,) = made_pictures(*SMALL, 1)
    figures = bench_siglip2_shape(picture, CPU, layers=1)
    # The published tower has 428 million, of which 26 layers more than here have 15.2 million each.
    assert figures["parameters"] + 26 * 15_233_936 == pytest.approx(428.2e6, rel=2e-3)
    assert 0 < figures["ms_a_frame"] * figures["frames"] == pytest.approx(figures["ms"])


def test_it_needs_no_pyav(tmp_path: Path) -> None:
    code = "import sys; sys.modules['av'] = None; from scene.cli import run\nsys.exit(run(sys.argv[1:]))"
    command = ["bench", "gpu", "--out", str(tmp_path / "cpu.json"), "--models", "scene-lite", "--sizes", "64x48"]
    made = subprocess.run(
        [sys.executable, "-c", code, *command, "--device", "cpu"], capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stderr
    assert {entry["state"] for entry in read(tmp_path / "cpu.json")["variants"]} == {"measured", "left out"}


def test_the_command_prints_one_table(
    everything: tuple[Path, list[dict[str, Any]], list[Progress]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _, readings = everything
    command = ["bench", "gpu", "--out", str(out), "--models", "scene,scene-lite", "--sizes", "64x48"]
    assert run([*command, "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert f"{len(readings)}/{len(readings)} variants" in captured.err
    head, columns, *rows = captured.out.splitlines()
    assert head.startswith("cpu ") and f"torch {torch.__version__}" in head
    assert columns.split()[:3] == ["part", "what", "size"] and len(rows) == len(readings)
    assert any("left out: needs a GPU" in row for row in rows)
    assert any(row.split()[0] == "enhancer" and "frames/s" in row for row in rows)
    assert any("GB/s" in row for row in rows) and any("TFLOP/s" in row for row in rows)


def test_the_sizes_are_the_usual_ones() -> None:
    assert SIZES == {"720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}


@pytest.mark.parametrize("word", ["1440p", "0x90", "720p;1080p"])
def test_a_size_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, word: str) -> None:
    assert run(["bench", "gpu", "--out", str(tmp_path / "cpu.json"), "--sizes", word, "--device", "cpu"]) == 2
    assert "must be WIDTHxHEIGHT" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_default_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["bench", "gpu", "--out", str(tmp_path / "gpu.json")]) == 6
    assert "no CUDA device is available to this torch; use --device" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_makes_the_same_pictures() -> None:
    """On a CPU, whose compiler takes a minute."""
    subject = opened("scene")
    form = NetworkForm(subject, torch.float32, channels_last=False, shot_kernels=True).eval()
    call, seconds = compiled(form, subject.pictures[:1])
    assert seconds > 0 and furthest(subject, call()) == 0
