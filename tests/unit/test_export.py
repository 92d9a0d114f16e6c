"""`scene export`: real files, run by onnxruntime, torch.export and OpenVINO, against the enhancer."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage import data

import scene
from scene.cli import run
from scene.enhance.calibrated import calibration_for
from scene.enhance.enhancer import Enhancer
from scene.errors import InputError, MissingError, UsageError, VerificationError
from scene.exporting.check import given_embedding
from scene.graphs import formats
from scene.graphs.graph import ExportGraph, traced
from scene.model import Calibration, NetworkConfig, build_network, save_network
from scene.model.calibration import Bank
from scene.picture import Picture, PictureFormat
from scene.video.encoders import find_encoder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

# None is the size of the tracing.
SIZES = ((64, 64), (181, 263), (200, 301))


def opened(path: Path) -> onnxruntime.InferenceSession:
    """With one thread: ONNX Runtime's own wait for one another by spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def astronaut(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Limited-range luma."""
    rgb = data.astronaut()[60 : 60 + height, 100 : 100 + width]
    luma: npt.NDArray[np.uint8] = np.rint(16 + rgb @ [0.2126, 0.7152, 0.0722] * 219 / 255).astype(np.uint8)
    return luma


def enhanced(
    network: scene.model.Network,
    lumas: Sequence[npt.NDArray[np.uint8]],
    codec: str,
    crf: float,
    embedding: torch.Tensor | None = None,
    strength: float = 1,
) -> npt.NDArray[np.uint8]:
    """What an encode without the temporal filter would be given, (N, H, W)."""
    encoder = find_encoder(codec)
    calibration = calibration_for(network, encoder)
    enhancer = Enhancer(
        network,
        strength=strength,
        calibration=calibration,
        temporal="off",
        device="cpu",
        step=encoder.quantiser_step(crf) * calibration.step,
        semantics=None if embedding is None else given_embedding(embedding),
    )
    height, width = lumas[0].shape
    fmt = PictureFormat(width, height, 8, "400")
    return np.stack([picture.planes[0] for picture in enhancer([Picture(fmt, (luma,)) for luma in lumas])])


def codes_of(output: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    assert output.min() >= 0 and output.max() <= 1
    return np.rint(output[:, 0].astype(np.float64) * 255).astype(np.int64)


def as_input(lumas: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    return (np.stack(lumas)[:, None] / 255).astype(np.float32)


def test_scene_lite_as_onnx_is_its_bank(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One input, one output; and the filter that no graph has is spoken of."""
    caplog.set_level(logging.WARNING, logger="scene")
    out = tmp_path / "lite.onnx"
    result = scene.export(scene.ExportRequest("scene-lite", out, codec="x264", crf=35, strength=0.8))
    assert result.inputs == ("luma",) and result.files == (out,) and result.codes_apart <= 1
    assert [record.message for record in caplog.records if record.name.startswith("scene")] == [
        f"{result.model}: its temporal filter looks at several frames, and is not part of the exported graph."
    ]
    session = opened(out)
    network = scene.load_model("scene-lite")
    for height, width in SIZES:
        lumas = [astronaut(height, width), astronaut(height, width)[::-1].copy()]
        (made,) = session.run(None, {"luma": as_input(lumas)})
        wanted = enhanced(network, lumas, "x264", 35, strength=0.8).astype(int)
        # The model reckons with bytes in whole codes.
        assert abs(codes_of(made) - wanted).max() <= 1
        assert (codes_of(made) == wanted).mean() > 0.9
        assert abs(wanted - lumas).max() > 1 and (wanted != lumas).mean() > 0.1


def test_asconvsr_as_onnx_takes_any_batch_of_any_size(tmp_path: Path) -> None:
    out = tmp_path / "asconvsr.onnx"
    result = scene.export(scene.ExportRequest("asconvsr", out, codec="x265", crf=30))
    assert result.codes_apart <= 1
    session = opened(out)
    network = scene.load_model("asconvsr")
    for height, width in SIZES:
        for count in (1, 3):
            # Pictures that differ, each of which has kernels of its own.
            lumas = [np.roll(astronaut(height, width), 7 * index, 1) // (index + 1) + 16 for index in range(count)]
            (made,) = session.run(None, {"luma": as_input(lumas)})
            wanted = enhanced(network, lumas, "x265", 30).astype(int)
            assert abs(codes_of(made) - wanted).max() <= 1
            assert abs(wanted - lumas).max() > 3


def test_scene_as_onnx_takes_step_and_embedding(tmp_path: Path) -> None:
    """The step is the encoder's own: the calibration's factor is in the graph."""
    out = tmp_path / "scene.onnx"
    result = scene.export(scene.ExportRequest("scene", out, codec="svtav1"))
    assert result.inputs == ("luma", "step", "embedding")
    session = opened(out)
    network = scene.load_model("scene")
    lumas = [astronaut(181, 263)]
    made = {}
    for crf in (25.0, 50.0):
        for index in (0, 3):
            embedding = network.references[index : index + 1]
            step = np.array([find_encoder("svtav1").quantiser_step(crf)], np.float32)
            given = {"luma": as_input(lumas), "step": step, "embedding": embedding.numpy()}
            made[crf, index] = codes_of(session.run(None, given)[0])
            wanted = enhanced(network, lumas, "svtav1", crf, embedding)
            assert abs(made[crf, index] - wanted.astype(int)).max() <= 1
    assert (made[25.0, 0] != made[50.0, 0]).any() and (made[25.0, 0] != made[25.0, 3]).any()


def test_a_file_says_what_it_is_and_nothing_of_this_machine(tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    result = scene.export(scene.ExportRequest("asconvsr", out, codec="x264", crf=23, batch="one"))
    model = onnx.load(out)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said == dict(result.metadata)
    assert said["scene.model"] == scene.load_model("asconvsr").identity
    assert (said["scene.codec"], said["scene.crf"], said["scene.step"]) == ("x264", "23", "8.90899")
    assert (said["scene.planes"], said["scene.version"]) == ("luma", scene.__version__)
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [[1, 1, "height", "width"]] * 2
    assert str(Path(scene.__file__).parent).encode() not in out.read_bytes()
    session = opened(out)
    lumas = [astronaut(200, 301)]
    (made,) = session.run(None, {"luma": as_input(lumas)})
    wanted = enhanced(scene.load_model("asconvsr"), lumas, "x264", 23)
    assert abs(codes_of(made) - wanted.astype(int)).max() <= 1
    # Filters for VapourSynth write the size of a tile into the input and ask for that of the output.
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 1, 240, 426), strict=True):
        dim.dim_value = size
    for dim in model.graph.output[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()
    inferred = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in inferred] == [1, 1, 240, 426]


def test_a_program_of_torch_export(tmp_path: Path) -> None:
    out = tmp_path / "scene.pt2"
    request = scene.ExportRequest("scene", out, format="torch", codec="x264", crf=27, embedding="none")
    result = scene.export(request)
    assert result.inputs == ("luma",)
    told = {"scene.json": ""}
    module = torch.export.load(out, extra_files=told).module()
    assert json.loads(told["scene.json"]) == dict(result.metadata)
    network = scene.load_model("scene")
    mean = network.references.mean(dim=(0, 2, 3), keepdim=True)
    for height, width in SIZES:
        lumas = [astronaut(height, width)] * 2
        made = module(torch.from_numpy(as_input(lumas))).numpy()
        assert abs(codes_of(made) - enhanced(network, lumas, "x264", 27, mean).astype(int)).max() <= 1


def test_openvino_as_dynamic_graph_and_at_a_fixed_size(tmp_path: Path) -> None:
    """FFmpeg's OpenVINO backend takes fixed sizes only, to which the file is brought as the docs say."""
    openvino = pytest.importorskip("openvino")
    out = tmp_path / "asconvsr.xml"
    result = scene.export(scene.ExportRequest("asconvsr", out, codec="x264", crf=23, batch="one"))
    assert result.files == (tmp_path / "asconvsr.bin", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asconvsr.bin", "asconvsr.xml"]
    core = openvino.Core()
    model = core.read_model(out)
    assert model.get_rt_info(["scene", "model"]).value == result.model
    lumas = [astronaut(180, 320)]
    wanted = enhanced(scene.load_model("asconvsr"), lumas, "x264", 23).astype(int)
    exactly = {"INFERENCE_PRECISION_HINT": "f32"}
    made = core.compile_model(model, "CPU", exactly)({"luma": as_input(lumas)})["enhanced"]
    assert abs(codes_of(made) - wanted).max() <= 1
    model.reshape([1, 1, 180, 320])
    openvino.save_model(model, tmp_path / "fixed.xml", compress_to_fp16=False)
    fixed = core.read_model(tmp_path / "fixed.xml")
    assert list(fixed.output(0).shape) == [1, 1, 180, 320]
    made = core.compile_model(fixed, "CPU", exactly)({"luma": as_input(lumas)})["enhanced"]
    assert abs(codes_of(made) - wanted).max() <= 1


def test_a_pictures_embedding_becomes_a_constant(tmp_path: Path) -> None:
    import cv2

    from scene.model.semantics import load_encoder

    picture = tmp_path / "still.png"
    cv2.imwrite(str(picture), data.astronaut()[..., ::-1])
    out = tmp_path / "scene.onnx"
    request = scene.ExportRequest("scene", out, codec="x264", crf=23, embedding=str(picture), batch="one")
    result = scene.export(request)
    assert result.inputs == ("luma",) and result.metadata["scene.embedding"] == "still.png"
    network = scene.load_model("scene")
    rgb = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        embedding = load_encoder("student-mobilenetv2")(rgb)
    lumas = [astronaut(181, 263)]
    (made,) = opened(out).run(None, {"luma": as_input(lumas)})
    assert abs(codes_of(made) - enhanced(network, lumas, "x264", 23, embedding).astype(int)).max() <= 1


def checkpoint(folder: Path, name: str = "model", **config: Any) -> str:
    """A small untrained network, which changes pictures by a few codes."""
    network = build_network(NetworkConfig(**{"channels": 8, **config}), seed=1)
    with torch.no_grad():
        network.tail.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(2))
        if config.get("guidance", "embedding") == "embedding":
            network.references.normal_(generator=torch.Generator().manual_seed(3))
    path = folder / f"{name}.safetensors"
    save_network(network, path)
    return str(path)


def test_a_network_on_rgb_with_a_grid_of_embeddings(tmp_path: Path) -> None:
    model = checkpoint(tmp_path, planes="rgb", semantic_grid=2, embedding_width=16)
    out = tmp_path / "rgb.onnx"
    result = scene.export(scene.ExportRequest(model, out))
    assert result.inputs == ("rgb", "embedding")
    assert result.metadata["scene.input.embedding"].startswith("(N, 16, 2, 2)")
    network = scene.load_model(model)
    rgb = torch.from_numpy(data.astronaut()[:150, :201]).permute(2, 0, 1)[None] / 255
    embedding = network.references[1:2]
    (made,) = opened(out).run(None, {"rgb": rgb.numpy(), "embedding": embedding.numpy()})
    with torch.inference_mode():
        wanted = network(rgb, embedding).clamp(0, 1)
    assert abs(made - wanted.numpy()).max() < 1e-5
    assert (wanted - rgb).abs().max() > 1 / 255


def test_a_bank_within_a_network(tmp_path: Path) -> None:
    bank = Bank(gain=(0.2, 0.1, 0, 0, 0.05), faint=(0.1, 0.1, 0, 0, 0))
    model = checkpoint(tmp_path, guidance="features", planes="luma", quantiser=[6, 60], bank=dataclasses.asdict(bank))
    graph = ExportGraph(
        scene.load_model(model), Calibration(step=0.5), strength=1, step=None, embedding=None, single=False
    ).eval()
    module = traced(graph).module()
    network = scene.load_model(model)
    for height, width in SIZES:
        luma = torch.from_numpy(as_input([astronaut(height, width)]))
        with torch.inference_mode():
            wanted = network(luma, None, torch.tensor([12.0])).clamp(0, 1)
            assert (module(luma, torch.tensor([24.0])) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"destination": "model.engine"}, "one of the suffixes .onnx, .pt2, .xml"),
        ({"format": "torch"}, "contradict each other"),
        ({"format": "tflite"}, "unknown; choose onnx, torch, openvino"),
        ({"model": "nonesuch"}, "no model is called 'nonesuch'"),
        ({"model": "none"}, "nothing to export"),
        ({"codec": None}, "give its name as `codec`"),
        ({"model": "scene-lite", "codec": None, "crf": None}, "give its name as `codec`"),
        ({"codec": "mpeg2"}, "codec 'mpeg2' is unknown"),
        ({"crf": 99}, "not in x264's range"),
        ({"embedding": "none"}, "takes no semantic embedding"),
        ({"strength": -1}, "strength -1 makes no sense"),
        ({"batch": "two"}, "choose any or one"),
        ({"destination": "nowhere/model.onnx"}, "does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    given = {"model": "asconvsr", "destination": "model.onnx", "codec": "x264", "crf": 23, **change}
    with pytest.raises(UsageError, match=sentence):
        scene.export(scene.ExportRequest(**{**given, "destination": tmp_path / given["destination"]}))
    assert not list(tmp_path.iterdir())


def test_models_that_no_graph_can_have(tmp_path: Path) -> None:
    model = checkpoint(tmp_path, planes="yuv420", guidance="features")
    with pytest.raises(UsageError, match="three planes of two sizes"):
        scene.export(scene.ExportRequest(model, tmp_path / "out.onnx"))
    network = scene.load_model("scene-lite")
    network.calibrations = {"x264": Calibration(temporal=(10.0, 0.4))}
    save_network(network, tmp_path / "temporal.safetensors")
    with pytest.raises(UsageError, match="nothing but a temporal filter, which no graph can have"):
        scene.export(scene.ExportRequest(str(tmp_path / "temporal.safetensors"), tmp_path / "out.onnx", codec="x264"))
    model = checkpoint(tmp_path, "plain", planes="luma", guidance="features")
    with pytest.raises(UsageError, match="`crf` is on the scale of an encoder"):
        scene.export(scene.ExportRequest(model, tmp_path / "out.onnx", crf=23))
    with pytest.raises(InputError, match="cannot be read"):
        scene.export(scene.ExportRequest("scene", tmp_path / "out.onnx", codec="x264", embedding="nowhere.png"))
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("off", "sentence"),
    [
        (2.0, "is 2 codes from the model on pictures of 64x64, so nothing was written"),
        (1.0, r"differs from the model in \d+\.\d% of the samples on pictures of 64x64"),
        (float("nan"), "is nan codes from the model"),
    ],
)
def test_a_file_that_does_not_agree_is_not_left_behind(
    off: float, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model.pt2"
    out.write_bytes(b"before")
    original = formats.FORMATS["torch"]

    def wrong(files: formats.Files, inputs: Sequence[str]) -> formats.Run:
        right = original.open(files, inputs)
        return lambda values: right(values) + np.float32(off / 1020)

    monkeypatch.setitem(formats.FORMATS, "torch", dataclasses.replace(original, open=wrong))
    request = scene.ExportRequest("asconvsr", out, codec="x264", crf=23, batch="one", overwrite=True)
    with pytest.raises(VerificationError, match=sentence):
        scene.export(request)
    assert out.read_bytes() == b"before" and list(tmp_path.iterdir()) == [out]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingError, match="needs onnxscript: pip install onnxscript"):
        scene.export(scene.ExportRequest("asconvsr", tmp_path / "model.onnx", codec="x264"))
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "model.pt2"
    words = ["export", "asconvsr", str(out), "--codec", "x264", "--crf", "23", "--batch", "one"]
    assert run(words) == 0
    assert "inputs luma; agrees" in capsys.readouterr().err
    before = out.read_bytes()
    assert run(words) == 2
    assert "exists; give --overwrite to replace it" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert run(["export", "asconvsr", str(tmp_path / "model.onnx")]) == 2
    assert "give its name as --codec, and --crf" in capsys.readouterr().err
    # Beside a .xml there is a .bin, which is the user's too.
    (tmp_path / "other.bin").write_bytes(b"mine")
    assert run(["export", "asconvsr", str(tmp_path / "other.xml"), "--codec", "x264"]) == 2
    assert (tmp_path / "other.bin").read_bytes() == b"mine"
