"""The forms that a traced graph takes on disk: each writes the bytes of its files, and runs such bytes."""

from __future__ import annotations

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram

from scene.errors import MissingError

ExportFormat = Literal["onnx", "torch", "openvino"]
# Content by suffix.
Files = dict[str, bytes]
# Inputs in the graph's order to its output.
Run = Callable[[Sequence[npt.NDArray[np.float32]]], npt.NDArray[np.float32]]

OUTPUT = "enhanced"
_METADATA_FILE = "scene.json"


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One form.

    Attributes:
        suffixes: of its files, that of the file which is opened last.
        packages: what must be installed, beside torch.
        write: from a program, the names of its inputs and the metadata to its files.
        open: from its files and the names of its inputs to what runs them on the CPU.
    """

    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    write: Callable[[ExportedProgram, Sequence[str], Mapping[str, str]], Files]
    open: Callable[[Files, Sequence[str]], Run]

    def require(self) -> None:
        """Raises MissingError where a package is not installed."""
        import importlib

        for package in self.packages:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise MissingError(
                    f"this export needs {package}: pip install {package}, or '.[export]' in a checkout."
                ) from error


def _write_onnx(program: ExportedProgram, inputs: Sequence[str], metadata: Mapping[str, str]) -> Files:
    with _quiet_exporter():
        made = torch.onnx.export(
            program,
            input_names=list(inputs),
            output_names=[OUTPUT],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert made is not None
    proto = made.model_proto
    _tidy(proto.graph)
    for name, text in metadata.items():
        proto.metadata_props.add(key=name, value=text)
    return {".onnx": cast(bytes, proto.SerializeToString())}


def _tidy(graph: Any) -> None:
    """Free sizes get names that say what they are, and the exporter's notes on each node go."""
    picture = graph.input[0].type.tensor_type.shape.dim
    names = dict(zip((dim.dim_param for dim in picture), ("batch", "channels", "height", "width"), strict=True))
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = names[dim.dim_param]
    for node in graph.node:
        del node.metadata_props[:]
    # Formulas of torch's own; whoever reads the file infers them.
    del graph.value_info[:]


def _open_onnx(files: Files, inputs: Sequence[str]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Its own threads wait by spinning, and one was seen to wait for ever; a check's small pictures need one thread.
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(files[".onnx"], options, providers=["CPUExecutionProvider"])

    def run(values: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        return cast(npt.NDArray[np.float32], session.run([OUTPUT], dict(zip(inputs, values, strict=True)))[0])

    return run


def _write_torch(program: ExportedProgram, inputs: Sequence[str], metadata: Mapping[str, str]) -> Files:
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={_METADATA_FILE: json.dumps(metadata, indent=2)})
    return {".pt2": content.getvalue()}


def _open_torch(files: Files, inputs: Sequence[str]) -> Run:
    module = torch.export.load(io.BytesIO(files[".pt2"])).module()

    def run(values: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return cast(npt.NDArray[np.float32], module(*map(torch.from_numpy, values)).numpy())

    return run


def _write_openvino(program: ExportedProgram, inputs: Sequence[str], metadata: Mapping[str, str]) -> Files:
    import openvino

    onnx = _write_onnx(program, inputs, {})[".onnx"]
    # OpenVINO's converter would tell its makers of its use; its reader does not.
    model = openvino.Core().read_model(onnx)
    for name, text in metadata.items():
        model.set_rt_info(text, name.split("."))
    with tempfile.TemporaryDirectory() as folder:
        description, weights = Path(folder) / "model.xml", Path(folder) / "model.bin"
        openvino.serialize(model, str(description), str(weights))
        return {".bin": weights.read_bytes(), ".xml": description.read_bytes()}


def _open_openvino(files: Files, inputs: Sequence[str]) -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(files[".xml"], files[".bin"])
    # Some processors would compute in bfloat16.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})

    def run(values: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        return cast(npt.NDArray[np.float32], compiled(dict(zip(inputs, values, strict=True)))[OUTPUT])

    return run


FORMATS: dict[ExportFormat, FileFormat] = {
    "onnx": FileFormat((".onnx",), ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _open_onnx),
    "torch": FileFormat((".pt2",), (), _write_torch, _open_torch),
    "openvino": FileFormat((".bin", ".xml"), ("onnx", "onnxscript", "openvino"), _write_openvino, _open_openvino),
}


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Torch's exporter speaks of its own deprecations, and of packages that it could take more operators from."""
    logger: Any = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
